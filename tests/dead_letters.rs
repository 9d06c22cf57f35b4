//! `tidegate dead-letters`: what could not be processed or delivered is counted, shown, and sent again, each once.

mod input;
mod killed;
mod shown;
mod sinks;

use serde_json::Value;

use crate::support::{
    events::{event, record},
    kafka::Input,
    site::{Output, Site},
    wait,
};

/// Runs `dead-letters` with these words.
fn dead_letters(site: &Site, args: &[&str]) -> Output {
    site.command(&[&["dead-letters"], args].concat())
}

/// The same, which has to succeed; returns what it printed.
fn done(site: &Site, args: &[&str]) -> String {
    let output = dead_letters(site, args);
    assert_eq!(output.code, Some(0), "{args:?}: {output:?}");
    output.stdout
}

/// The same, which has to fail in this way; returns all that it said.
fn fails(site: &Site, code: i32, args: &[&str]) -> String {
    let output = dead_letters(site, args);
    assert_eq!(output.code, Some(code), "{args:?}: {output:?}");
    output.stdout + &output.stderr
}

/// What `list` counts, with these filters: reason, sink, dead letters, how many of them were sent again.
fn listed(site: &Site, filters: &[&str]) -> Vec<(String, Option<String>, u64, u64)> {
    let rows: Vec<Value> =
        serde_json::from_str(&done(site, &[&["list", "--json"], filters].concat())).unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().map(str::to_owned);
    let count = |row: &Value, name: &str| row[name].as_u64().unwrap();
    let row = |row: &Value| {
        (text(row, "reason").unwrap(), text(row, "sink"), count(row, "dead_letters"), count(row, "redriven"))
    };
    rows.iter().map(row).collect()
}

/// What `show` shows, with these filters.
fn shown(site: &Site, filters: &[&str]) -> Vec<Value> {
    let text = done(site, &[&["show", "--json", "--limit", "10000"], filters].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The names and values of a header list of plain text.
fn headers(pairs: &[(&str, &str)]) -> Vec<(String, Option<Vec<u8>>)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec()))).collect()
}

/// Three records that the pipeline cannot process, a second apart and from two partitions, and one that it can.
fn poison(start: i64) -> Vec<Input> {
    let own = headers(&[("trace", "1"), ("tidegate.mine", "kept")]);
    vec![
        Input { headers: own, ..record(0, "user-1", "not\u{1b} json", start) },
        Input { key: None, ..record(1, "", r#"["event_type"]"#, start + 1000) },
        record(1, "user-2", "not json either", start + 2000),
        event(0, "click", "shop", "user-3", start + 3000),
    ]
}

/// A site whose pipeline has dealt with [`poison`].
fn poisoned(site: Site) -> (Site, i64) {
    let (site, start) = (site.create(), wait::hours_ago(3));
    site.write(&poison(start));
    site.run_until_end();
    (site, start)
}
