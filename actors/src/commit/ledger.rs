//! What is told of an epoch once it is committed: counters, the journal, alerts, phases.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidegate_core::{
    Generation, PartitionId, RuleId, TimestampMs, alert::AlertPhase, bots::Category, epoch::barrier::Seal,
    event::Reason, tally::Tally,
};
use tidegate_log::{CommitPhases, OutputRecord, Topic};
use tidegate_telemetry::{
    AlertEntry, CheckpointEntry, CheckpointPhase, DeadLetterSample, Journal, Metrics, PartitionEntry,
};
use tokio::sync::broadcast;

use super::epoch::{Delta, OpenEpoch, Raised};
use tidegate_host::Clock;

use crate::positions::Positions;

/// An alert that is visible to consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedAlert {
    /// The record's value: JSON on one line, see [`tidegate_core::alert::render`].
    pub value: Box<[u8]>,
    /// When it was raised.
    pub phase: AlertPhase,
    /// Kafka timestamp of the event that crossed; `None` for a `closed` alert.
    pub appended_at: Option<TimestampMs>,
    /// Wall clock when its commit returned.
    pub committed_at: TimestampMs,
}

/// Tells of committed epochs.
pub struct Ledger {
    /// The generation.
    pub generation: Generation,
    /// Next offset of each input partition, for everybody who looks.
    pub positions: Positions,
    /// Metrics.
    pub metrics: Metrics,
    /// Where the last epochs are remembered.
    pub journal: Journal,
    /// Whoever waits for alerts.
    pub alerts: broadcast::Sender<Arc<CommittedAlert>>,
    /// Tells the time.
    pub clock: Clock,
    /// What the generation before failed at is not done yet: a commit of less is no progress.
    pub stuck: Arc<AtomicBool>,
}

impl Ledger {
    /// Nothing came in and nothing went out.
    pub(crate) fn skipped(&self, epoch: &OpenEpoch) {
        if !self.stuck.load(Ordering::Relaxed) {
            self.metrics.epoch_empty();
        }
        self.note_partitions(epoch);
        self.report_progress(epoch);
    }

    /// All of the epoch is visible now, after a commit that was begun at `begun`; returns its phases.
    pub(crate) fn committed(
        &self,
        epoch: &mut OpenEpoch,
        begun: Duration,
        phases: &CommitPhases,
        state_records: u64,
    ) -> Phases {
        self.report_counts(epoch, state_records);
        self.tell_alerts(epoch);
        self.note_partitions(epoch);
        self.note_samples(epoch);
        let phases = phases_of(epoch, begun, self.clock.elapsed(), phases);
        self.report_phases(epoch, phases, state_records);
        if self.stuck.load(Ordering::Relaxed) {
            self.metrics.epoch_without_progress(epoch.epoch);
        } else {
            self.metrics.epoch_committed(epoch.epoch);
        }
        phases
    }

    /// Shows how far the input is processed.
    pub(crate) fn report_progress(&self, epoch: &OpenEpoch) {
        for seal in &epoch.seals {
            self.positions[seal.partition.0 as usize].store(seal.next.0, Ordering::Relaxed);
        }
        if let Some(watermark) = epoch.watermark() {
            self.metrics.set_watermark(watermark);
        }
    }

    /// Counts what is now visible, so that the metrics equal what the topics hold.
    fn report_counts(&self, epoch: &OpenEpoch, state: u64) {
        let metrics = &self.metrics;
        let mut total = Tally::default();
        for (partition, tally) in epoch.tallies.iter().enumerate() {
            metrics.source_records(PartitionId(partition as u32)).add(tally.records());
            total.add(tally);
        }
        let alerts = epoch.deltas.iter().map(|delta| delta.raised.len() as u64).sum();
        let written = [
            (Topic::Processed, total.forwarded),
            (Topic::Alerts, alerts),
            (Topic::DeadLetters, total.dead_letters()),
            (Topic::State, state),
        ];
        for (topic, records) in written {
            metrics.sink_records(topic).add(records);
        }
        for (category, events) in Category::ALL.into_iter().zip(total.bots) {
            metrics.bot_events(category).add(events);
        }
        metrics.skipped_tombstones().add(total.tombstones);
        metrics.future_events().add(total.future);
        for (reason, records) in Reason::ALL.into_iter().zip(total.dead) {
            metrics.dead_letters(reason).add(records);
        }
        let now = self.clock.now();
        for delta in &epoch.deltas {
            metrics.window_overflow().add(delta.overflow);
            for (rule, late) in delta.late.iter().enumerate() {
                metrics.late_events(RuleId(rule)).add(*late);
            }
            for raised in &delta.raised {
                metrics.alerts(raised.rule, raised.phase).add(1);
                if let Some(TimestampMs(appended_at)) = raised.appended_at {
                    let latency_ms = u64::try_from(now.0 - appended_at).unwrap_or(0);
                    metrics.alert_latency().record(Duration::from_millis(latency_ms));
                }
            }
        }
    }

    /// Tells whoever waits for alerts of those that are visible now.
    fn tell_alerts(&self, epoch: &OpenEpoch) {
        let committed_at = self.clock.now();
        let alerts = epoch.deltas.iter().flat_map(|Delta { alerts, raised, .. }| {
            let value = |record: &OutputRecord| record.value.map_or(&[][..], |value| alerts.bytes(value));
            alerts.records.iter().map(value).zip(raised)
        });
        let all: Vec<_> = alerts.collect();
        self.journal.alerts(all.len(), |index, seq| {
            let (value, raised) = &all[index];
            let latency =
                raised.appended_at.map(|at| Duration::from_millis((committed_at.0 - at.0).max(0) as u64));
            AlertEntry { seq, committed_at, latency, value: (*value).into() }
        });
        if self.alerts.receiver_count() == 0 {
            return;
        }
        for (value, Raised { phase, appended_at, .. }) in all {
            let (value, phase, appended_at) = (value.into(), *phase, *appended_at);
            // The last receiver may have gone meanwhile.
            let _ = self.alerts.send(Arc::new(CommittedAlert { value, phase, appended_at, committed_at }));
        }
    }

    fn note_partitions(&self, epoch: &OpenEpoch) {
        let entry = |seal: &Seal| PartitionEntry {
            position: seal.next.0,
            watermark: seal.mark.watermark,
            idle: seal.mark.idle,
        };
        self.journal.set_partitions(epoch.seals.iter().map(entry).collect());
    }

    fn note_samples(&self, epoch: &mut OpenEpoch) {
        let at = self.clock.now();
        for (reason, sample) in epoch.samples.drain(..) {
            self.journal.dead_letter(reason, DeadLetterSample { at, ..sample });
        }
    }

    fn report_phases(&self, epoch: &OpenEpoch, phases: Phases, state_records: u64) {
        let total = phases.iter().map(|(_, duration)| *duration).sum();
        for (phase, duration) in phases.into_iter().chain([(CheckpointPhase::Total, total)]) {
            self.metrics.checkpoint_duration(phase).record(duration);
        }
        let mut tally = Tally::default();
        epoch.tallies.iter().for_each(|of_partition| tally.add(of_partition));
        let alerts = epoch.deltas.iter().map(|delta| delta.raised.len() as u64).sum();
        let dead_letters = tally.dead_letters();
        self.journal.checkpoint(CheckpointEntry {
            epoch: epoch.epoch,
            generation: self.generation,
            cut_at: TimestampMs(self.clock.now().0 - total.as_millis() as i64),
            phases,
            records: tally.records(),
            written: tally.forwarded + dead_letters + alerts + state_records,
            bytes: epoch.bytes as u64,
            alerts,
            dead_letters,
        });
    }
}

/// The phases of a commit as they followed each other.
pub(crate) type Phases = [(CheckpointPhase, Duration); 5];

/// The phases of an epoch that was committed just now. What is in none of the others, such as waiting for the writer
/// to come to it, is part of the flush.
fn phases_of(epoch: &OpenEpoch, begun: Duration, now: Duration, phases: &CommitPhases) -> Phases {
    let sealed_at = epoch.all_sealed_at.unwrap_or(begun);
    let cut_at = epoch.cut_at().unwrap_or(sealed_at);
    [
        (CheckpointPhase::Cut, sealed_at.saturating_sub(cut_at)),
        (CheckpointPhase::Align, begun.saturating_sub(sealed_at)),
        (CheckpointPhase::Flush, now.saturating_sub(begun + phases.offsets + phases.end)),
        (CheckpointPhase::Offsets, phases.offsets),
        (CheckpointPhase::Commit, phases.end),
    ]
}
