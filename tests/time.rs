//! Event time: what closes windows, and what is late.

use crate::support::{
    events::{event, sentinels},
    kafka::Input,
    oracle::{DEFAULT_RULE, Job, Phase, Rule},
    site::Site,
    verify, wait,
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn errors(partition: i32, count: i64, from: i64) -> Vec<Input> {
    (0..count).map(|n| event(partition, "error", "checkout", &format!("user-{n}"), from + n)).collect()
}

fn await_closed(site: &Site, count: usize) {
    let closed = |value: &Vec<u8>| String::from_utf8_lossy(value).contains(r#""phase":"closed""#);
    wait::until_true("the windows to close", || {
        site.kafka
            .dump(&site.topics.alerts)
            .iter()
            .filter(|alert| alert.value.as_ref().is_some_and(closed))
            .count()
            == count
    });
}

#[test]
fn an_idle_partition_does_not_hold_the_watermark_back() {
    let site = Site::new("idle", 4).set("time.idle_after", r#""1s""#).create();
    let start = wait::hours_ago(1);
    site.write(&errors(2, 60, start));
    site.write(&[event(2, "heartbeat", "checkout", "user", start + 10 * MINUTE)]);
    let daemon = site.run();
    await_closed(&site, 1);
    daemon.stop();
    verify::outputs(&site, &[]);
}

#[test]
fn after_a_silence_the_last_window_closes_by_itself() {
    let short = Rule { window: "2s", window_ms: 2000, slide_ms: 2000, threshold: 9, ..DEFAULT_RULE };
    let site = Site::new("silence", 2).job(Job { rules: vec![short], ..Job::default() });
    let site = site.set("time.idle_after", r#""1s""#).set("time.max_disorder", r#""1s""#).create();
    let daemon = site.run();
    // Old data.
    let start = wait::hours_ago(1);
    site.write(&errors(0, 20, start));
    await_closed(&site, 1);
    // And live data behind it.
    let now = wait::now_ms();
    site.write(&errors(1, 20, now - now % 2000));
    await_closed(&site, 2);
    daemon.stop();
    verify::outputs(&site, &[]);
}

#[test]
fn an_event_from_the_far_future_moves_nothing_and_is_forwarded() {
    let site = Site::new("future", 2).set("time.idle_after", r#""10m""#).create();
    let start = wait::hours_ago(1);
    let daemon = site.run();
    site.write(&sentinels(2, start));
    site.write(&errors(0, 40, start + 1000));
    let mut future: Vec<Input> = errors(0, 3, start + 24 * HOUR);
    future.extend(errors(1, 2, start + 24 * HOUR));
    future.iter_mut().for_each(|input| input.timestamp = start + 2000);
    site.write(&future);
    site.await_caught_up();
    // Had the watermark moved, these would be late.
    site.write(&errors(1, 40, start + 3000));
    site.await_caught_up();
    site.write_sentinels(start + 10 * MINUTE);
    site.await_caught_up();
    verify::final_metrics(&daemon, &site, &[]);
    daemon.stop();
    let expected = verify::outputs(&site, &[]);
    assert_eq!((expected.future, expected.alerts(&site.job).count()), (5, 1));
}

/// One partition and one step after the other: each step's lateness is decided by the watermark that the steps
/// before it left.
#[test]
fn late_is_what_comes_when_its_window_and_the_allowed_lateness_are_over() {
    let sliding = Rule { name: "sliding", slide_ms: 20_000, threshold: 30, ..DEFAULT_RULE };
    let job = Job { rules: vec![DEFAULT_RULE, sliding], allowed_lateness_ms: 10_000, ..Job::default() };
    // Nor does the wall clock move the watermark, however slow the machine is.
    let site = Site::new("late", 1).job(job).set("time.allowed_lateness", r#""10s""#);
    let site = site.set("time.idle_after", r#""10m""#).create();
    let start = wait::hours_ago(1);
    let daemon = site.run();
    let mut phases = Vec::new();
    let mut watermark = None;
    let mut step = |inputs: &[Input], moves_watermark_to: Option<i64>| {
        site.write(inputs);
        // Default of time.max_disorder.
        let mover = moves_watermark_to.map(|to| event(0, "heartbeat", "checkout", "user", to + 5000));
        site.write(&mover);
        site.await_caught_up();
        phases.push(Phase { until: site.kafka.end_offsets(&site.topics.raw), watermark });
        watermark = moves_watermark_to.or(watermark);
    };
    let in_the_window = |count| errors(0, count, start + 30_000);
    step(&in_the_window(40), Some(start + MINUTE + 9_999));
    // One millisecond before the end of what is allowed.
    step(&in_the_window(20), Some(start + MINUTE + 10_000));
    // Too late for the tumbling window, and for two of the three sliding ones.
    step(&in_the_window(7), None);
    step(&[], Some(start + 10 * MINUTE));

    let metrics = verify::final_metrics(&daemon, &site, &phases);
    daemon.stop();
    verify::outputs(&site, &phases);
    // 20 events missed one window of the sliding rule, 7 missed two.
    assert_eq!(metrics.sum("tidegate_late_events_total", &[("rule", "high-error-rate")]), 7);
    assert_eq!(metrics.sum("tidegate_late_events_total", &[("rule", "sliding")]), 20 + 2 * 7);
}

#[test]
fn what_was_late_before_a_crash_is_late_after_it() {
    let site = Site::new("memory", 2).set("time.idle_after", r#""10m""#).create();
    let start = wait::hours_ago(1);
    let daemon = site.run();
    site.write(&errors(0, 60, start));
    site.write_sentinels(start + 2 * MINUTE + 5000);
    site.await_caught_up();
    let on_time = site.kafka.end_offsets(&site.topics.raw);
    daemon.kill();

    let daemon = site.run();
    site.write(&errors(1, 60, start));
    site.await_caught_up();
    wait::until_true("the counters to show the last epoch", || {
        daemon.metrics().sum("tidegate_late_events_total", &[]) == 60
    });
    daemon.stop();
    let phases = [
        Phase { until: on_time, watermark: None },
        Phase { until: vec![i64::MAX; 2], watermark: Some(start + 2 * MINUTE) },
    ];
    verify::outputs(&site, &phases);
}
