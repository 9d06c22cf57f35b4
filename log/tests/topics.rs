//! Topics compared with what they should be, and made so.
#![allow(clippy::unwrap_used)]

mod support;

use support::{DEADLINE, Kafka, address};
use tidegate_log::{
    Drift, Topic,
    kafka::{apply, broker_facts, permissions, plan},
};

#[test]
fn what_is_missing_is_created_and_existing_topics_change_only_when_asked() {
    let kafka = Kafka::names("topics", address());
    let specs = kafka.specs();
    let planned = plan(&kafka.config, &specs, DEADLINE).unwrap();
    assert!(planned.iter().all(|(_, drifts)| *drifts == [Drift::Missing]), "{planned:?}");
    let applied = apply(&kafka.config, &specs, false, DEADLINE).unwrap();
    assert!(
        applied.iter().all(|topic| topic.done == [Drift::Missing] && topic.remaining.is_empty()),
        "{applied:?}"
    );

    let mut other = specs.clone();
    for spec in &mut other {
        spec.partitions += 1;
    }
    other[Topic::Raw as usize].retention_ms = Some(1_000_000);
    let kept = apply(&kafka.config, &other, false, DEADLINE).unwrap();
    assert!(kept.iter().all(|topic| topic.done.is_empty() && !topic.remaining.is_empty()), "{kept:?}");

    let altered = apply(&kafka.config, &other, true, DEADLINE).unwrap();
    for topic in &altered {
        assert!(topic.error.is_none(), "{topic:?}");
        let left = if topic.spec.compacted { vec![Drift::Partitions { want: 4, have: 3 }] } else { vec![] };
        assert_eq!(topic.remaining, left);
        assert!(topic.remaining.iter().all(|drift| drift.is_serious(&topic.spec)));
    }
    // Fewer partitions than there are cannot be had; a setting changed alone leaves the others.
    let planned = plan(&kafka.config, &specs, DEADLINE).unwrap();
    let raw = &planned[Topic::Raw as usize];
    assert!(raw.1.contains(&Drift::Partitions { want: 3, have: 4 }) && !raw.1[0].is_reconcilable(&raw.0));
    assert!(raw.1.contains(&Drift::Retention { want_ms: -1, have_ms: 1_000_000 }), "{raw:?}");
}

#[test]
fn a_topic_that_cannot_be_created_says_why_and_the_others_are() {
    let kafka = Kafka::names("replicas", address());
    let mut specs = kafka.specs();
    specs[1].replication_factor = 50;
    let applied = apply(&kafka.config, &specs, false, DEADLINE).unwrap();
    assert_eq!(applied[1].remaining, [Drift::Missing]);
    assert!(applied[1].error.is_some());
    assert!(
        applied.iter().enumerate().all(|(index, topic)| index == 1 || topic.remaining.is_empty()),
        "{applied:?}"
    );
}

#[test]
fn a_broker_tells_its_limits_and_what_may_be_done() {
    let kafka = Kafka::new("facts");
    let facts = broker_facts(&kafka.config, DEADLINE).unwrap();
    assert!(facts.brokers.iter().all(|broker| broker.contains(':')) && !facts.brokers.is_empty());
    assert!(facts.transaction_max_timeout.unwrap() >= facts.transaction_timeout);
    let names: Vec<&str> = kafka.config.topics.iter().map(String::as_str).collect();
    let allowed = permissions(&kafka.config, &names, DEADLINE).unwrap();
    assert!(allowed.len() == 5 && allowed.iter().all(|topic| topic.read && topic.write), "{allowed:?}");
}
