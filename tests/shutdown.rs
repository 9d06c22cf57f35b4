//! Ending on request.

use crate::support::{
    self,
    events::{Mix, event},
    site::Site,
    verify, wait,
};

const SPAN_MS: u64 = 10 * 60_000;

#[test]
fn sigterm_in_full_flight_commits_and_exits_zero_and_the_next_run_goes_on_exactly() {
    let _turn = support::heavy();
    let site = Site::new("sigterm", 4).order_free().create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(8, 4, start, SPAN_MS);
    site.write(&mix.take(60_000));
    let watch = site.committed_watch();
    for _ in 0..3 {
        let before = wait::until("committed offsets", || watch.offsets());
        let daemon = site.run();
        wait::until_true("the first epochs", || watch.offsets().is_some_and(|now| now > before));
        daemon.stop();
        site.write(&mix.take(10_000));
    }
    site.write_sentinels(start + 60 * 60_000);
    let daemon = site.run();
    site.await_caught_up();
    daemon.stop();
    let expected = verify::outputs(&site, &[]);
    assert!(expected.alerts(&site.job).count() > 5);
    assert_eq!(site.kafka.rolled_back(&site.topics.processed), 0, "what was in flight was thrown away");
}

#[test]
fn signals_that_ask_for_something_else_end_nothing_and_are_answered_in_the_log() {
    let site = Site::embedded("signals", 2);
    site.write_config();
    assert_eq!(site.command(&["topics", "apply"]).code, Some(0));
    let mut daemon = site.run();
    for (name, word) in [("HUP", "the configuration is unchanged"), ("USR1", "SIGUSR1"), ("USR2", "SIGUSR2")]
    {
        for times in 1..=2 {
            daemon.signal(name);
            wait::until_true(word, || daemon.log().matches(word).count() == times);
        }
    }
    daemon.assert_running();
    assert!(daemon.is_ready());
    daemon.stop();
}

#[test]
fn a_second_signal_stops_at_once() {
    let site = Site::new("twice", 2).order_free().set("shutdown.grace", r#""10m""#).create();
    let start = wait::hours_ago(3);
    // The commit hangs: a first signal alone would wait for it until the grace is over.
    let mut daemon = site.run_with_failpoints("before_commit=2*off->pause");
    let mut users = 0..;
    let mut write =
        || site.write(&[event(0, "click", "shop", &format!("user-{}", users.next().unwrap()), start)]);
    let watch = site.committed_watch();
    wait::until_true("the daemon to hang in its commit", || {
        write();
        let open = site.kafka.end_offsets(&site.topics.raw);
        watch.offsets().is_some_and(|now| now.iter().sum::<i64>() + 20 < open.iter().sum())
    });
    daemon.terminate();
    wait::until_true("the daemon to note the signal", || !daemon.is_ready());
    daemon.assert_running();
    daemon.terminate();
    let status = daemon.wait_exit();
    assert_ne!(status.code(), Some(0), "it did not end in order");

    let daemon = site.run();
    site.await_caught_up();
    daemon.stop();
    verify::outputs(&site, &[]);
}
