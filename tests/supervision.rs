//! Faults inside of the process: any actor may panic, any event may be poisonous.

use crate::support::{
    events::{Mix, event, record},
    kafka::Input,
    oracle::Job,
    site::Site,
    verify, wait,
};

/// Short, so that thresholds are passed.
const SPAN_MS: u64 = 60_000;

/// One panic at a point that is hit by messages, after the first few of them. The process lives on, and nothing
/// of it is seen in the outputs.
/// Returns what the daemon logged.
fn survives_a_panic_at(point: &str, actor: Option<&str>) -> String {
    survives_a_panic_after(8, point, actor)
}

/// The same with another number of messages before it.
fn survives_a_panic_after(passed: u32, point: &str, actor: Option<&str>) -> String {
    let site = Site::new(point, 4).order_free().set("checkpoint.interval", r#""300ms""#).create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(7, 4, start, SPAN_MS);
    // A backlog and long epochs, so that the panic meets a transaction with records in it.
    site.write(&mix.take(40_000));
    let mut daemon = site.run_with_failpoints(&format!("{point}={passed}*off->1*panic->off"));
    let labels: Vec<(&str, &str)> = actor.map(|actor| ("actor", actor)).into_iter().collect();
    let mut writes = 0;
    wait::until_true(&format!("a restart after a panic at {point}"), || {
        site.write(&mix.take(200));
        site.await_caught_up();
        daemon.assert_running();
        writes += 1;
        writes >= 10 && daemon.metrics().sum("tidegate_restarts_total", &labels) >= 1
    });
    site.write_sentinels(start + 60 * 60_000);
    site.await_caught_up();

    daemon.assert_running();
    let log = daemon.log();
    daemon.stop();
    let expected = verify::outputs(&site, &[]);
    assert!(expected.alerts(&site.job).count() > 5);
    log
}

#[test]
fn a_panic_in_the_reader_leaves_no_trace() {
    survives_a_panic_at("reader", Some("reader"));
}

#[test]
fn a_panic_in_a_partition_consumer_leaves_no_trace() {
    survives_a_panic_at("partition", Some("partition"));
}

#[test]
fn a_panic_in_a_filter_worker_leaves_no_trace() {
    survives_a_panic_at("filter", Some("filter"));
}

#[test]
fn a_panic_in_an_enrich_worker_leaves_no_trace() {
    survives_a_panic_at("enrich", Some("enrich"));
}

#[test]
fn a_panic_in_a_window_actor_leaves_no_trace() {
    survives_a_panic_at("window", Some("window"));
}

#[test]
fn a_panic_in_the_committer_leaves_no_trace() {
    survives_a_panic_at("committer", Some("committer"));
}

#[test]
fn a_panic_in_the_barrier_leaves_no_trace() {
    survives_a_panic_at("barrier", Some("barrier"));
}

#[test]
fn a_panic_in_the_store_leaves_no_trace() {
    let log = survives_a_panic_at("store", Some("store"));
    // The recovery applies what the store has left, and does not read it from the state topic.
    assert!(!log.contains("CatchUp"), "{log}");
}

#[test]
fn a_panic_before_the_commit_leaves_no_trace() {
    survives_a_panic_at("before_commit", None);
}

#[test]
fn a_panic_after_the_commit_leaves_no_trace() {
    survives_a_panic_at("after_commit", None);
}

#[test]
fn a_panic_after_the_local_state_is_written_leaves_no_trace() {
    // Epochs are gathered for it.
    survives_a_panic_after(1, "after_store", None);
}

/// Three poisonous events among many good ones.
fn poison_is_set_apart(stage: &str, marker: &'static str) {
    let job = Job { poison: Some(marker), ..Job::default() };
    let site = Site::new(stage, 2).order_free().job(job).create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(11, 2, start, SPAN_MS);
    let mut inputs: Vec<Input> = mix.take(6000);
    for at in [0, 2500, 5999] {
        let value = format!(r#"{{"event_type":"error","timestamp":{start},"service_name":"{marker}"}}"#);
        inputs.insert(at, record(0, "poison", value, start));
    }
    site.write(&inputs);
    let mut daemon = site.run_with_failpoints(&format!("{stage}_poison=panic"));
    site.write_sentinels(start + 60 * 60_000);
    site.await_caught_up();
    daemon.assert_running();
    daemon.stop();
    let expected = verify::outputs(&site, &[]);
    let failed = expected.dead.values().filter(|(reason, _)| *reason == "processing_failed");
    assert_eq!(failed.count(), 3);
}

#[test]
fn an_event_that_kills_every_filter_worker_ends_alone_in_the_dead_letters() {
    poison_is_set_apart("filter", "__poison_filter__");
}

#[test]
fn an_event_that_kills_every_enrich_worker_ends_alone_in_the_dead_letters() {
    poison_is_set_apart("enrich", "__poison_enrich__");
}

#[test]
fn a_pipeline_that_fails_again_and_again_ends_the_process_and_says_why() {
    let site = Site::new("meltdown", 2).set("supervision.max_restarts", "3").create();
    let start = wait::hours_ago(1);
    site.write(&(0..10).map(|n| event(n % 2, "error", "shop", "user", start)).collect::<Vec<_>>());
    let log = site.start(&[("FAILPOINTS", "committer=panic")]).wait_exit_code(1);
    assert!(log.contains("committer"), "the log does not name the actor:\n{log}");

    let daemon = site.run();
    site.await_caught_up();
    daemon.stop();
    assert_eq!(site.kafka.dump(&site.topics.processed).len(), 10);
}
