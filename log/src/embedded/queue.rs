//! Appends that wait for their turn.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicU32};

use tidegate_core::TimestampMs;

use super::chunk::ChunkRecord;
use crate::LogError;

/// A record to append.
#[derive(Debug, Clone, Default)]
pub struct NewRecord {
    /// Where it goes; without one by the key as the Java client does it, and without a key in turn.
    pub partition: Option<u32>,
    /// Timestamp in ms since the epoch.
    pub timestamp: TimestampMs,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers as [`push_header`](crate::push_header) encodes them.
    pub headers: Vec<u8>,
}

impl NewRecord {
    pub(super) fn packed(&self) -> ChunkRecord<'_> {
        ChunkRecord {
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
        }
    }
}

/// Where an appended record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: i64,
}

/// Appends that wait for whoever writes next.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: Mutex<Vec<Arc<Request>>>,
    pub(super) turn: AtomicU32,
}

/// An append that waits.
pub(super) struct Request {
    pub(super) topic: String,
    pub(super) records: Vec<NewRecord>,
    pub(super) outcome: Mutex<Option<Result<Vec<Place>, LogError>>>,
}

impl Request {
    pub(super) fn take_outcome(&self) -> Option<Result<Vec<Place>, LogError>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn answer(&self, outcome: Result<Vec<Place>, LogError>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}
