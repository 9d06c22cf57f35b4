//! Records packed in chunks, the values that sled holds best.
//!
//! A chunk holds records of one partition, in the order of their offsets. Its bytes: CRC-32 of what follows, number
//! of parts (u16), number of records (u32), last offset minus the first (u32), highest timestamp (i64), then the
//! records: offset minus the first (u32), timestamp (i64), lengths of key, value and headers (u32; the highest
//! number stands for null), key, value, headers. All little-endian. A record larger than a part has a chunk of
//! its own, in several parts.

use tidegate_core::TimestampMs;

use super::rows::{Slot, chunk_key};

/// A chunk is full beyond this; small enough for sled, large enough to make the rest small.
const TARGET: usize = 16 << 10;
/// Largest value that sled keeps in its log; far larger ones leak space.
const PART: usize = 32 << 10;
const HEADER: usize = 22;
const RECORD_HEADER: usize = 24;
const NULL: u32 = u32::MAX;

/// Largest record: key, value and headers.
pub(super) const MAX_RECORD: usize = 8 << 20;

/// A record to write.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkRecord<'a> {
    pub(super) timestamp: TimestampMs,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// Encoded headers.
    pub(super) headers: &'a [u8],
}

impl ChunkRecord<'_> {
    pub(super) fn size(&self) -> usize {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        RECORD_HEADER + len(self.key) + len(self.value) + self.headers.len()
    }
}

/// A finished chunk without a place yet.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    records: u32,
    /// Offsets that it takes: more than records if some were compacted away.
    pub(super) span: u32,
}

impl Packed {
    /// Keys and values to store it under, beginning at offset `base`.
    pub(super) fn rows(&self, slot: Slot, base: i64) -> impl Iterator<Item = (Vec<u8>, &[u8])> {
        let parts = self.bytes.chunks(PART).enumerate();
        parts.map(move |(part, bytes)| (chunk_key(slot, base, part as u16), bytes))
    }
}

/// Packs records into chunks.
#[derive(Debug, Default)]
pub(super) struct Packer {
    full: Vec<Packed>,
    open: Packed,
    highest: i64,
}

impl Packer {
    /// Adds a record at the next offset.
    pub(super) fn push(&mut self, record: &ChunkRecord<'_>) {
        self.push_at(self.open.span, record);
    }

    /// Adds a record so many offsets after the first of its chunk; for a chunk with holes.
    pub(super) fn push_at(&mut self, delta: u32, record: &ChunkRecord<'_>) {
        let open = &mut self.open;
        if open.records == 0 {
            open.bytes.clear();
            open.bytes.resize(HEADER, 0);
            self.highest = i64::MIN;
        }
        let len = |bytes: Option<&[u8]>| bytes.map_or(NULL, |bytes| bytes.len() as u32);
        open.bytes.extend_from_slice(&delta.to_le_bytes());
        open.bytes.extend_from_slice(&record.timestamp.0.to_le_bytes());
        for len in [len(record.key), len(record.value), len(Some(record.headers))] {
            open.bytes.extend_from_slice(&len.to_le_bytes());
        }
        for bytes in [record.key, record.value, Some(record.headers)] {
            open.bytes.extend_from_slice(bytes.unwrap_or_default());
        }
        open.records += 1;
        open.span = delta + 1;
        self.highest = self.highest.max(record.timestamp.0);
        if open.bytes.len() >= TARGET {
            self.close();
        }
    }

    /// Whether the next record begins a new chunk.
    pub(super) fn is_between_chunks(&self) -> bool {
        self.open.records == 0
    }

    /// Ends the open chunk, so that the next record begins another.
    fn close(&mut self) {
        if self.open.records == 0 {
            return;
        }
        let mut chunk = std::mem::take(&mut self.open);
        let parts = chunk.bytes.len().div_ceil(PART) as u16;
        chunk.bytes[4..6].copy_from_slice(&parts.to_le_bytes());
        chunk.bytes[6..10].copy_from_slice(&chunk.records.to_le_bytes());
        chunk.bytes[10..14].copy_from_slice(&(chunk.span - 1).to_le_bytes());
        chunk.bytes[14..22].copy_from_slice(&self.highest.to_le_bytes());
        let crc = crc32fast::hash(&chunk.bytes[4..]);
        chunk.bytes[..4].copy_from_slice(&crc.to_le_bytes());
        self.full.push(chunk);
    }

    /// All chunks.
    pub(super) fn finish(mut self) -> Vec<Packed> {
        self.close();
        self.full
    }
}

/// A chunk that was read, and is what was written.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) base: i64,
    /// One past the last offset that it takes.
    pub(super) end: i64,
    pub(super) highest: TimestampMs,
    bytes: Vec<u8>,
    /// Where the next record is.
    at: usize,
}

/// A record of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredRecord<'a> {
    pub(super) offset: i64,
    pub(super) timestamp: TimestampMs,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// Encoded.
    pub(super) headers: &'a [u8],
}

impl<'a> StoredRecord<'a> {
    /// The same record, to be packed again.
    pub(super) fn as_new(&self) -> ChunkRecord<'a> {
        let Self { timestamp, key, value, headers, .. } = *self;
        ChunkRecord { timestamp, key, value, headers }
    }
}

/// Number of parts, as the first one says.
pub(super) fn parts(first: &[u8]) -> Option<u16> {
    let bytes = first.get(4..6)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

impl Chunk {
    /// Checks a chunk's bytes, all parts together.
    pub(super) fn read(base: i64, bytes: Vec<u8>) -> Option<Self> {
        let (crc, rest) = bytes.split_first_chunk::<4>()?;
        if crc32fast::hash(rest).to_le_bytes() != *crc {
            return None;
        }
        let last = u32::from_le_bytes(bytes.get(10..14)?.try_into().ok()?);
        let highest = i64::from_le_bytes(bytes.get(14..22)?.try_into().ok()?);
        let end = base.checked_add(i64::from(last) + 1)?;
        Some(Self { base, end, highest: TimestampMs(highest), bytes, at: HEADER })
    }

    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The keys that it is stored under.
    pub(super) fn keys(&self, slot: Slot) -> impl Iterator<Item = Vec<u8>> + use<> {
        let base = self.base;
        (0..self.bytes.len().div_ceil(PART)).map(move |part| chunk_key(slot, base, part as u16))
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Option<StoredRecord<'_>> {
        let (header, rest) = self.bytes.get(self.at..)?.split_first_chunk::<RECORD_HEADER>()?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let timestamp = i64::from(number(4)) | (i64::from(number(8)) << 32);
        let take = |len: u32, rest| -> Option<(Option<&[u8]>, &[u8])> {
            if len == NULL {
                return Some((None, rest));
            }
            let (bytes, rest): (&[u8], &[u8]) = <[u8]>::split_at_checked(rest, len as usize)?;
            Some((Some(bytes), rest))
        };
        let (key, rest) = take(number(12), rest)?;
        let (value, rest) = take(number(16), rest)?;
        let (headers, rest) = take(number(20), rest)?;
        self.at = self.bytes.len() - rest.len();
        Some(StoredRecord {
            offset: self.base + i64::from(number(0)),
            timestamp: TimestampMs(timestamp),
            key,
            value,
            headers: headers.unwrap_or_default(),
        })
    }

    /// The next record without taking it.
    pub(super) fn next_offset(&self) -> Option<i64> {
        let delta = self.bytes.get(self.at..)?.first_chunk::<4>()?;
        Some(self.base + i64::from(u32::from_le_bytes(*delta)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn record<'a>(timestamp: i64, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> ChunkRecord<'a> {
        ChunkRecord { timestamp: TimestampMs(timestamp), key, value, headers: b"head" }
    }

    #[test]
    fn records_come_back_as_they_were_packed_and_no_changed_byte_passes() {
        let mut packer = Packer::default();
        packer.push(&record(i64::MAX, Some(b"k"), None));
        packer.push(&record(-5, None, Some(b"")));
        packer.push_at(7, &record(0, Some(b""), Some(b"value")));
        let [packed] = <[Packed; 1]>::try_from(packer.finish()).unwrap();
        assert_eq!((packed.records, packed.span), (3, 8));
        let mut chunk = Chunk::read(100, packed.bytes.clone()).unwrap();
        assert_eq!((chunk.end, chunk.highest), (108, TimestampMs(i64::MAX)));
        let mut seen = Vec::new();
        while let Some(record) = chunk.next() {
            assert_eq!(record.headers, b"head");
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            seen.push((record.offset, record.timestamp.0, owned(record.key), owned(record.value)));
        }
        let expected = [
            (100, i64::MAX, Some(b"k".to_vec()), None),
            (101, -5, None, Some(Vec::new())),
            (107, 0, Some(Vec::new()), Some(b"value".to_vec())),
        ];
        assert_eq!(seen, expected);
        for at in 0..packed.bytes.len() {
            let mut spoilt = packed.bytes.clone();
            spoilt[at] ^= 0x10;
            assert!(Chunk::read(100, spoilt).is_none(), "byte {at}");
            assert!(Chunk::read(100, packed.bytes[..at].to_vec()).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn a_large_record_takes_several_parts_and_small_ones_share_a_chunk() {
        let large = vec![7; 3 * PART];
        let mut packer = Packer::default();
        for _ in 0..100 {
            packer.push(&record(1, None, Some(&[1; 400])));
        }
        packer.push(&record(1, None, Some(&large)));
        let chunks = packer.finish();
        let slot = Slot { topic: 1, partition: 2 };
        let rows: Vec<usize> = chunks.iter().map(|chunk| chunk.rows(slot, 0).count()).collect();
        assert_eq!(rows.iter().sum::<usize>(), rows.len() + 3, "{rows:?}");
        let last = chunks.last().unwrap();
        assert_eq!(parts(&last.bytes), Some(4));
        let whole: Vec<u8> = last.rows(slot, 0).flat_map(|(_, part)| part.to_vec()).collect();
        assert!(Chunk::read(0, whole).is_some());
    }
}
