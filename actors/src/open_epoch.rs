//! What has come of an epoch so far.

use std::time::Instant;

use tidegate_core::{Epoch, TimestampMs};
use tidegate_telemetry::{DeadLetterSample, Parent};

use crate::{
    messages::{Delta, Sealed},
    tally::Tally,
};

/// What has come of the open epoch.
pub(crate) struct OpenEpoch {
    pub(crate) epoch: Epoch,
    /// By partition, once all have come.
    pub(crate) seals: Vec<Sealed>,
    pub(crate) all_sealed_at: Option<Instant>,
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

    pub(crate) fn has_records(&self) -> bool {
        let has = |delta: &Delta| !delta.alerts.records.is_empty() || !delta.changes.records.is_empty();
        self.outputs > 0 || self.deltas.iter().any(has)
    }

    pub(crate) fn watermark(&self) -> Option<TimestampMs> {
        self.deltas.first().and_then(|delta| delta.watermark)
    }
}
