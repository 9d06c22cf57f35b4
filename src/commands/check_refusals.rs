//! What topics will refuse, for `check`.

use tidegate_config::Settings;
use tidegate_core::{
    alert::evidence_bytes,
    topic_check::{KnownTopic, KnownTopics, foresee},
};
use tidegate_log::{Drift, Topic, TopicFacts, TopicSpec, TopicsFacts};

use crate::wiring;

/// What will be refused: its topic or property, and why.
pub(super) fn refusals(
    settings: &Settings,
    facts: &TopicsFacts,
    drifts: &[(TopicSpec, Vec<Drift>)],
) -> Vec<(String, String)> {
    let client = wiring::kafka_config(settings).properties;
    let client_max_bytes = client
        .iter()
        .find(|(name, _)| *name == "message.max.bytes")
        .and_then(|(_, value)| value.parse().ok());
    let topic = |topic: Topic| {
        let TopicFacts { name, max_message_bytes, limits, .. } = &facts[topic as usize];
        KnownTopic { name, max_message_bytes: *max_message_bytes, limits: *limits }
    };
    let known = KnownTopics {
        raw: topic(Topic::Raw),
        processed: topic(Topic::Processed),
        alerts: topic(Topic::Alerts),
        dead_letters: topic(Topic::DeadLetters),
        state: topic(Topic::State),
        raw_retention_ms: retention_ms(&drifts[Topic::Raw as usize]),
        client_max_bytes,
        evidence: (settings.alert_evidence, evidence_bytes(&facts[Topic::Raw as usize].name)),
    };
    let is_topic = |name: &str| facts.iter().any(|topic| topic.name == name);
    let subject = |name: &str| if is_topic(name) { format!("topic {name}") } else { name.to_owned() };
    foresee(&known).into_iter().map(|(name, text)| (subject(name), text)).collect()
}

/// As it is; `None`: for ever.
fn retention_ms((spec, drifts): &(TopicSpec, Vec<Drift>)) -> Option<i64> {
    let found = drifts.iter().find_map(|drift| match drift {
        Drift::Retention { have_ms, .. } => Some(*have_ms),
        _ => None,
    });
    found.or(spec.retention_ms).filter(|kept_ms| *kept_ms >= 0)
}
