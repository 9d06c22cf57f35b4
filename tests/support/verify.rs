//! Comparing what came out with what the oracle says.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::{
    daemon::Daemon,
    kafka::Record,
    metrics::Metrics,
    oracle::{Expected, Job, Member, Phase, Processed, Rule, WindowId, partition_of},
    site::Site,
    wait,
};

/// Compares all three output topics of a site, and returns what was expected. The daemon has caught up.
pub fn outputs(site: &Site, phases: &[Phase]) -> Expected {
    let expected = Expected::of(&site.input(), &site.job, phases);
    processed(&site.dump(&site.topics.processed), &expected);
    dead_letters(&site.dump(&site.topics.dead_letters), &expected, &site.topics.raw, 2);
    alerts(&site.dump(&site.topics.alerts), &expected, &site.job, &site.topics.raw, 2);
    expected
}

/// `processed-events`: every record, in the order of its input partition, byte for byte.
pub fn processed(found: &[Record], expected: &Expected) {
    for (index, (found, expected)) in found.iter().zip(&expected.processed).enumerate() {
        let found = Processed {
            partition: found.partition,
            key: found.key.clone(),
            value: found.value.clone().unwrap_or_else(|| panic!("a tombstone: {found:?}")),
            headers: found.headers.clone(),
            timestamp: found.timestamp,
        };
        assert!(
            found == *expected,
            "processed record {index} differs\n   found {}\nexpected {}",
            show(&found),
            show(expected)
        );
    }
    assert_eq!(found.len(), expected.processed.len(), "number of processed events");
}

fn show(record: &Processed) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned();
    let Processed { partition, timestamp, headers, .. } = record;
    let key = record.key.as_deref().map(text);
    format!(
        "partition {partition}, timestamp {timestamp}, key {key:?}, headers {headers:?}\n{}",
        text(&record.value)
    )
}

/// `dead-letters`: one for each poisonous record, with its reason and origin.
pub fn dead_letters(found: &[Record], expected: &Expected, raw_topic: &str, partitions: i32) {
    let mut seen = BTreeMap::new();
    for letter in found {
        let number = |name| letter.header(name).unwrap().parse::<i64>().unwrap();
        let origin = (number("tidegate.partition") as i32, number("tidegate.offset"));
        assert!(seen.insert(origin, letter).is_none(), "two dead letters of {origin:?}");
        let (reason, input) =
            expected.dead.get(&origin).unwrap_or_else(|| panic!("not a dead letter: {letter:?}"));
        assert_eq!(letter.header("tidegate.reason"), Some(*reason), "{letter:?}");
        assert_eq!(letter.header("tidegate.topic"), Some(raw_topic));
        assert_eq!(number("tidegate.timestamp"), input.timestamp);
        assert_eq!((letter.timestamp, &letter.key), (input.timestamp, &input.key));
        assert_eq!(letter.partition, input.partition % partitions);
        let detail = letter.header("tidegate.detail").unwrap();
        assert!(!detail.is_empty() && detail.len() <= 512, "detail {detail:?}");
        let (carried, added) = letter.headers.split_at(input.headers.len());
        assert_eq!(carried, input.headers, "headers as they came, before the added ones");
        assert!(added.iter().all(|(name, _)| name.starts_with("tidegate.")), "{added:?}");
        if letter.header("tidegate.size").is_none() {
            assert!(letter.value == input.value, "the value of dead letter {origin:?} was changed");
        }
    }
    let missing: Vec<_> = expected.dead.keys().filter(|origin| !seen.contains_key(origin)).collect();
    assert!(missing.is_empty(), "no dead letters of {missing:?}");
}

/// `alerts`: both phases of each window above its threshold, once, with exact counts and true evidence.
pub fn alerts(found: &[Record], expected: &Expected, job: &Job, raw_topic: &str, partitions: i32) {
    let mut by_window: HashMap<(String, String), (usize, Value)> = HashMap::new();
    for (index, record) in found.iter().enumerate() {
        let text = std::str::from_utf8(record.value.as_ref().unwrap()).unwrap();
        let alert: Value = serde_json::from_str(text).unwrap();
        let service = alert["service"].as_str().unwrap();
        assert_eq!(record.key.as_deref(), Some(service.as_bytes()), "{text}");
        assert_eq!(record.partition, partition_of(service.as_bytes(), partitions), "{text}");
        let field = |name: &str| alert[name].as_str().unwrap().to_owned();
        let (id, phase) = (field("id"), field("phase"));
        assert_eq!(text, in_order(&alert), "keys in order, on one line");
        let twice = by_window.insert((id, phase), (index, alert));
        assert!(twice.is_none(), "raised twice: {text}");
    }
    for (id, rule, members) in expected.alerts(job) {
        let name = format!("{}/{}/{}", id.rule, id.service, id.start);
        let mut take = |phase: &str| {
            rule.phases.contains(&phase).then(|| {
                let alert = by_window.remove(&(name.clone(), phase.to_owned()));
                alert.unwrap_or_else(|| panic!("{name} with {} events was not {phase}", members.len()))
            })
        };
        let (crossed, closed) = (take("crossed"), take("closed"));
        for (phase, alert) in [("crossed", &crossed), ("closed", &closed)] {
            if let Some((_, alert)) = alert {
                check_alert(alert, phase, id, rule, members, job, raw_topic);
            }
        }
        if let (Some((first, crossed)), Some((second, closed))) = (crossed, closed) {
            assert!(first < second, "{name} was closed before it crossed");
            assert_eq!(crossed["evidence"], closed["evidence"], "{name}: evidence of both phases");
        }
    }
    assert!(by_window.is_empty(), "alerts that should not be: {:?}", by_window.keys());
}

fn check_alert(
    alert: &Value,
    phase: &str,
    id: &WindowId,
    rule: &Rule,
    members: &BTreeMap<(i32, i64), Member>,
    job: &Job,
    raw_topic: &str,
) {
    let count = if phase == "crossed" { rule.threshold + 1 } else { members.len() as u64 };
    let message = rule.message.replace("{count}", &count.to_string()).replace("{window}", rule.window);
    let message = message.replace("{threshold}", &rule.threshold.to_string());
    let message = message.replace("{service}", &id.service).replace("{rule}", rule.name);
    let wanted = json!({
        "rule": id.rule, "phase": phase, "service": id.service, "message": message, "count": count,
        "threshold": rule.threshold, "window_start": id.start, "window_end": id.start + rule.window_ms,
    });
    for (key, value) in wanted.as_object().unwrap() {
        assert_eq!(&alert[key], value, "{key} of {alert}");
    }
    let times = members.values().map(|member| member.timestamp);
    let (lowest, highest) = (times.clone().min().unwrap(), times.max().unwrap());
    let [first, last] = ["first_event_at", "last_event_at"].map(|key| alert[key].as_i64().unwrap());
    if phase == "closed" || members.len() as u64 == count {
        assert_eq!((first, last), (lowest, highest), "{alert}");
    }
    assert!(lowest <= first && first <= last && last <= highest, "{alert}");
    check_evidence(alert, count, members, job, raw_topic, first..=last);
}

fn check_evidence(
    alert: &Value,
    count: u64,
    members: &BTreeMap<(i32, i64), Member>,
    job: &Job,
    raw_topic: &str,
    between: std::ops::RangeInclusive<i64>,
) {
    let evidence = alert["evidence"].as_array().unwrap();
    assert_eq!(evidence.len(), job.evidence.min(count as usize), "{alert}");
    let mut seen = Vec::new();
    for shown in evidence {
        let origin = (shown["partition"].as_i64().unwrap() as i32, shown["offset"].as_i64().unwrap());
        assert!(!seen.contains(&origin), "the same event twice in the evidence of {alert}");
        seen.push(origin);
        let member = members.get(&origin).unwrap_or_else(|| panic!("{shown} was not counted: {alert}"));
        assert_eq!(shown["topic"], raw_topic);
        assert_eq!(shown["user_id"].as_str(), member.user_id.as_deref(), "{alert}");
        assert_eq!(shown["timestamp"], member.timestamp, "{alert}");
        assert!(between.contains(&member.timestamp), "{alert}");
    }
    // Of one partition the first come first, in order.
    for partition in members.keys().map(|(partition, _)| *partition) {
        let shown = seen.iter().filter(|(of, _)| *of == partition);
        let first = members.keys().filter(|(of, _)| *of == partition);
        assert!(
            shown.zip(first).all(|(a, b)| a == b),
            "not the first events of partition {partition}: {alert}"
        );
    }
}

/// The alert as it has to be written.
fn in_order(alert: &Value) -> String {
    let write = |object: &Value, keys: &[&str]| {
        let members: Vec<String> = keys.iter().map(|key| format!("{key:?}:{}", object[key])).collect();
        format!("{{{}}}", members.join(","))
    };
    let evidence = alert["evidence"].as_array().unwrap().iter();
    let evidence: Vec<String> = evidence
        .map(|shown| write(shown, &["topic", "partition", "offset", "user_id", "timestamp"]))
        .collect();
    let keys = [
        "id",
        "rule",
        "phase",
        "service",
        "message",
        "count",
        "threshold",
        "window_start",
        "window_end",
        "first_event_at",
        "last_event_at",
    ];
    let head = write(alert, &keys);
    format!("{},\"evidence\":[{}]}}", &head[..head.len() - 1], evidence.join(","))
}

/// Waits until the counters of a daemon show the last epoch, and compares them, see [`metrics`].
pub fn final_metrics(daemon: &Daemon, site: &Site, phases: &[Phase]) -> Metrics {
    let expected = Expected::of(&site.input(), &site.job, phases);
    let found = wait::until("the counters to show the last epoch", || {
        let found = daemon.metrics();
        let all = found.sum("tidegate_source_records_total", &[]) == expected.records;
        (all && found.sum("tidegate_consumer_lag_records", &[]) == 0).then_some(found)
    });
    metrics(&found, &expected, site);
    found
}

/// The counters of a daemon that did the whole job alone equal what the topics hold.
fn metrics(found: &Metrics, expected: &Expected, site: &Site) {
    let equal = |name: &str, labels: &[(&str, &str)], value: u64| {
        assert_eq!(found.sum(name, labels), value, "{name} {labels:?}");
    };
    equal("tidegate_source_records_total", &[], expected.records);
    equal("tidegate_bot_events_total", &[], expected.bots);
    equal("tidegate_skipped_total", &[("reason", "tombstone")], expected.skipped);
    equal("tidegate_future_events_total", &[], expected.future);
    equal("tidegate_dead_letters_total", &[], expected.dead.len() as u64);
    for reason in expected.reasons() {
        let count = expected.dead.values().filter(|(of, _)| *of == reason).count() as u64;
        equal("tidegate_dead_letters_total", &[("reason", reason)], count);
    }
    let sink =
        |topic: &str, count: usize| equal("tidegate_sink_records_total", &[("topic", topic)], count as u64);
    sink(&site.topics.processed, expected.processed.len());
    sink(&site.topics.dead_letters, expected.dead.len());
    sink(&site.topics.alerts, site.dump(&site.topics.alerts).len());
    for rule in &site.job.rules {
        equal(
            "tidegate_late_events_total",
            &[("rule", rule.name)],
            expected.late.get(rule.name).copied().unwrap_or(0),
        );
        let raised = expected.alerts(&site.job).filter(|(id, ..)| id.rule == rule.name).count() as u64;
        for phase in ["crossed", "closed"] {
            let raised = if rule.phases.contains(&phase) { raised } else { 0 };
            equal("tidegate_alerts_total", &[("rule", rule.name), ("phase", phase)], raised);
        }
    }
    equal("tidegate_window_overflow_total", &[], 0);
    for partition in 0..site.partitions {
        let partition = partition.to_string();
        equal("tidegate_consumer_lag_records", &[("partition", &partition)], 0);
    }
}
