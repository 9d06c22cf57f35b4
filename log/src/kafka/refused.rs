//! Records that the broker refuses for good, as the reports of the client tell.
//!
//! The broker names the records of a batch that are at fault. librdkafka gives those its error, or
//! `INVALID_RECORD` if there are several, and all others of the batch `_INVALID_DIFFERENT_RECORD`. If there is only one,
//! it then overwrites the errors of all with that one's, and the words alone tell who was spared. A batch that is too
//! large as a whole has no such names.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use rdkafka::error::RDKafkaErrorCode as Code;
use tidegate_core::TimestampMs;

use crate::{Origin, Refused, Topic, TopicsFacts};

/// Reports that are kept of one epoch; a batch has at most 10,000 records.
pub(super) const MAX_REPORTS: usize = 20_000;

/// The report of one record that was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Undelivered {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) code: Code,
    pub(super) origin: Origin,
    pub(super) has_key: bool,
    /// Bytes of key and value.
    pub(super) size_bytes: usize,
    /// The broker's words.
    pub(super) words: String,
}

/// Whether a code says that the same record would be refused again.
pub(super) fn is_for_good(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::InvalidDifferentRecord
            | Code::MessageSizeTooLarge
            | Code::InvalidTopic
            | Code::UnsupportedForMessageFormat
            | Code::PolicyViolation
    )
}

/// How librdkafka's words for a record begin that was only beside one at fault.
const SPARED: &str = "Failed to append record because it was part of a batch";

impl Undelivered {
    /// The code, with the one put right that librdkafka overwrites.
    fn code(&self) -> Code {
        if self.words.starts_with(SPARED) { Code::InvalidDifferentRecord } else { self.code }
    }

    fn names_the_record(&self) -> bool {
        matches!(self.code(), Code::InvalidRecord | Code::InvalidTimestamp)
    }
}

/// Reports about one partition, and so most likely one batch.
#[derive(Default)]
struct Batch<'a> {
    reports: Vec<&'a Undelivered>,
    /// The broker told who is at fault: the others are spared.
    spares: bool,
    /// Records that it named have other words than others that it named.
    differs: bool,
    named: usize,
    too_large: usize,
}

fn batches(reports: &[Undelivered]) -> Vec<Batch<'_>> {
    let mut batches: BTreeMap<(&str, i32), Batch<'_>> = BTreeMap::new();
    for report in reports {
        let batch = batches.entry((&report.topic, report.partition)).or_default();
        batch.spares |= report.code() == Code::InvalidDifferentRecord;
        batch.named += usize::from(report.names_the_record());
        batch.too_large += usize::from(report.code == Code::MessageSizeTooLarge);
        batch.differs |= batch.reports.first().is_some_and(|first| first.words != report.words);
        batch.reports.push(report);
    }
    batches.into_values().collect()
}

impl<'a> Batch<'a> {
    /// Records that are at fault themselves, as far as that is sure.
    fn culprits(&self) -> impl Iterator<Item = &'a Undelivered> {
        self.reports.iter().copied().filter(|report| match report.code() {
            // Without names the whole batch has the same words, but a record without a key tells by itself.
            Code::InvalidRecord | Code::InvalidTimestamp => {
                self.spares || self.differs || self.named == 1 || !report.has_key
            }
            // A batch of its own: no other record was refused with it.
            Code::MessageSizeTooLarge => self.too_large == 1,
            _ => false,
        })
    }
}

/// What the reports of an epoch's records say; `None` if none was refused for good.
pub(super) fn judge(reports: &[Undelivered], topics: &TopicsFacts) -> Option<Refused> {
    let first = reports.iter().find(|report| report.code() != Code::InvalidDifferentRecord)?;
    let batches = batches(reports);
    let culprits = batches.iter().flat_map(Batch::culprits);
    let of_topic = |name: &str| Topic::ALL.into_iter().find(|topic| topics[*topic as usize].name == name);
    let records = culprits.filter_map(|report| {
        let (partition, offset) = report.origin.position()?;
        Some((of_topic(&report.topic)?, partition, offset))
    });
    let broker_now = reports.iter().find_map(|report| {
        let limits = topics[of_topic(&report.topic)? as usize].limits;
        broker_clock(&report.words, limits.oldest_ms, limits.newest_ms)
    });
    let words = if first.words.is_empty() { String::new() } else { format!(": {}", first.words) };
    Some(Refused {
        topic: first.topic.clone(),
        cause: format!("{}{words}", first.code),
        records: records.collect(),
        broker_now,
    })
}

/// The broker's clock from "The timestamp should be within [oldest, newest]" and the topic's limits, if they agree.
fn broker_clock(words: &str, oldest_ms: Option<i64>, newest_ms: Option<i64>) -> Option<TimestampMs> {
    let (_, range) = words.rsplit_once('[')?;
    let (oldest, newest) = range.split_once(']')?.0.split_once(',')?;
    let (oldest, newest): (i64, i64) = (oldest.trim().parse().ok()?, newest.trim().parse().ok()?);
    // A topic without a limit of age has the largest number for one.
    let oldest_ms = if oldest < 0 { i64::MAX } else { oldest_ms? };
    let now = oldest.checked_add(oldest_ms)?;
    // The limits may have been changed since they were asked for, and would tell a wrong time.
    (now > 0 && newest.checked_sub(now) == newest_ms).then_some(TimestampMs(now))
}

/// Sizes that topics were seen to refuse, for those whose limits may not be asked for.
#[derive(Debug)]
pub(super) struct Learnt {
    limits: [AtomicUsize; 5],
    batch: AtomicUsize,
}

impl Default for Learnt {
    fn default() -> Self {
        Self { limits: [const { AtomicUsize::new(usize::MAX) }; 5], batch: AtomicUsize::new(usize::MAX) }
    }
}

impl Learnt {
    /// Records of this size and more are refused.
    pub(super) fn limit(&self, topic: Topic) -> usize {
        self.limits[topic as usize].load(Ordering::Relaxed)
    }

    /// Largest batch that makes sense.
    pub(super) fn batch(&self) -> usize {
        self.batch.load(Ordering::Relaxed)
    }

    /// Takes reports into account. A record that was refused alone says how large is too large; of several the size
    /// of the batch is to blame, and the next ones are half as large, until each is alone.
    pub(super) fn learn(&self, reports: &[Undelivered], topics: &TopicsFacts) {
        let too_large = |report: &&&Undelivered| report.code == Code::MessageSizeTooLarge;
        for batch in batches(reports).iter().filter(|batch| batch.too_large > 0) {
            if batch.too_large > 1 {
                let all: usize = batch.reports.iter().filter(too_large).map(|report| report.size_bytes).sum();
                let half = (all.min(self.batch()).min(1_000_000) / 2).max(1_000);
                self.batch.fetch_min(half, Ordering::Relaxed);
            } else if let Some(report) = batch.reports.iter().find(too_large)
                && let Some(topic) = topics.iter().position(|topic| topic.name == report.topic)
            {
                self.limits[topic].fetch_min(report.size_bytes, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tidegate_core::{PartitionId, topic_limits::TopicLimits};

    use super::*;
    use crate::TopicFacts;

    fn topics() -> TopicsFacts {
        let limits = TopicLimits { newest_ms: Some(3_600_000), ..TopicLimits::default() };
        ["raw", "processed", "alerts", "dead", "state"].map(|name| TopicFacts {
            id: None,
            name: name.into(),
            partitions: 4,
            max_message_bytes: 1000,
            limits,
        })
    }

    fn report(code: Code, offset: i64, words: &str) -> Undelivered {
        Undelivered {
            topic: "processed".into(),
            partition: 2,
            code,
            origin: Origin::new(PartitionId(2), offset),
            has_key: true,
            size_bytes: 100,
            words: words.into(),
        }
    }

    fn blamed(reports: &[Undelivered]) -> Vec<i64> {
        judge(reports, &topics()).unwrap().records.iter().map(|(_, _, offset)| *offset).collect()
    }

    #[test]
    fn the_one_record_that_the_broker_names_is_blamed_and_not_its_neighbours() {
        let neighbour = |offset| report(Code::InvalidDifferentRecord, offset, "part of a batch");
        assert_eq!(blamed(&[neighbour(1), report(Code::InvalidTimestamp, 2, "old"), neighbour(3)]), [2]);
        let two = [neighbour(1), report(Code::InvalidRecord, 2, "a"), report(Code::InvalidRecord, 4, "b")];
        assert_eq!(blamed(&two), [2, 4]);
        assert_eq!(judge(&[neighbour(1)], &topics()), None);
    }

    #[test]
    fn the_one_record_at_fault_is_told_from_its_neighbours_though_all_have_its_error() {
        let spared =
            "Failed to append record because it was part of a batch which had one more more invalid records";
        let reports = [1, 2, 3].map(|offset| {
            report(Code::InvalidTimestamp, offset, if offset == 2 { "out of range" } else { spared })
        });
        assert_eq!(blamed(&reports), [2]);
        assert!(judge(&reports, &topics()).unwrap().cause.contains("out of range"));
    }

    #[test]
    fn of_a_batch_that_is_refused_without_names_nobody_is_blamed() {
        let same = [report(Code::InvalidRecord, 1, "no"), report(Code::InvalidRecord, 2, "no")];
        assert!(blamed(&same).is_empty());
        assert!(blamed(&[report(Code::InvalidTopic, 1, "no")]).is_empty());
    }

    #[test]
    fn records_without_a_key_are_blamed_though_all_of_the_batch_are() {
        let keyless =
            |offset| Undelivered { has_key: false, ..report(Code::InvalidRecord, offset, "without key") };
        assert_eq!(blamed(&[keyless(1), keyless(2)]), [1, 2]);
    }

    #[test]
    fn a_record_too_large_is_blamed_when_it_was_alone() {
        let large = |offset| report(Code::MessageSizeTooLarge, offset, "");
        assert_eq!(blamed(&[large(1)]), [1]);
        assert!(blamed(&[large(1), large(2)]).is_empty());
    }

    #[test]
    fn a_record_of_our_own_is_told_and_leads_to_no_input_record() {
        let own = Undelivered { origin: Origin::NONE, ..report(Code::InvalidTimestamp, 0, "old") };
        let refused = judge(&[own], &topics()).unwrap();
        assert!(refused.records.is_empty() && refused.cause.contains("old"), "{refused:?}");
    }

    #[test]
    fn the_brokers_words_tell_its_clock() {
        let words = "Timestamp 9 of message with offset 0 is out of range. The timestamp should be within [-9223370276854775807, 1760003600000]";
        let refused = judge(&[report(Code::InvalidTimestamp, 1, words)], &topics()).unwrap();
        assert_eq!(refused.broker_now, Some(TimestampMs(1_760_000_000_000)));
        let limited = "[1759999999000, 1760000000009]";
        let now = Some(TimestampMs(1_760_000_000_000));
        assert_eq!(broker_clock(limited, Some(1000), Some(9)), now);
        // Changed meanwhile.
        assert_eq!(broker_clock(limited, Some(1000), Some(99)), None);
        assert_eq!(broker_clock(limited, None, Some(9)), None);
        for words in ["", "[", "[a, b]", "[1]", "[-5, 3]"] {
            assert_eq!(broker_clock(words, Some(1), Some(9)), None, "{words}");
        }
    }

    #[test]
    fn what_is_too_large_is_learnt_from_a_record_that_was_refused_alone_and_else_batches_get_smaller() {
        let learnt = Learnt::default();
        let large = |offset| report(Code::MessageSizeTooLarge, offset, "");
        learnt.learn(&[large(1), large(2), large(3)], &topics());
        assert_eq!((learnt.batch(), learnt.limit(Topic::Processed)), (1000, usize::MAX));
        learnt.learn(&[large(1)], &topics());
        assert_eq!((learnt.limit(Topic::Processed), learnt.limit(Topic::State)), (100, usize::MAX));
    }
}
