//! Records on their way from thread to thread: their bytes in one arena.

use std::ops::Range;

use crate::native::Record;

/// Room for a batch as the reader fills it.
const BYTES: usize = 512 * 1024;

/// Records that belong to one topic.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    arena: Vec<u8>,
    records: Vec<Meta>,
}

#[derive(Debug)]
struct Meta {
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

impl Batch {
    /// An empty batch with room for so many records of the usual size.
    pub(crate) fn with_room(records: usize) -> Self {
        Self { arena: Vec::with_capacity(BYTES), records: Vec::with_capacity(records) }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a copy of the record.
    pub(crate) fn push(&mut self, record: &Record<'_>) {
        let value = record.value.map(|value| self.append(|arena| arena.extend_from_slice(value)));
        self.push_meta(record, value);
    }

    /// Adds a record with another value than `like` has.
    pub(crate) fn push_with(&mut self, like: &Record<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let value = self.append(write);
        self.push_meta(like, Some(value));
    }

    fn push_meta(&mut self, record: &Record<'_>, value: Option<Range<usize>>) {
        let key = record.key.map(|key| self.append(|arena| arena.extend_from_slice(key)));
        let Record { partition, offset, timestamp, .. } = *record;
        self.records.push(Meta { partition, offset, timestamp, key, value });
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let start = self.arena.len();
        write(&mut self.arena);
        start..self.arena.len()
    }

    /// The records in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let bytes = |range: &Option<Range<usize>>| range.clone().map(|range| &self.arena[range]);
        self.records.iter().map(move |meta| Record {
            partition: meta.partition,
            offset: meta.offset,
            timestamp: meta.timestamp,
            key: bytes(&meta.key),
            value: bytes(&meta.value),
        })
    }
}
