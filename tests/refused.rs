//! Records that a topic refuses for good: each costs itself alone, and never the flow.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::support::{
    daemon::Daemon,
    events::{event, record},
    kafka::{Input, Record},
    random::Random,
    site::Site,
    wait,
};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};
use serde_json::Value;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const REFUSED: &str = "refused_by_topic";
const TOO_LARGE: &str = "output_too_large";

/// `count` events that no rule counts, on two partitions in turn.
fn clicks(from: i64, count: i64, timestamp: i64) -> Vec<Input> {
    (from..from + count)
        .map(|n| record((n % 2) as i32, &format!("user-{n}"), click(n, timestamp), timestamp))
        .collect()
}

fn click(n: i64, timestamp: i64) -> String {
    format!(r#"{{"event_type":"click","n":{n},"timestamp":{timestamp}}}"#)
}

/// Text that no compression makes smaller than a topic's limit.
fn random(bytes: usize) -> String {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let mut random = Random::new(SEED.fetch_add(1, Ordering::Relaxed));
    (0..bytes).map(|_| char::from(b'#' + random.below(50) as u8)).collect()
}

/// Every record of the input came out exactly once: these as dead letters, all others in order and untouched but for
/// their geo data.
fn assert_alone(site: &Site, refused: &BTreeMap<i64, &str>) {
    let n = |record: &Record| {
        let value: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        value["n"].as_i64().unwrap()
    };
    let (mut dead, mut kept) = (BTreeMap::new(), Vec::new());
    for input in site.input() {
        match refused.get(&n(&input)) {
            Some(reason) => _ = dead.insert((input.partition, input.offset), (*reason, input)),
            None => kept.push((input.partition, n(&input), input.timestamp, input.key)),
        }
    }
    let processed = site.dump(&site.topics.processed);
    let processed: Vec<_> = processed
        .iter()
        .map(|found| (found.partition, n(found), found.timestamp, found.key.clone()))
        .collect();
    assert_eq!(processed, kept, "processed events");
    for letter in site.dump(&site.topics.dead_letters) {
        let number = |name| letter.header(name).unwrap().parse::<i64>().unwrap();
        let origin = (number("tidegate.partition") as i32, number("tidegate.offset"));
        let (reason, input) =
            dead.remove(&origin).unwrap_or_else(|| panic!("not refused, or twice: {letter:?}"));
        assert_eq!(letter.header("tidegate.reason"), Some(reason), "{letter:?}");
        assert_eq!(number("tidegate.timestamp"), input.timestamp, "{letter:?}");
        assert!(!letter.header("tidegate.detail").unwrap().is_empty(), "{letter:?}");
        if letter.header("tidegate.size").is_none() {
            assert_eq!(letter.value, input.value, "the value of a dead letter");
        }
    }
    assert!(dead.is_empty(), "no dead letters of {:?}", dead.keys());
}

/// No transaction is open: whoever reads what is committed gets to the end of each topic.
fn await_nothing_open(site: &Site) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &site.kafka.bootstrap).set("group.id", "unused");
    let consumer: BaseConsumer = config.set("isolation.level", "read_committed").create().unwrap();
    for topic in &site.topics.all()[1..] {
        wait::until_true("the last stable offset to reach the end", || {
            site.kafka.end_offsets(topic).iter().enumerate().all(|(partition, end)| {
                let timeout = Duration::from_secs(20);
                consumer
                    .fetch_watermarks(topic, partition as i32, timeout)
                    .is_ok_and(|(_, last)| last == *end)
            })
        });
    }
}

/// The daemon is through with the input, and well.
fn await_through(site: &Site, daemon: &mut Daemon) {
    site.await_caught_up();
    daemon.wait_ready();
    await_nothing_open(site);
}

/// Sets `settings` of a topic while nothing is known of them yet, or under the running daemon, which then hears of
/// them only when a record is refused; then writes `inputs`.
fn run_with(site: &Site, topics: &[&str], settings: &[(&str, &str)], is_running: bool, inputs: &[Input]) {
    let configure = || topics.iter().for_each(|topic| site.kafka.configure_topic(topic, settings));
    if !is_running {
        configure();
    }
    let mut daemon = site.run();
    site.write(&clicks(0, 100, wait::now_ms()));
    site.await_caught_up();
    if is_running {
        configure();
    }
    site.write(inputs);
    await_through(site, &mut daemon);
    daemon.stop();
}

#[test]
fn a_timestamp_that_the_output_refuses_costs_its_record_alone() {
    for is_running in [false, true] {
        let site = Site::new("dated", 2).create();
        let now = wait::now_ms();
        let mut inputs = clicks(100, 500, now);
        inputs.insert(250, record(0, "old", click(900, now), now - 3 * HOUR));
        inputs.insert(300, record(1, "ahead", click(901, now), now + 50 * MINUTE));
        inputs.insert(301, record(1, "older", click(902, now), now - 30 * HOUR));
        // The dead letters have the same limits.
        let limits =
            [("message.timestamp.before.max.ms", "3600000"), ("message.timestamp.after.max.ms", "600000")];
        let topics = [&*site.topics.processed, &*site.topics.dead_letters];
        run_with(&site, &topics, &limits, is_running, &inputs);
        assert_alone(&site, &BTreeMap::from([(900, REFUSED), (901, REFUSED), (902, REFUSED)]));
    }
}

#[test]
fn a_record_without_a_key_is_refused_by_a_compacted_output_and_costs_itself_alone() {
    for is_running in [false, true] {
        let site = Site::new("keyless", 2).create();
        let now = wait::now_ms();
        let mut inputs = clicks(100, 500, now);
        for (at, n) in [(50, 900), (51, 901), (52, 902), (400, 903)] {
            inputs.insert(at, Input { key: None, ..record((n % 2) as i32, "", click(n, now), now) });
        }
        let topics = [&*site.topics.processed, &*site.topics.dead_letters];
        // Nothing is compacted away while the test looks.
        let compacted = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "1.0")];
        run_with(&site, &topics, &compacted, is_running, &inputs);
        assert_alone(&site, &(900..904).map(|n| (n, REFUSED)).collect());
        let letters = site.dump(&site.topics.dead_letters);
        let keys: BTreeSet<_> = letters.iter().map(|letter| letter.key.clone().unwrap()).collect();
        assert_eq!(keys.len(), 4, "each keeps a key of its own");
    }
}

#[test]
fn a_record_larger_than_the_output_takes_costs_itself_alone() {
    for is_running in [false, true] {
        let site = Site::new("large", 2).create();
        let now = wait::now_ms();
        let mut inputs = clicks(100, 500, now);
        let large = format!(r#"{{"event_type":"click","n":900,"filler":"{}"}}"#, random(20_000));
        inputs.insert(123, record(0, "large", large, now));
        let topics = [&*site.topics.processed, &*site.topics.dead_letters];
        run_with(&site, &topics, &[("max.message.bytes", "10000")], is_running, &inputs);
        assert_alone(&site, &BTreeMap::from([(900, TOO_LARGE)]));
    }
}

#[test]
fn what_the_client_may_not_send_costs_itself_alone() {
    let site = Site::new("client", 2).set(r#"kafka.properties."message.max.bytes""#, r#""2000""#).create();
    let now = wait::now_ms();
    let mut inputs = clicks(100, 500, now);
    let large = format!(r#"{{"event_type":"click","n":900,"filler":"{}"}}"#, random(3000));
    inputs.insert(123, record(0, "large", large, now));
    run_with(&site, &[], &[], false, &inputs);
    assert_alone(&site, &BTreeMap::from([(900, TOO_LARGE)]));
}

/// 60 errors of one service, by users with long names, in one window.
fn errors(start: i64, count: i64, name_bytes: usize) -> Vec<Input> {
    (0..count)
        .map(|n| {
            event((n % 2) as i32, "error", "checkout", &format!("{n}-{}", random(name_bytes)), start + n)
        })
        .collect()
}

/// The one window's alerts: phase, count, number of events in the evidence.
fn alerts(site: &Site) -> Vec<(String, u64, usize)> {
    let row = |record: &Record| {
        let alert: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let phase = alert["phase"].as_str().unwrap().to_owned();
        (phase, alert["count"].as_u64().unwrap(), alert["evidence"].as_array().unwrap().len())
    };
    site.dump(&site.topics.alerts).iter().map(row).collect()
}

#[test]
fn an_alert_that_is_too_large_loses_evidence_and_is_raised() {
    for is_running in [false, true] {
        let site = Site::new("wordy", 2).create();
        let start = wait::hours_ago(1);
        let limit = [("max.message.bytes", "3000")];
        if !is_running {
            site.kafka.configure_topic(&site.topics.alerts, &limit);
        }
        let mut daemon = site.run();
        site.write_sentinels(start);
        site.await_caught_up();
        if is_running {
            site.kafka.configure_topic(&site.topics.alerts, &limit);
        }
        site.write(&errors(start, 60, 600));
        await_through(&site, &mut daemon);
        site.write_sentinels(start + 10 * MINUTE);
        await_through(&site, &mut daemon);
        daemon.stop();
        let found = alerts(&site);
        let phases: Vec<_> = found.iter().map(|(phase, count, _)| (phase.as_str(), *count)).collect();
        assert_eq!(phases, [("crossed", 51), ("closed", 60)]);
        assert!(found.iter().all(|(_, _, evidence)| (1..5).contains(evidence)), "{found:?}");
    }
}

#[test]
fn a_window_whose_state_is_too_large_gives_up_evidence_and_counts_right_even_after_a_crash() {
    for is_running in [false, true] {
        let site = Site::new("heavy", 2).create();
        let start = wait::hours_ago(1);
        let limit = [
            ("cleanup.policy", "compact"),
            ("message.timestamp.type", "LogAppendTime"),
            ("max.message.bytes", "2000"),
        ];
        if !is_running {
            site.kafka.configure_topic(&site.topics.state, &limit);
        }
        let mut daemon = site.run();
        site.write_sentinels(start);
        site.await_caught_up();
        if is_running {
            site.kafka.configure_topic(&site.topics.state, &limit);
        }
        site.write(&errors(start, 40, 600));
        await_through(&site, &mut daemon);
        daemon.kill();
        // And without what the disk remembers.
        std::fs::remove_dir_all(&site.state_dir).unwrap();
        let mut daemon = site.run();
        site.write(&errors(start + 40, 20, 600));
        await_through(&site, &mut daemon);
        site.write_sentinels(start + 10 * MINUTE);
        await_through(&site, &mut daemon);
        daemon.stop();
        let phases: Vec<_> = alerts(&site).into_iter().map(|(phase, count, _)| (phase, count)).collect();
        assert_eq!(phases, [("crossed".into(), 51), ("closed".into(), 60)]);
    }
}

/// Events that a rule counts, so that each epoch has changes of the state.
fn counted(from: i64, count: i64) -> Vec<Input> {
    let now = wait::now_ms();
    let value = |n| format!(r#"{{"event_type":"error","n":{n},"timestamp":{now}}}"#);
    (from..from + count).map(|n| record((n % 2) as i32, "key", value(n), now)).collect()
}

/// When the pipeline failed, in seconds of the day.
fn failures(daemon: &Daemon) -> Vec<f64> {
    let failed = |line: &str| {
        let line: Value =
            serde_json::from_str(line).ok().filter(|line: &Value| line["message"] == "pipeline failed")?;
        let time = line["timestamp"].as_str()?.split_once('T')?.1.trim_end_matches('Z').to_owned();
        time.split(':')
            .map(|part| part.parse::<f64>().ok())
            .try_fold(0.0, |sum, part| Some(sum * 60.0 + part?))
    };
    daemon.log().lines().filter_map(failed).collect()
}

/// A topic takes nothing at all any more but the broker's own marks.
fn where_nothing_helps(name: &str, topic: impl Fn(&Site) -> String, keep: &[(&str, &str)]) {
    let site = Site::new(name, 2).create();
    let mut daemon = site.run();
    site.write(&counted(0, 10));
    site.await_caught_up();

    let topic = topic(&site);
    let nothing = [keep, &[("max.message.bytes", "100")]].concat();
    site.kafka.configure_topic(&topic, &nothing);
    site.write(&[record(0, "key", r#"{"n":900}"#, wait::now_ms())]);
    site.write(&counted(100, 10));
    let reason = daemon.wait_not_ready();
    wait::until_true("seven attempts", || {
        daemon.assert_running();
        let answer = daemon.get("/readyz").unwrap();
        assert_eq!(answer.status, 503, "ready though nothing gets through: {}", answer.body);
        failures(&daemon).len() >= 7
    });
    let found = failures(&daemon);
    // 0.1 s at first, then twice as long each time.
    let pause = (found[6] - found[5]).rem_euclid(86_400.0);
    assert!(pause > 1.0, "the pauses do not grow: {found:?}");
    assert!(reason.contains(&topic), "the reason does not name the topic: {reason}");
    // In the pause between two attempts nobody has to wait for us.
    await_nothing_open(&site);
    let age = daemon.metrics().gauge("tidegate_checkpoint_age_seconds").unwrap();
    assert!(age > 1.0, "a commit of nothing but the owner's name counts as progress: {age}");

    site.kafka.configure_topic(&topic, keep);
    await_through(&site, &mut daemon);
    daemon.stop();
    assert_alone(&site, &BTreeMap::from([(900, "missing_event_type")]));
}

#[test]
fn when_the_dead_letters_take_nothing_it_says_so_and_tries_again_ever_slower_until_they_do() {
    where_nothing_helps(
        "closed-dead",
        |site| site.topics.dead_letters.clone(),
        &[("cleanup.policy", "delete")],
    );
}

#[test]
fn when_the_state_topic_takes_nothing_it_says_so_and_tries_again_ever_slower_until_it_does() {
    let settings = [("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime")];
    where_nothing_helps("closed-state", |site| site.topics.state.clone(), &settings);
}

#[test]
fn check_names_the_settings_by_which_records_will_be_refused() {
    let site = Site::new("foreseen", 2).create();
    let foreseen = || {
        let output = site.command(&["check"]);
        assert_eq!(output.code, Some(0), "{output:?}");
        output.stdout
    };
    let settings = [
        "message.timestamp.before.max.ms",
        "message.timestamp.after.max.ms",
        "is compacted",
        "lose evidence",
    ];
    let found = foreseen();
    assert!(!settings.iter().any(|setting| found.contains(setting)), "{found}");

    let limits = [
        ("cleanup.policy", "delete,compact"),
        ("message.timestamp.before.max.ms", "3600000"),
        ("message.timestamp.after.max.ms", "60000"),
        ("max.message.bytes", "10000"),
    ];
    site.kafka.configure_topic(&site.topics.processed, &limits);
    site.kafka.configure_topic(&site.topics.alerts, &[("max.message.bytes", "1000")]);
    let found = foreseen();
    for setting in settings {
        assert!(found.contains(setting), "check is silent about {setting}:\n{found}");
    }
    assert!(found.contains("takes at most 10000 bytes"), "{found}");
}
