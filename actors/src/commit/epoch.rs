//! What has come of an epoch: output of the partitions, and the window actors' parts.

use std::{sync::Arc, time::Duration};

use tidegate_core::{Epoch, RuleId, TimestampMs, alert::AlertPhase, epoch::barrier::Seal, tally::Tally};
use tidegate_log::OutputBatch;
use tidegate_telemetry::{DeadLetterSample, Parent, Span};

/// What a window actor adds to an epoch.
pub struct Delta {
    pub(crate) epoch: Epoch,
    /// Rendered alerts.
    pub(crate) alerts: Arc<OutputBatch>,
    /// Changelog records; the store takes the same.
    pub(crate) changes: OutputBatch,
    /// For each of `alerts`, in their order: rule, phase, and when its crossing event was appended.
    pub(crate) raised: Vec<Raised>,
    /// Late events per rule.
    pub(crate) late: Vec<u64>,
    /// Events not counted for want of windows.
    pub(crate) overflow: u64,
    /// The pipeline's watermark as of the epoch.
    pub(crate) watermark: Option<TimestampMs>,
}

/// One alert of an epoch, for the metrics and those who wait for alerts.
#[derive(Debug)]
pub(crate) struct Raised {
    pub(crate) rule: RuleId,
    pub(crate) phase: AlertPhase,
    pub(crate) appended_at: Option<TimestampMs>,
    /// Ends when it is committed, or never will be.
    pub(crate) _span: Span,
}

/// What has come of the open epoch.
pub(crate) struct OpenEpoch {
    pub(crate) epoch: Epoch,
    /// By partition, once all have come.
    pub(crate) seals: Vec<Seal>,
    /// When the last came, by the process's clock.
    pub(crate) all_sealed_at: Option<Duration>,
    /// Of all window actors, once all have come.
    pub(crate) deltas: Vec<Delta>,
    /// Per input partition.
    pub(crate) tallies: Vec<Tally>,
    pub(crate) outputs: usize,
    pub(crate) bytes: usize,
    pub(crate) samples: Vec<(&'static str, DeadLetterSample)>,
    /// Batches whose traces are kept.
    pub(crate) batches: Vec<Parent>,
}

impl OpenEpoch {
    pub(crate) fn new(epoch: Epoch, partitions: usize) -> Self {
        Self {
            epoch,
            seals: Vec::new(),
            all_sealed_at: None,
            deltas: Vec::new(),
            tallies: vec![Tally::default(); partitions],
            outputs: 0,
            bytes: 0,
            samples: Vec::new(),
            batches: Vec::new(),
        }
    }

    /// Whether it read records, raised alerts or changed windows.
    pub(crate) fn has_records(&self, deltas: &[Delta]) -> bool {
        let has = |delta: &Delta| !delta.alerts.records.is_empty() || !delta.changes.records.is_empty();
        self.outputs > 0 || deltas.iter().any(has)
    }

    /// When it was cut, by the process's clock.
    pub(crate) fn cut_at(&self) -> Option<Duration> {
        self.seals.first().map(|seal| seal.cut.at)
    }

    /// The pipeline's watermark as of the epoch.
    pub(crate) fn watermark(&self) -> Option<TimestampMs> {
        self.deltas.first().and_then(|delta| delta.watermark)
    }
}
