//! Settings of topics by which records will be refused, foreseen before any is.

use crate::topic_limits::TopicLimits;

/// What an alert or a window's state takes beside its evidence: names, numbers, and a message of some length.
const WITHOUT_EVIDENCE_BYTES: usize = 2_000;
/// What a user's id may well take.
const USER_BYTES: usize = 64;

/// What an event may have at most.
const LARGEST_EVENT_BYTES: usize = 1 << 20;

/// A topic as it is.
#[derive(Debug, Clone, Copy)]
pub struct KnownTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// `max.message.bytes`, or what the client sends at most, whichever is less.
    pub max_message_bytes: usize,
    /// What else it refuses.
    pub limits: TopicLimits,
}

/// All that decides about what will be refused.
#[derive(Debug, Clone, Copy)]
pub struct KnownTopics<'a> {
    /// Where the events come from.
    pub raw: KnownTopic<'a>,
    /// Where they go.
    pub processed: KnownTopic<'a>,
    /// Where alerts go.
    pub alerts: KnownTopic<'a>,
    /// Where dead letters go.
    pub dead_letters: KnownTopic<'a>,
    /// Where the state goes.
    pub state: KnownTopic<'a>,
    /// How long the input keeps a record; `None`: for ever.
    pub raw_retention_ms: Option<i64>,
    /// `message.max.bytes` as the user set it.
    pub client_max_bytes: Option<usize>,
    /// How many events an alert shows, and what each takes beside its user.
    pub evidence: (usize, usize),
}

/// A topic, or a property of the client, and what will be refused because of it.
pub type Foreseen<'a> = (&'a str, String);

/// What will be refused; empty if all fits.
#[must_use]
pub fn foresee<'a>(topics: &KnownTopics<'a>) -> Vec<Foreseen<'a>> {
    let mut found = Vec::new();
    too_old(topics, &mut found);
    too_far_ahead(topics, &mut found);
    without_key(topics, &mut found);
    too_large(topics, &mut found);
    found
}

fn too_old<'a>(topics: &KnownTopics<'a>, found: &mut Vec<Foreseen<'a>>) {
    let KnownTopics { processed, raw_retention_ms, .. } = topics;
    let Some(limit_ms) = processed.limits.oldest_ms.filter(|_| !processed.limits.appends_time) else {
        return;
    };
    if raw_retention_ms.is_some_and(|kept_ms| kept_ms <= limit_ms) {
        return;
    }
    let kept = raw_retention_ms.map_or_else(|| "for ever".to_owned(), |kept_ms| format!("for {kept_ms} ms"));
    found.push((
        processed.name,
        format!(
            "refuses records older than message.timestamp.before.max.ms = {limit_ms}, and {} keeps them {kept}: \
             those of a backlog that are older become dead letters",
            topics.raw.name
        ),
    ));
}

fn too_far_ahead<'a>(topics: &KnownTopics<'a>, found: &mut Vec<Foreseen<'a>>) {
    let (processed, raw) = (topics.processed, topics.raw);
    let Some(limit_ms) = processed.limits.newest_ms.filter(|_| !processed.limits.appends_time) else {
        return;
    };
    let is_within = raw.limits.newest_ms.is_some_and(|most_ms| most_ms <= limit_ms);
    if raw.limits.appends_time || is_within {
        return;
    }
    let taken = raw.limits.newest_ms.map_or_else(|| "any".to_owned(), |most_ms| format!("{most_ms} ms"));
    found.push((
        processed.name,
        format!(
            "refuses records further ahead than message.timestamp.after.max.ms = {limit_ms}, and {} takes {taken}: \
             those in between become dead letters",
            raw.name
        ),
    ));
}

fn without_key<'a>(topics: &KnownTopics<'a>, found: &mut Vec<Foreseen<'a>>) {
    if topics.processed.limits.needs_key {
        let text = "is compacted: records without a key become dead letters, and of those with the same key only \
                    the last is kept";
        found.push((topics.processed.name, text.into()));
    }
    if topics.dead_letters.limits.needs_key {
        let text = "is compacted: a dead letter without a key gets one of its own, and of those with the same key \
                    only the last is kept";
        found.push((topics.dead_letters.name, text.into()));
    }
}

fn too_large<'a>(topics: &KnownTopics<'a>, found: &mut Vec<Foreseen<'a>>) {
    let raw = topics.raw;
    let smaller = |topic: &KnownTopic<'_>, then: &str| {
        let (have, most) = (topic.max_message_bytes, raw.max_message_bytes);
        (have < most)
            .then(|| format!("takes at most {have} bytes (max.message.bytes), {} {most}: {then}", raw.name))
    };
    let grown = "larger events become dead letters";
    found.extend(smaller(&topics.processed, grown).map(|text| (topics.processed.name, text)));
    let cut = "of larger dead letters only the first 1024 bytes are kept";
    found.extend(smaller(&topics.dead_letters, cut).map(|text| (topics.dead_letters.name, text)));

    let (events, bytes) = topics.evidence;
    let needed = WITHOUT_EVIDENCE_BYTES + events * (bytes + USER_BYTES);
    for (topic, what) in [(topics.alerts, "alerts"), (topics.state, "windows")] {
        let have = topic.max_message_bytes;
        if have < needed {
            let text = format!(
                "takes at most {have} bytes (max.message.bytes), less than {events} events of evidence may need \
                 ({needed}): {what} lose evidence"
            );
            found.push((topic.name, text));
        }
    }
    let is_least = |have: &usize| *have < LARGEST_EVENT_BYTES && *have <= raw.max_message_bytes;
    if let Some(have) = topics.client_max_bytes.filter(is_least) {
        let text = format!(
            "{have} bytes are less than an event may have ({LARGEST_EVENT_BYTES}): larger ones become dead letters"
        );
        found.push(("message.max.bytes", text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const HOUR: i64 = 3_600_000;

    /// As a broker of today makes them.
    fn usual() -> KnownTopics<'static> {
        let limits = TopicLimits { newest_ms: Some(HOUR), ..TopicLimits::default() };
        let topic = |name| KnownTopic { name, max_message_bytes: 1_048_588, limits };
        KnownTopics {
            raw: topic("raw"),
            processed: topic("processed"),
            alerts: topic("alerts"),
            dead_letters: topic("dead"),
            state: topic("state"),
            raw_retention_ms: Some(DAY),
            client_max_bytes: None,
            evidence: (5, 100),
        }
    }

    /// Names of what has a finding after a change.
    fn named(change: impl FnOnce(&mut KnownTopics<'_>)) -> Vec<&'static str> {
        let mut topics = usual();
        change(&mut topics);
        foresee(&topics).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn topics_as_a_broker_makes_them_refuse_nothing() {
        assert!(named(|_| {}).is_empty());
    }

    #[test]
    fn an_output_that_takes_no_record_as_old_as_the_input_keeps_them_is_named() {
        assert_eq!(named(|topics| topics.processed.limits.oldest_ms = Some(HOUR)), ["processed"]);
        assert!(named(|topics| topics.processed.limits.oldest_ms = Some(DAY)).is_empty());
        let for_ever = |topics: &mut KnownTopics<'_>| {
            (topics.raw_retention_ms, topics.processed.limits.oldest_ms) = (None, Some(400 * DAY));
        };
        assert_eq!(named(for_ever), ["processed"]);
        let dated_by_the_broker = |topics: &mut KnownTopics<'_>| {
            topics.processed.limits.oldest_ms = Some(HOUR);
            topics.processed.limits.appends_time = true;
        };
        assert!(named(dated_by_the_broker).is_empty());
    }

    #[test]
    fn an_output_that_takes_less_of_the_future_than_the_input_is_named() {
        assert_eq!(named(|topics| topics.processed.limits.newest_ms = Some(HOUR / 2)), ["processed"]);
        assert_eq!(named(|topics| topics.raw.limits.newest_ms = None), ["processed"]);
        let dated_by_the_broker = |topics: &mut KnownTopics<'_>| {
            (topics.raw.limits.newest_ms, topics.raw.limits.appends_time) = (None, true);
        };
        assert!(named(dated_by_the_broker).is_empty());
    }

    #[test]
    fn compacted_outputs_are_named() {
        assert_eq!(named(|topics| topics.processed.limits.needs_key = true), ["processed"]);
        assert_eq!(named(|topics| topics.dead_letters.limits.needs_key = true), ["dead"]);
        assert!(named(|topics| topics.state.limits.needs_key = true).is_empty());
    }

    #[test]
    fn topics_and_clients_that_take_smaller_records_than_the_input_are_named() {
        assert_eq!(named(|topics| topics.processed.max_message_bytes = 100_000), ["processed"]);
        assert_eq!(named(|topics| topics.dead_letters.max_message_bytes = 100_000), ["dead"]);
        assert_eq!(named(|topics| topics.client_max_bytes = Some(100_000)), ["message.max.bytes"]);
    }

    #[test]
    fn topics_without_room_for_the_evidence_are_named() {
        assert_eq!(named(|topics| topics.alerts.max_message_bytes = 2_500), ["alerts"]);
        assert_eq!(named(|topics| topics.state.max_message_bytes = 2_500), ["state"]);
        let without_evidence = |topics: &mut KnownTopics<'_>| {
            (topics.alerts.max_message_bytes, topics.evidence) = (2_500, (0, 100));
        };
        assert!(named(without_evidence).is_empty());
    }
}
