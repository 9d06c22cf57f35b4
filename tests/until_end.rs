//! Runs that end by themselves: they process what is there, all of it and no more.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::support::{
    self,
    events::{Mix, event},
    kafka::{Input, Record},
    oracle::Expected,
    site::Site,
    verify, wait,
};

const PARTITIONS: i32 = 3;
const SPAN_MS: u64 = 4 * 60_000;

fn tombstones(start: i64) -> Vec<Input> {
    (0..PARTITIONS)
        .map(|partition| Input { value: None, ..event(partition, "", "", "user", start) })
        .collect()
}

/// What consumers see of a site's outputs.
fn outputs(site: &Site) -> [Vec<Record>; 3] {
    [&site.topics.processed, &site.topics.dead_letters, &site.topics.alerts]
        .map(|topic| site.kafka.dump(topic))
}

#[test]
fn a_backlog_is_processed_and_later_runs_go_on_where_the_last_one_ended() {
    let _turn = support::heavy();
    let site = Site::new("until-end", PARTITIONS).order_free().create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(11, PARTITIONS, start, SPAN_MS);
    site.write(&mix.take(20_000));
    site.write(&tombstones(start));
    // The last partition ends with records that nobody will ever read.
    let rolled_back: Vec<Input> = (0..50).map(|_| event(2, "error", "ghost", "ghost", start)).collect();
    site.kafka.write_rolled_back(&site.topics.raw, &rolled_back);

    site.run_until_end();
    let expected = Expected::of(&site.input(), &site.job, &[]);
    let [processed, dead_letters, alerts] = outputs(&site);
    verify::processed(&processed, &expected);
    verify::dead_letters(&dead_letters, &expected, &site.topics.raw, 2);
    assert_eq!(alerts.len(), expected.alerts(&site.job).count(), "all crossed, none closed yet");
    assert!(alerts.len() > 5 && expected.skipped >= 3 && !expected.dead.is_empty());

    site.run_until_end();
    assert_eq!(outputs(&site), [processed, dead_letters, alerts], "nothing was there to be done");

    // Events of the windows that stayed open, then some that close them.
    site.write(&mix.take(5_000));
    site.write_sentinels(start + 60 * 60_000);
    site.kafka.write_rolled_back(&site.topics.raw, &rolled_back);
    site.run_until_end();
    verify::outputs(&site, &[]);
}

#[test]
fn an_input_that_goes_on_growing_does_not_put_the_end_off_and_loses_nothing() {
    let _turn = support::heavy();
    let site = Site::new("growing", PARTITIONS).order_free().create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(12, PARTITIONS, start, SPAN_MS);
    site.write(&mix.take(5_000));
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                site.write(&mix.take(50));
                thread::sleep(Duration::from_millis(5));
            }
        });
        for _ in 0..3 {
            let before = site.kafka.end_offsets(&site.topics.raw);
            site.run_until_end();
            let committed = site.committed_watch().offsets().unwrap();
            let now = site.kafka.end_offsets(&site.topics.raw);
            assert!(committed.iter().zip(&before).all(|(committed, before)| committed >= before));
            assert!(committed.iter().sum::<i64>() < now.iter().sum(), "the rest is left to the next run");
        }
        ended.store(true, Ordering::Relaxed);
    });
    site.write_sentinels(start + 60 * 60_000);
    site.run_until_end();
    verify::outputs(&site, &[]);
}

#[test]
fn without_a_beginning_to_go_on_from_latest_is_at_the_end_at_once() {
    let site = Site::new("until-latest", PARTITIONS).set("kafka.start", r#""latest""#).create();
    let now = wait::now_ms();
    let before = event(0, "click", "shop", "before", now);
    site.write([&before]);
    site.run_until_end();
    assert_eq!(site.committed_watch().offsets().unwrap(), [1, 0, 0], "the beginning is anchored");

    let after = event(0, "click", "shop", "after", now);
    site.write([&after]);
    site.run_until_end();
    let keys: Vec<_> = outputs(&site)[0].iter().map(|record| record.key.clone().unwrap()).collect();
    assert_eq!(keys, [b"after"]);
}

#[test]
fn a_signal_before_the_end_commits_and_exits_one_and_the_next_run_goes_on_exactly() {
    let site = Site::new("until-signal", PARTITIONS).order_free().create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(13, PARTITIONS, start, SPAN_MS);
    site.write(&mix.take(20_000));
    // At most 2,000 records a second: the signal comes long before the end.
    let mut daemon = site.start_until_end(&[("FAILPOINTS", "reader=sleep(1000)")]);
    daemon.wait_ready();
    daemon.terminate();
    let log = daemon.wait_exit_code(1);
    assert!(log.contains("stopped before the end of the input"), "{log}");

    site.write_sentinels(start + 60 * 60_000);
    site.run_until_end();
    verify::outputs(&site, &[]);
}
