//! This host's clock is wrong, the broker's is right.

use crate::support::{daemon::Daemon, events::event, kafka::Input, site::Site, wait};
use serde_json::Value;

const HOUR: i64 = 3_600_000;

/// 60 errors of this very moment, in one window of a minute unless that ends just now.
fn live_errors(now: i64) -> Vec<Input> {
    (0..60).map(|n| event(n % 2, "error", "checkout", &format!("user-{n}"), now)).collect()
}

fn run_off_by(site: &Site, offset_ms: i64) -> Daemon {
    let mut daemon = site.start(&[("TIDEGATE_TEST_CLOCK_OFFSET_MS", &offset_ms.to_string())]);
    daemon.wait_ready();
    daemon
}

fn crossed(site: &Site) -> Vec<u64> {
    let alerts = site.kafka.dump(&site.topics.alerts);
    let alerts =
        alerts.iter().map(|alert| serde_json::from_slice::<Value>(alert.value.as_ref().unwrap()).unwrap());
    alerts.filter(|alert| alert["phase"] == "crossed").map(|alert| alert["count"].as_u64().unwrap()).collect()
}

/// Events of now are forwarded, counted and raise their alert, and somebody is told about the clock.
fn goes_on(site: &Site, offset_ms: i64, word: &str) {
    let mut daemon = run_off_by(site, offset_ms);
    site.write(&live_errors(wait::now_ms()));
    site.await_caught_up();
    daemon.wait_ready();
    wait::until_true("a word about the clock", || {
        daemon.log().lines().any(|line| line.contains("clock") && line.contains(word))
    });
    let future = daemon.metrics().sum("tidegate_future_events_total", &[]);
    daemon.stop();
    assert_eq!(site.kafka.dump(&site.topics.processed).len(), 60);
    assert_eq!((future, crossed(site)), (0, vec![51]));
    let off = site
        .kafka
        .dump(&site.topics.alerts)
        .iter()
        .map(|alert| (alert.timestamp - wait::now_ms()).abs())
        .max();
    assert!(off.unwrap() < HOUR / 2, "alerts are dated {off:?} ms off");
}

#[test]
fn a_clock_that_is_hours_ahead_stops_nothing_and_is_named() {
    let site = Site::new("ahead", 2).create();
    goes_on(&site, 5 * HOUR, "ahead");
}

#[test]
fn a_clock_that_is_hours_behind_makes_no_event_a_future_one_and_is_named() {
    let site = Site::new("behind", 2).create();
    goes_on(&site, -5 * HOUR, "behind");
}

#[test]
fn a_clock_that_is_days_behind_stops_nothing_where_topics_take_no_old_records() {
    let site = Site::new("strict", 2).create();
    for topic in [&site.topics.processed, &site.topics.alerts, &site.topics.dead_letters] {
        site.kafka.configure_topic(topic, &[("message.timestamp.before.max.ms", "3600000")]);
    }
    goes_on(&site, -50 * HOUR, "behind");
}

#[test]
fn a_clock_that_is_ahead_stops_nothing_where_the_state_topic_was_made_by_hand() {
    let site = Site::new("by-hand", 2).create();
    site.kafka.configure_topic(
        &site.topics.state,
        &[("cleanup.policy", "compact"), ("message.timestamp.type", "CreateTime")],
    );
    goes_on(&site, 5 * HOUR, "ahead");
}

#[test]
fn a_clock_that_is_right_is_not_talked_about() {
    let site = Site::new("right", 2).create();
    let daemon = run_off_by(&site, 0);
    site.write(&live_errors(wait::now_ms()));
    site.await_caught_up();
    let log = daemon.log();
    daemon.stop();
    assert_eq!(crossed(&site), [51]);
    assert!(!log.contains("clock is"), "{log}");
}
