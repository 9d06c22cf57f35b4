//! Limits of memory hold, and what they cost is counted.

use crate::support::{
    self,
    events::{event, record},
    kafka::Input,
    site::Site,
    wait,
};

/// Far below the backlog, far above what the process needs with all clients and caches.
const MOST_BYTES: f64 = 256.0 * 1024.0 * 1024.0;

#[test]
fn a_backlog_far_larger_than_the_budget_is_worked_off_in_bounded_memory() {
    let _turn = support::heavy();
    // The backlog is 60 budgets: each has to end its epoch at once, long before the interval does.
    let site = Site::new("backlog", 4)
        .set("limits.in_flight_bytes", r#""8MiB""#)
        .set("checkpoint.interval", r#""50s""#)
        .create();
    let now = wait::now_ms();
    let filler = "x".repeat(50_000);
    for chunk in 0..20 {
        let inputs = (0..500).map(|n| {
            let value = format!(r#"{{"event_type":"click","n":{n},"chunk":{chunk},"filler":"{filler}"}}"#);
            record(n % 4, "user", value, now)
        });
        site.write(&inputs.collect::<Vec<Input>>());
    }
    let daemon = site.run();
    let watch = site.committed_watch();
    let mut most = 0.0_f64;
    wait::until_true("the backlog to be worked off, but for the last budget", || {
        most = most.max(daemon.metrics().gauge("process_resident_memory_bytes").unwrap_or(0.0));
        watch.offsets().is_some_and(|offsets| offsets.into_iter().sum::<i64>() > 9700)
    });
    daemon.stop();
    assert!(most > 0.0 && most < MOST_BYTES, "the daemon took up to {most} bytes");
    assert_eq!(site.kafka.dump(&site.topics.processed).len(), 10_000);
}

#[test]
fn beyond_the_limit_of_open_windows_events_of_new_services_are_forwarded_but_not_counted() {
    let site = Site::new("overflow", 1).set("limits.open_windows", "3").create();
    let start = wait::hours_ago(1);
    let daemon = site.run();
    for service in ["a", "b", "c", "d", "e"] {
        let errors: Vec<Input> = (0..60).map(|n| event(0, "error", service, "user", start + n)).collect();
        site.write(&errors);
        site.await_caught_up();
    }
    site.write_sentinels(start + 600_000);
    site.await_caught_up();
    wait::until_true("the counters to show the last epoch", || {
        daemon.metrics().sum("tidegate_source_records_total", &[]) == 301
    });
    assert_eq!(daemon.metrics().sum("tidegate_window_overflow_total", &[]), 120);
    daemon.stop();
    assert_eq!(site.kafka.dump(&site.topics.processed).len(), 301);
    let alerts = site.kafka.dump(&site.topics.alerts);
    let services = alerts.iter().map(|alert| String::from_utf8(alert.key.clone().unwrap()).unwrap());
    let mut services: Vec<String> = services.collect();
    services.sort();
    assert_eq!(services, ["a", "a", "b", "b", "c", "c"]);
}
