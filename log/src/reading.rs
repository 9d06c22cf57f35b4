//! Reading a topic: what a reader is told, and what it hands on.

use std::time::Duration;

use tidegate_core::{NextOffset, PartitionId, TimestampMs};

use crate::LogError;

/// How the connection to the log is, as its clients see it; cheap to ask at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Not connected yet.
    Connecting,
    /// Answers.
    Up,
    /// Does not answer; the last error.
    Down(String),
}

/// One record as it is read; borrowed from the client.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Its partition.
    pub partition: PartitionId,
    /// Offset.
    pub offset: i64,
    /// Kafka timestamp.
    pub timestamp: TimestampMs,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Takes what a reader reads.
pub trait RecordSink {
    /// The next record of its partition. `headers` writes the record's headers, encoded, to the end of the
    /// given arena.
    fn record(&mut self, record: RecordRef<'_>, headers: &mut dyn FnMut(&mut Vec<u8>));

    /// A partition was read to its end, so far.
    fn end_of_partition(&mut self, partition: PartitionId, next: NextOffset);
}

/// Reads a topic from given offsets, without a group.
pub trait RecordReader: Send {
    /// Reads from these positions on; records fetched before are forgotten.
    ///
    /// # Errors
    /// [`LogError::Broken`] if the client refuses it.
    fn assign(&mut self, positions: &[(PartitionId, NextOffset)]) -> Result<(), LogError>;

    /// Hands up to `max_records` committed records to `sink`, waiting up to `timeout` for the first.
    /// Returns how many. With `max_records` 0 it only attends to the connection.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] and other lasting errors; a broker that is away is no error here.
    fn poll(
        &mut self,
        timeout: Duration,
        max_records: usize,
        sink: &mut dyn RecordSink,
    ) -> Result<usize, LogError>;

    /// The last known end (high watermark) of a partition, from what was fetched.
    fn end_offset(&self, partition: PartitionId) -> Option<NextOffset>;

    /// How the connection is.
    fn health(&self) -> Health;
}
