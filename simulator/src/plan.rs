//! What comes of a recovery.

use tidegate_core::{
    Epoch, NextOffset, TimestampMs,
    window::{WindowKey, WindowState},
};

/// Everything a generation starts from.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The last committed epoch.
    pub(crate) epoch: Option<Epoch>,
    pub(crate) first: Epoch,
    pub(crate) positions: Vec<NextOffset>,
    pub(crate) highest: Vec<Option<TimestampMs>>,
    pub(crate) watermark: Option<TimestampMs>,
    pub(crate) windows: Vec<(WindowKey, WindowState)>,
    /// Nothing of the writer is committed yet.
    pub(crate) announces: bool,
    /// Which of the process's writers.
    pub(crate) writer: usize,
}

/// Why there is no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlan {
    /// The log does not answer.
    Unavailable,
    /// A person has to decide.
    Refused,
    /// Another process owns the id now.
    TakenOver,
}

pub(crate) type Recovered = Result<Plan, NoPlan>;
