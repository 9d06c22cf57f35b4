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
    pub(crate) sealed: Vec<Option<Sealed>>,
    pub(crate) seals: usize,
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
            sealed: vec![None; partitions],
            seals: 0,
            all_sealed_at: None,
            deltas: Vec::new(),
            tallies: vec![Tally::default(); partitions],
            outputs: 0,
            bytes: 0,
            samples: Vec::new(),
            batches: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let idle = |delta: &Delta| delta.alerts.records.is_empty() && delta.changes.records.is_empty();
        self.outputs == 0 && self.deltas.iter().all(idle)
    }

    pub(crate) fn seals(&self) -> impl Iterator<Item = &Sealed> {
        self.sealed.iter().flatten()
    }

    pub(crate) fn watermark(&self) -> Option<TimestampMs> {
        self.deltas.first().and_then(|delta| delta.watermark)
    }
}
