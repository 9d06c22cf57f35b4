//! How fast sinks are, end to end. Run by `cargo xtask test -- --test daemon sinks::measure -- --ignored --nocapture`.

#![allow(clippy::print_stdout, reason = "for the person who measures")]

use std::{
    thread,
    time::{Duration, Instant},
};

use super::setup::{self, await_delivered, create_index, create_tables, with_sinks};
use crate::support::{
    self,
    daemon::Daemon,
    events::Mix,
    opensearch::OpenSearch,
    postgres::Database,
    receiver::{Answer, Receiver},
    site::Site,
    wait,
};

const BACKLOG: usize = 200_000;

fn sink(name: &str, kind: &str, topic: &str, keys: &str) -> String {
    format!(r#"{{name = "{name}", type = "{kind}", topic = "{topic}", {keys}}}"#)
}

fn sinks_alone(site: &Site) -> Daemon {
    let mut daemon = site.spawn(&["run", "--only", "sinks"], &[]);
    daemon.wait_ready();
    daemon
}

fn mix(site: &Site) -> Mix {
    Mix::new(17, site.partitions, wait::hours_ago(3), 600_000).pure().few_odd()
}

#[test]
#[ignore = "measures"]
fn records_a_second_from_a_full_topic() {
    let _turn = support::heavy();
    let (database, opensearch) = (Database::create(), OpenSearch::from_env());
    let site = setup::site("sinks-rate", 4);
    let index = site.name.clone();
    let keys = [
        ("warehouse", "postgres", format!("url = \"{}\"", database.url)),
        ("search", "elasticsearch", format!("url = \"{}\", index = \"{index}\"", opensearch.url)),
    ];
    let site = site.create();
    let mut pipeline = site.spawn(&["run", "--only", "pipeline"], &[]);
    pipeline.wait_ready();
    let mut mix = mix(&site);
    for _ in 0..10 {
        site.write(&setup::readable(mix.take(BACKLOG / 10)));
    }
    site.await_caught_up();
    pipeline.stop();
    create_tables(&database);
    database.execute("alter table processed_events add primary key (partition, \"offset\")");
    create_index(&opensearch, &site);
    let mut site = site;
    for (name, kind, keys) in &keys {
        site = with_sinks(site, &[sink(name, kind, "processed", keys)]);
        site.write_config();
        let daemon = sinks_alone(&site);
        wait::until_true("the first delivery", || setup::delivered(&daemon.metrics(), name) > 0);
        let (first, began) = (setup::delivered(&daemon.metrics(), name), Instant::now());
        let records = await_delivered(&site, name, &site.topics.processed).len() as u64;
        let rate = (records - first) as f64 / began.elapsed().as_secs_f64();
        println!("{name}: {records} records, {rate:.0} a second");
        daemon.stop();
    }
}

#[test]
#[ignore = "measures"]
fn time_from_the_topic_to_the_destination_at_low_load() {
    let _turn = support::heavy();
    let (database, opensearch) = (Database::create(), OpenSearch::from_env());
    let receiver = Receiver::start(|_, _| Answer::status(200));
    create_tables(&database);
    let site = setup::site("sinks-latency", 4);
    let index = site.name.clone();
    let names = ["warehouse", "search", "hook"];
    let sinks = [
        sink(names[0], "postgres", "processed", &format!("url = \"{}\"", database.url)),
        sink(
            names[1],
            "elasticsearch",
            "processed",
            &format!("url = \"{}\", index = \"{index}\"", opensearch.url),
        ),
        sink(names[2], "webhook", "processed", &format!("url = \"{}\"", receiver.url)),
    ];
    let site = with_sinks(site, &sinks).create();
    create_index(&opensearch, &site);
    let daemon = site.run();
    let mut mix = mix(&site);
    for _ in 0..1500 {
        // The record's timestamp is what the time is counted from.
        let mut input = mix.next();
        input.timestamp = wait::now_ms();
        site.write(&[input]);
        thread::sleep(Duration::from_millis(20));
    }
    site.await_caught_up();
    let metrics = daemon.metrics();
    for name in names {
        await_delivered(&site, name, &site.topics.processed);
        let count = metrics.sum("tidegate_sink_delivery_seconds_count", &[("sink", name)]);
        let below =
            |le: &str| metrics.sum("tidegate_sink_delivery_seconds_bucket", &[("sink", name), ("le", le)]);
        for quantile in [50, 99] {
            let bounds = metrics.labels("tidegate_sink_delivery_seconds_bucket", "le");
            let mut bounds: Vec<(f64, &str)> =
                bounds.into_iter().map(|le| (le.parse().unwrap_or(f64::INFINITY), le)).collect();
            bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
            let bound = bounds.iter().find(|(_, le)| below(le) * 100 >= count * quantile).unwrap();
            println!("{name}: p{quantile} of {count} at most {} s", bound.1);
        }
    }
    daemon.stop();
}
