//! Records on their way to a destination.

use tidegate_core::{
    NextOffset, PartitionId, TimestampMs,
    record::{ByteRange, RecordBatch, RecordMeta},
};
use tidegate_log::{Headers, RecordRef};

/// Records of one topic, of several partitions, each partition's in the order of their offsets.
#[derive(Debug, Default)]
pub struct Batch {
    /// Bytes of keys, values and headers.
    arena: Vec<u8>,
    records: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    partition: PartitionId,
    offset: i64,
    timestamp: TimestampMs,
    key: Option<ByteRange>,
    value: Option<ByteRange>,
    headers: ByteRange,
}

/// One record of a batch.
#[derive(Debug, Clone, Copy)]
pub struct SinkRecord<'a> {
    /// Partition of the topic that the sink reads.
    pub partition: PartitionId,
    /// Offset in it.
    pub offset: i64,
    /// Kafka timestamp.
    pub timestamp: TimestampMs,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: Headers<'a>,
}

impl SinkRecord<'_> {
    /// The position behind it.
    #[must_use]
    pub fn next(&self) -> NextOffset {
        NextOffset(self.offset + 1)
    }
}

impl Batch {
    /// Adds a record; `headers` writes its headers, encoded, to the end of the arena. Returns the bytes it takes.
    pub fn push(&mut self, record: RecordRef<'_>, headers: &mut dyn FnMut(&mut Vec<u8>)) -> usize {
        let before = self.arena.len();
        let arena = &mut self.arena;
        let key = record.key.map(|key| ByteRange::push(arena, key));
        let value = record.value.map(|value| ByteRange::push(arena, value));
        let start = arena.len() as u32;
        headers(arena);
        let headers = ByteRange { start, end: arena.len() as u32 };
        let RecordRef { partition, offset, timestamp, .. } = record;
        self.records.push(Entry { partition, offset, timestamp, key, value, headers });
        self.arena.len() - before + size_of::<Entry>()
    }

    /// The record at an index below [`len`](Self::len).
    #[must_use]
    pub fn record(&self, index: usize) -> SinkRecord<'_> {
        let Entry { partition, offset, timestamp, key, value, headers } = self.records[index];
        let bytes = |range: ByteRange| range.of(&self.arena);
        let (key, value, headers) = (key.map(bytes), value.map(bytes), Headers(bytes(headers)));
        SinkRecord { partition, offset, timestamp, key, value, headers }
    }

    /// A copy of one record, as a batch of the pipeline.
    pub(crate) fn single(&self, index: usize) -> RecordBatch {
        let record = self.record(index);
        let mut arena = Vec::new();
        let mut own = |bytes| ByteRange::push(&mut arena, bytes);
        let (key, value) = (record.key.map(&mut own), record.value.map(&mut own));
        let headers = own(record.headers.0);
        let SinkRecord { partition, offset, timestamp, .. } = record;
        RecordBatch { partition, arena, records: vec![RecordMeta { offset, timestamp, key, value, headers }] }
    }

    /// All records, in order.
    pub fn iter(&self) -> impl Iterator<Item = SinkRecord<'_>> {
        (0..self.records.len()).map(|index| self.record(index))
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.arena.len() + self.records.len() * size_of::<Entry>()
    }
}
