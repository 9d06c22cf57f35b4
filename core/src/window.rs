//! Event-time windows per rule and service.
//!
//! [`Windows`] holds the open windows of the services that one window actor owns. Between two cuts events are
//! [counted](Windows::count); at a cut the epoch is [sealed](Windows::seal): windows behind the watermark
//! close, and everything that the epoch changed is handed over.

mod evidence;
mod frame;
mod open;
mod services;
mod windows;

use std::sync::Arc;

pub use evidence::Evidence;
pub use open::OpenWindows;
pub use windows::{OpenWindow, Windows};

use crate::{PartitionId, TimestampMs, alert::Alert};

/// Names one window. Rules are named, not numbered, so that a key means the same after a change of the
/// configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    /// Name of the rule.
    pub rule: Arc<str>,
    /// Service counted in this window.
    pub service: Arc<str>,
    /// First millisecond of the window.
    pub start: TimestampMs,
}

/// What an open window knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowState {
    /// Length of the window; with the rule's present length it tells state of a changed rule.
    pub window_ms: i64,
    /// Events counted.
    pub count: u64,
    /// Lowest event time counted.
    pub first_event_at: TimestampMs,
    /// Highest event time counted.
    pub last_event_at: TimestampMs,
    /// The threshold was passed, and `crossed` was raised.
    pub crossed: bool,
    /// The first counted events, in the order of counting.
    pub evidence: Vec<Evidence>,
}

/// A change of one window's state in an epoch, absolute, so that applying it twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// The window is now as given.
    Put(WindowKey, WindowState),
    /// The window is closed or given up.
    Delete(WindowKey),
}

/// An event as the windows see it.
#[derive(Debug, Clone, Copy)]
pub struct CountedEvent<'a> {
    /// Its event time.
    pub timestamp: TimestampMs,
    /// Input partition.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: i64,
    /// Its top-level `user_id`, if that is a string.
    pub user_id: Option<&'a str>,
    /// Kafka timestamp of its record.
    pub append_time: TimestampMs,
}

/// What the windows have to say about one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpochDelta {
    /// Alerts in the order in which they are to be written: of one window `crossed` before `closed`.
    pub alerts: Vec<Alert>,
    /// One change for each window that is not as it was at the cut before.
    pub changes: Vec<StateChange>,
    /// For each rule: windows missed by events that came too late.
    pub late: Vec<u64>,
    /// Events that were not counted because too many windows are open, once for each rule.
    pub overflow: u64,
}

impl EpochDelta {
    /// Nothing happened, for so many rules.
    fn empty(rules: usize) -> Self {
        Self { late: vec![0; rules], ..Self::default() }
    }
}
