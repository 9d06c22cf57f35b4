//! What is in the database besides records: its keys and rows.
//!
//! Keys begin with a letter for their kind; numbers in them are big-endian, so that they sort. Every row is
//! postcard behind its CRC-32: sled answers some damage with other bytes than were written.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Layout of the database; another one is refused.
pub(super) const FORMAT: u32 = 1;

/// Key of the [`Manifest`].
pub(super) const MANIFEST: &[u8] = b"m";
pub(super) const TOPIC: u8 = b't';
pub(super) const PARTITION: u8 = b'p';
pub(super) const OFFSET: u8 = b'o';
pub(super) const WRITER: u8 = b'w';
const CHUNK: u8 = b'c';

/// Number of a topic within the database; names are long, and may come back with another meaning.
pub(super) type TopicId = u32;

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) topic: TopicId,
    pub(super) partition: u32,
}

/// Written anew in every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// How many commits there have been.
    pub(super) commits: u64,
    pub(super) topics: u32,
    /// Partitions of all topics together, so that a row that is gone is noticed.
    pub(super) partitions: u32,
}

/// One topic, under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopicRow {
    pub(super) id: TopicId,
    pub(super) partitions: u32,
    pub(super) retention_ms: Option<i64>,
    pub(super) compacted: bool,
}

/// What of a partition is there. Chunks at or beyond `end` were never committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct PartitionRow {
    /// The first offset.
    pub(super) begin: i64,
    /// One past the last offset.
    pub(super) end: i64,
    /// Size of its chunks.
    pub(super) bytes: u64,
    /// Size of its chunks when it was compacted last.
    pub(super) clean_bytes: u64,
}

/// Whose offset of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct OffsetKey {
    pub(super) slot: Slot,
    pub(super) group: String,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OffsetRow {
    pub(super) key: OffsetKey,
    pub(super) next: i64,
    pub(super) metadata: String,
}

pub(super) fn topic_key(name: &str) -> Vec<u8> {
    [&[TOPIC], name.as_bytes()].concat()
}

pub(super) fn writer_key(id: &str) -> Vec<u8> {
    [&[WRITER], id.as_bytes()].concat()
}

pub(super) fn partition_key(slot: Slot) -> Vec<u8> {
    slot_key(PARTITION, slot)
}

pub(super) fn offset_key(key: &OffsetKey) -> Vec<u8> {
    let mut bytes = slot_key(OFFSET, key.slot);
    bytes.extend_from_slice(key.group.as_bytes());
    bytes
}

/// Key of a part of the chunk whose first offset is `base`.
pub(super) fn chunk_key(slot: Slot, base: i64, part: u16) -> Vec<u8> {
    let mut bytes = slot_key(CHUNK, slot);
    // Offsets are never negative, so their bytes sort as they do.
    bytes.extend_from_slice(&base.to_be_bytes());
    bytes.extend_from_slice(&part.to_be_bytes());
    bytes
}

/// First offset and part in a chunk's key.
pub(super) fn read_chunk_key(key: &[u8]) -> Option<(i64, u16)> {
    let rest = key.strip_prefix(&[CHUNK])?.split_at_checked(8)?.1;
    let (base, part) = rest.split_first_chunk::<8>()?;
    Some((i64::from_be_bytes(*base), u16::from_be_bytes(part.try_into().ok()?)))
}

fn slot_key(kind: u8, slot: Slot) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(19);
    bytes.push(kind);
    bytes.extend_from_slice(&slot.topic.to_be_bytes());
    bytes.extend_from_slice(&slot.partition.to_be_bytes());
    bytes
}

/// A row's bytes.
pub(super) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    // These types cannot fail to be written to memory.
    let body = postcard::to_allocvec(row).unwrap_or_default();
    [&crc32fast::hash(&body).to_le_bytes()[..], &body].concat()
}

/// The row, unless the bytes are not what was written.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (crc, body) = bytes.split_first_chunk::<4>()?;
    (crc32fast::hash(body).to_le_bytes() == *crc).then(|| postcard::from_bytes(body).ok())?
}
