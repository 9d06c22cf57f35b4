//! What is counted and shown.

use serde_json::json;

use super::{dead_letters, done, fails, listed, poisoned, shown};
use crate::support::site::Site;

#[test]
fn dead_letters_are_counted_by_reason_and_shown_with_what_was_wrong_and_where() {
    let (site, start) = poisoned(Site::embedded("letters-shown", 2));
    let counted = |reason: &str, count| (reason.to_owned(), None, count, 0);
    assert_eq!(listed(&site, &[]), [counted("invalid_json", 2), counted("not_an_object", 1)]);
    let table = done(&site, &["list"]);
    assert!(table.contains("invalid_json") && table.contains(&site.topics.raw), "{table}");

    let text = done(&site, &["show", "--reason", "invalid_json", "--limit", "1"]);
    for words in ["invalid_json", &format!("{}/0/0", site.topics.raw), "detail", "user-1", r"not\u{1b} json"]
    {
        assert!(text.contains(words), "{words} is missing in {text}");
    }
    assert!(!text.contains('\u{1b}') && !text.contains("not json either"), "{text}");
    let [first] = &shown(&site, &["--to", &(start + 1).to_string()])[..] else { panic!("not one") };
    let wanted = json!({
        "reason": "invalid_json", "sink": null, "topic": site.topics.raw, "topic_partition": 0, "topic_offset": 0,
        "redriven": false, "is_cut": false, "key": "user-1", "value": "not\u{1b} json", "timestamp": start,
    });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&first[name], value, "{name}");
    }
    assert!(first["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{first}");
    assert_eq!(first["headers"][0], json!(["trace", "1"]));
}

#[test]
fn filters_take_what_has_all_that_they_name_and_what_nobody_knows_finds_nothing() {
    let (site, start) = poisoned(Site::embedded("letters-filters", 2));
    let at = |ms: i64| (start + ms).to_string();
    let values = |filters: &[&str]| -> Vec<String> {
        let text = |letter: &serde_json::Value| letter["value"].as_str().unwrap().to_owned();
        let mut values: Vec<String> = shown(&site, filters).iter().map(text).collect();
        values.sort();
        values
    };
    let (array, either, escape) = (r#"["event_type"]"#, "not json either", "not\u{1b} json");
    assert_eq!(values(&[]), [array, escape, either]);
    assert_eq!(values(&["--reason", "not_an_object"]), [array]);
    assert_eq!(values(&["--topic", &site.topics.raw]), [array, escape, either]);
    assert_eq!(values(&["--from", &at(1000)]), [array, either]);
    assert_eq!(values(&["--from", &at(1000), "--to", &at(2000)]), [array]);
    assert_eq!(values(&["--from", &at(1000), "--reason", "invalid_json"]), [either]);
    assert_eq!(values(&["--from", "2100-01-01T00:00:00Z"]), [""; 0]);
    for unknown in [["--sink", "nobody"], ["--reason", "nonsense"], ["--topic", "elsewhere"]] {
        assert_eq!(done(&site, &[&["list"], &unknown[..]].concat()), "no dead letters\n");
        assert_eq!(done(&site, &[&["show"], &unknown[..]].concat()), "no dead letters\n");
        assert_eq!(done(&site, &[&["show", "--json"], &unknown[..]].concat()), "");
        assert_eq!(done(&site, &[&["redrive"], &unknown[..]].concat()), "no dead letters to send\n");
        assert!(listed(&site, &unknown).is_empty());
    }
    let wrong = dead_letters(&site, &["list", "--from", "yesterday"]);
    assert!(wrong.code == Some(64) && wrong.stderr.contains("2026-01-31T12:00:00Z"), "{wrong:?}");
}

#[test]
fn topics_that_are_missing_and_an_embedded_log_that_is_in_use_are_told() {
    let site = Site::embedded("letters-in-use", 2).create();
    assert_eq!(done(&site, &["list"]), "no dead letters\n");
    let daemon = site.run();
    for action in ["list", "show", "redrive"] {
        let said = fails(&site, 1, &[action]);
        assert!(said.contains("stop the daemon first"), "{said}");
    }
    daemon.stop();

    let site = Site::new("letters-no-topics", 2);
    site.write_config();
    for action in ["list", "show", "redrive"] {
        let said = fails(&site, 69, &[action]);
        assert!(said.contains("topics apply"), "{said}");
    }
}
