//! What the last epochs were like, for people to look at: a bounded memory, written once per epoch, and by sinks for each
//! record that they reject.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_core::{Epoch, Generation, TimestampMs};

use crate::{CheckpointPhase, DeadLetterSample};

/// Checkpoints that are remembered: a minute of them with the default interval.
const CHECKPOINTS: usize = 240;
/// Alerts that are remembered.
const ALERTS: usize = 200;
/// Samples that are remembered of each reason of dead letters.
const SAMPLES: usize = 5;

/// A committed epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointEntry {
    /// Its number.
    pub epoch: Epoch,
    /// The generation that committed it.
    pub generation: Generation,
    /// Wall clock when it was cut.
    pub cut_at: TimestampMs,
    /// The phases that follow each other, in their order; together they are the whole duration.
    pub phases: [(CheckpointPhase, Duration); 5],
    /// Input records.
    pub records: u64,
    /// Records written, state changes included.
    pub written: u64,
    /// Bytes of the input records.
    pub bytes: u64,
    /// Alerts among what was written.
    pub alerts: u64,
    /// Dead letters among what was written.
    pub dead_letters: u64,
}

impl CheckpointEntry {
    /// From the cut to the end of the commit.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.phases.iter().map(|(_, duration)| *duration).sum()
    }
}

/// A committed alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertEntry {
    /// Its number in this process, from 1.
    pub seq: u64,
    /// Wall clock when its commit returned.
    pub committed_at: TimestampMs,
    /// From the append of the event that crossed to the commit; `None` for a `closed` alert.
    pub latency: Option<Duration>,
    /// The record's value: a JSON object.
    pub value: Box<[u8]>,
}

/// An input partition as of the last epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionEntry {
    /// Offset of the next record.
    pub position: i64,
    /// Its own watermark; `None` before its first event.
    pub watermark: Option<TimestampMs>,
    /// It holds the pipeline's watermark back no more.
    pub idle: bool,
}

/// The memory; a clone is another handle of the same.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    checkpoints: VecDeque<Arc<CheckpointEntry>>,
    alerts: VecDeque<Arc<AlertEntry>>,
    alerts_seen: u64,
    dead_letters: BTreeMap<&'static str, VecDeque<Arc<DeadLetterSample>>>,
    partitions: Vec<PartitionEntry>,
}

impl Journal {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An epoch was committed.
    pub fn checkpoint(&self, checkpoint: CheckpointEntry) {
        push(&mut self.entries().checkpoints, checkpoint, CHECKPOINTS);
    }

    /// `count` alerts were committed; `entry` makes the entry of one of them, given its place among these and its
    /// number. It is asked only for those that will be remembered.
    pub fn alerts(&self, count: usize, mut entry: impl FnMut(usize, u64) -> AlertEntry) {
        let mut entries = self.entries();
        let before = entries.alerts_seen;
        entries.alerts_seen += count as u64;
        for index in count.saturating_sub(ALERTS)..count {
            push(&mut entries.alerts, entry(index, before + index as u64 + 1), ALERTS);
        }
    }

    /// A dead letter for this reason was committed.
    pub fn dead_letter(&self, reason: &'static str, sample: DeadLetterSample) {
        push(self.entries().dead_letters.entry(reason).or_default(), sample, SAMPLES);
    }

    /// How the input partitions stand, by number.
    pub fn set_partitions(&self, partitions: Vec<PartitionEntry>) {
        self.entries().partitions = partitions;
    }

    /// Checkpoints of later epochs than `epoch`, or all that are remembered; oldest first.
    #[must_use]
    pub fn checkpoints_after(&self, epoch: Option<Epoch>) -> Vec<Arc<CheckpointEntry>> {
        let entries = self.entries();
        entries.checkpoints.iter().filter(|entry| Some(entry.epoch) > epoch).map(Arc::clone).collect()
    }

    /// Alerts with higher numbers than `seq`; oldest first.
    #[must_use]
    pub fn alerts_after(&self, seq: u64) -> Vec<Arc<AlertEntry>> {
        self.entries().alerts.iter().filter(|entry| entry.seq > seq).map(Arc::clone).collect()
    }

    /// Samples of a reason's dead letters; newest first.
    #[must_use]
    pub fn dead_letters(&self, reason: &str) -> Vec<Arc<DeadLetterSample>> {
        let entries = self.entries();
        entries.dead_letters.get(reason).into_iter().flatten().rev().map(Arc::clone).collect()
    }

    /// How the input partitions stand as of the last epoch, by number.
    #[must_use]
    pub fn partitions(&self) -> Vec<PartitionEntry> {
        self.entries().partitions.clone()
    }
}

/// Appends, and forgets the oldest beyond `limit`.
fn push<T>(entries: &mut VecDeque<Arc<T>>, entry: T, limit: usize) {
    if entries.len() == limit {
        entries.pop_front();
    }
    entries.push_back(Arc::new(entry));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(seq: u64) -> AlertEntry {
        AlertEntry { seq, committed_at: TimestampMs(0), latency: None, value: Box::default() }
    }

    #[test]
    fn of_a_storm_of_alerts_the_last_are_remembered_and_numbers_go_on() {
        let journal = Journal::default();
        journal.alerts(2, |_, seq| alert(seq));
        let mut made = 0;
        journal.alerts(1000, |_, seq| {
            made += 1;
            alert(seq)
        });
        assert_eq!(made, ALERTS);
        let kept = journal.alerts_after(0);
        assert_eq!(
            (kept.len(), kept.first().map(|a| a.seq), kept.last().map(|a| a.seq)),
            (ALERTS, Some(803), Some(1002))
        );
        assert_eq!(journal.alerts_after(1001).len(), 1);
        assert!(journal.alerts_after(1002).is_empty());
    }

    #[test]
    fn samples_are_kept_for_each_reason_newest_first() {
        let journal = Journal::default();
        let sample = |offset| DeadLetterSample {
            at: TimestampMs(0),
            sink: None,
            partition: 0,
            offset,
            detail: String::new(),
            size: 0,
            value: Vec::new(),
        };
        (0..9).for_each(|offset| journal.dead_letter("invalid_json", sample(offset)));
        journal.dead_letter("too_large", sample(100));
        let offsets: Vec<_> =
            journal.dead_letters("invalid_json").iter().map(|sample| sample.offset).collect();
        assert_eq!(offsets, [8, 7, 6, 5, 4]);
        assert_eq!(journal.dead_letters("too_large").len(), 1);
        assert!(journal.dead_letters("invalid_utf8").is_empty());
    }

    #[test]
    fn checkpoints_are_found_by_the_last_one_known() {
        let journal = Journal::default();
        for epoch in 1..=300 {
            journal.checkpoint(CheckpointEntry {
                epoch: Epoch(epoch),
                generation: Generation(1),
                cut_at: TimestampMs(0),
                phases: [(CheckpointPhase::Cut, Duration::from_millis(2)); 5],
                records: 0,
                written: 0,
                bytes: 0,
                alerts: 0,
                dead_letters: 0,
            });
        }
        let all = journal.checkpoints_after(None);
        assert_eq!((all.len(), all[0].epoch, all[0].total()), (240, Epoch(61), Duration::from_millis(10)));
        assert_eq!(journal.checkpoints_after(Some(Epoch(298))).len(), 2);
    }
}
