//! What travels with an epoch's end: the barrier's cut, and each partition's seal behind its last data of the epoch.

use std::time::Duration;

use crate::{Epoch, NextOffset, PartitionId, TimestampMs, time::watermark::PartitionMark};

/// The barrier's word that an epoch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The epoch.
    pub epoch: Epoch,
    /// When it was cut, by the process's monotonic clock; the same for all.
    pub at: Duration,
    /// Whether the log answers; a partition is not idle while it does not.
    pub log_is_up: bool,
    /// The last cut before a shutdown: partitions first finish what they hold.
    pub drain: bool,
}

impl Cut {
    /// When it was cut, in milliseconds.
    #[must_use]
    pub fn at_ms(&self) -> i64 {
        self.at.as_millis() as i64
    }
}

/// A partition's word that it has passed on all of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// What it answers.
    pub cut: Cut,
    /// Input partition.
    pub partition: PartitionId,
    /// Where the epoch ends in it.
    pub next: NextOffset,
    /// What it says about event time.
    pub mark: PartitionMark,
    /// Highest timestamp seen, for the recovery of the mark.
    pub highest: Option<TimestampMs>,
}
