//! Two daemons that take each other for themselves.

use crate::support::{self, events::Mix, kafka::Input, site::Site, verify, wait};

/// Short, so that thresholds are passed.
const SPAN_MS: u64 = 60_000;

fn batch(mix: &mut Mix) -> Vec<Input> {
    mix.take(2000)
}

#[test]
fn a_second_daemon_with_the_same_id_takes_over_and_the_first_one_ends() {
    let site = Site::new("takeover", 4).order_free().create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(3, 4, start, SPAN_MS);
    let first = site.run();
    site.write(&batch(&mut mix));
    site.await_caught_up();
    site.write(&batch(&mut mix));

    let sibling = site.sibling();
    let second = sibling.run();
    site.write(&batch(&mut mix));
    let log = first.wait_exit_code(1);
    assert!(
        log.contains("fenced") || log.contains("took over"),
        "the first daemon does not say why it ended:\n{log}"
    );

    site.write(&batch(&mut mix));
    site.write_sentinels(start + 60 * 60_000);
    site.await_caught_up();
    second.stop();
    let expected = verify::outputs(&site, &[]);
    assert!(expected.alerts(&site.job).count() > 5);
}

#[test]
fn a_second_daemon_on_the_same_state_directory_refuses_to_start_and_the_first_goes_on() {
    let site = Site::new("locked", 4).order_free().create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(4, 4, start, SPAN_MS);
    let mut first = site.run();
    site.write(&batch(&mut mix));

    // The port is taken as well; the state directory must be what stops it.
    let second = support::site::output(&mut site.tidegate(&["run", "--set", "http.listen=127.0.0.1:0"]));
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("state"), "it does not name the state directory: {}", second.stderr);

    first.assert_running();
    site.write(&batch(&mut mix));
    site.write_sentinels(start + 60 * 60_000);
    site.await_caught_up();
    first.stop();
    verify::outputs(&site, &[]);
}

#[test]
fn a_daemon_that_slept_through_its_replacement_writes_nothing_more() {
    let site = Site::new("zombie", 4).order_free().create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(12, 4, start, SPAN_MS);
    let first = site.run();
    let watch = site.committed_watch();
    site.write(&batch(&mut mix));
    wait::until_true("the first epoch", || watch.offsets().is_some_and(|now| now.iter().sum::<i64>() > 0));
    first.signal("STOP");

    let sibling = site.sibling();
    let second = sibling.run();
    site.write(&batch(&mut mix));
    site.await_caught_up();
    first.signal("CONT");
    site.write(&batch(&mut mix));
    first.wait_exit_code(1);
    site.write_sentinels(start + 60 * 60_000);
    site.await_caught_up();
    second.stop();
    verify::outputs(&site, &[]);
}

/// The client reports a transaction that timed out in the same words as a takeover.
#[test]
fn a_transaction_that_timed_out_is_not_taken_for_a_takeover() {
    let site = Site::new("timeout", 2).order_free();
    let site = site.set(r#"kafka.properties."transaction.timeout.ms""#, r#""2000""#).create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(13, 2, start, SPAN_MS);
    // Brokers look for transactions that timed out every ten seconds.
    let mut daemon = site.run_with_failpoints("before_commit=3*off->1*sleep(15000)->off");
    for _ in 0..8 {
        site.write(&batch(&mut mix));
        site.await_caught_up();
    }
    site.write_sentinels(start + 60 * 60_000);
    site.await_caught_up();
    daemon.assert_running();
    assert!(daemon.metrics().sum("tidegate_restarts_total", &[]) >= 1, "the transaction did not time out");
    daemon.stop();
    verify::outputs(&site, &[]);
}

#[test]
fn a_failure_before_the_first_commit_is_not_taken_for_a_takeover() {
    let site = Site::new("firstcommit", 4).order_free().create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(5, 4, start, SPAN_MS);
    let predecessor = site.run();
    site.write(&batch(&mut mix));
    site.await_caught_up();
    predecessor.stop();

    // Until its first commit the owner record names the process before it.
    let mut daemon = site.run_with_failpoints("before_commit=1*panic->off");
    site.write(&batch(&mut mix));
    site.write_sentinels(start + 60 * 60_000);
    site.await_caught_up();
    daemon.assert_running();
    daemon.stop();
    verify::outputs(&site, &[]);
}
