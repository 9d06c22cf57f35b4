//! The geo database: it may be missing, broken or replaced, and the pipeline goes on.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::{
    daemon::Daemon,
    events::record,
    geo::{BUILT_AT, newer_database},
    site::Site,
    wait,
};

const BUILD_TIME: &str = "tidegate_geo_database_build_timestamp_seconds";

/// Sends one event from 81.2.69.142 through and returns its `geo`, as text.
fn geo_of_next(site: &Site) -> String {
    let now = wait::now_ms();
    site.write(&[record(0, "user", r#"{"event_type":"click","ip":"81.2.69.142"}"#, now)]);
    site.await_caught_up();
    let processed = site.kafka.dump(&site.topics.processed);
    let value = String::from_utf8(processed.last().unwrap().value.clone().unwrap()).unwrap();
    value.split_once(r#""geo":"#).unwrap().1.trim_end_matches('}').to_owned()
}

fn await_build_time(daemon: &Daemon, wanted: u64) {
    wait::until_true("the geo database to be loaded", || {
        daemon.metrics().gauge(BUILD_TIME) == Some(wanted as f64)
    });
}

#[test]
fn a_replaced_database_is_taken_over_and_a_broken_one_is_not() {
    let site = Site::new("geo", 1).create();
    let daemon = site.run();
    await_build_time(&daemon, BUILT_AT);
    assert!(geo_of_next(&site).starts_with(r#"{"country":"GB","city":"London""#));

    let replace = |bytes: &[u8]| {
        fs::write(site.path("next.mmdb"), bytes).unwrap();
        fs::rename(site.path("next.mmdb"), site.geo_path()).unwrap();
    };
    let newer = newer_database("81.2.69.0", "Londinium");
    replace(&newer[..newer.len() / 2]);
    wait::until_true("a word about the broken database", || daemon.log().contains("geo.mmdb"));
    assert!(geo_of_next(&site).contains("London"), "the old database stays in use");

    replace(&newer);
    await_build_time(&daemon, BUILT_AT + 86_400);
    assert_eq!(geo_of_next(&site), r#"{"country":"GB","city":"Londinium""#);
    daemon.stop();
}

#[test]
fn a_missing_database_gives_null_and_one_warning() {
    let site = Site::new("nogeo", 1).create();
    fs::remove_file(site.geo_path()).unwrap();
    let daemon = site.run();
    assert_eq!(geo_of_next(&site), "null");
    assert_eq!(geo_of_next(&site), "null");
    let log = daemon.log();
    daemon.stop();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("geo.mmdb")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
}
