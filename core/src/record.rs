//! Records in bulk: many records, one arena of bytes.

mod topics;

pub use topics::{Topic, TopicFacts, TopicsFacts};

use crate::{PartitionId, TimestampMs};

/// A range of bytes in an arena. Arenas stay below 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl ByteRange {
    /// No bytes at all.
    pub const EMPTY: Self = Self { start: 0, end: 0 };

    /// The bytes in `arena`.
    #[must_use]
    pub fn of(self, arena: &[u8]) -> &[u8] {
        &arena[self.start as usize..self.end as usize]
    }

    /// Appends `bytes` to `arena` and returns where they are.
    pub fn push(arena: &mut Vec<u8>, bytes: &[u8]) -> Self {
        let start = arena.len() as u32;
        arena.extend_from_slice(bytes);
        Self { start, end: arena.len() as u32 }
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Where one record of a [`RecordBatch`] is.
#[derive(Debug, Clone, Copy)]
pub struct RecordMeta {
    /// Offset in its partition.
    pub offset: i64,
    /// Kafka timestamp of the record.
    pub timestamp: TimestampMs,
    /// The key, if there is one.
    pub key: Option<ByteRange>,
    /// The value; `None` is a tombstone.
    pub value: Option<ByteRange>,
    /// Encoded headers, see [`Headers`]; empty if there are none.
    pub headers: ByteRange,
}

impl RecordMeta {
    /// Bytes of key, value and headers.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.key.map_or(0, ByteRange::len) + self.value.map_or(0, ByteRange::len) + self.headers.len()
    }
}

/// Records of one input partition in offset order.
#[derive(Debug)]
pub struct RecordBatch {
    /// The partition they were read from.
    pub partition: PartitionId,
    /// Bytes of keys, values and headers.
    pub arena: Vec<u8>,
    /// The records.
    pub records: Vec<RecordMeta>,
}

impl RecordBatch {
    /// Memory that counts against the budget of bytes in flight.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.arena.len() + self.records.len() * size_of::<RecordMeta>()
    }
}

/// The input record that an output record comes of, packed into a number so that it can go with each record through
/// the client and come back with its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin(u64);

impl Origin {
    /// A record of our own: an alert, a change of the state.
    pub const NONE: Self = Self(0);
    const OFFSET_BITS: u32 = 48;

    /// The record at `offset` of an input partition. What does not fit, such as the 65,535th partition, is nobody's.
    #[must_use]
    pub fn new(PartitionId(partition): PartitionId, offset: i64) -> Self {
        match u64::try_from(offset) {
            Ok(offset) if offset >> Self::OFFSET_BITS == 0 && partition < 0xFFFF => {
                Self((u64::from(partition) + 1) << Self::OFFSET_BITS | offset)
            }
            _ => Self::NONE,
        }
    }

    /// Partition and offset of the input record, if there is one.
    #[must_use]
    pub fn position(self) -> Option<(PartitionId, i64)> {
        let partition = (self.0 >> Self::OFFSET_BITS).checked_sub(1)?;
        let offset = self.0 & ((1 << Self::OFFSET_BITS) - 1);
        Some((PartitionId(partition as u32), offset.cast_signed()))
    }

    /// As the client carries it.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// Back from the client.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// One record to write.
#[derive(Debug, Clone, Copy)]
pub struct OutputRecord {
    /// Topic it goes to.
    pub topic: Topic,
    /// Partition it goes to.
    pub partition: u32,
    /// Kafka timestamp it gets.
    pub timestamp: TimestampMs,
    /// The key, if any.
    pub key: Option<ByteRange>,
    /// The value; `None` writes a tombstone.
    pub value: Option<ByteRange>,
    /// Encoded headers, see [`Headers`]; empty if there are none.
    pub headers: ByteRange,
    /// The input record it comes of.
    pub origin: Origin,
}

/// Records to write.
#[derive(Debug, Default)]
pub struct OutputBatch {
    /// Bytes of keys, values and headers.
    pub arena: Vec<u8>,
    /// The records, in the order they are to be written.
    pub records: Vec<OutputRecord>,
}

impl OutputBatch {
    /// The bytes at `range`.
    #[must_use]
    pub fn bytes(&self, range: ByteRange) -> &[u8] {
        range.of(&self.arena)
    }
}

/// Headers of one record in their order, encoded into an arena by [`push_header`].
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a>(pub &'a [u8]);

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        HeaderIter(self.0)
    }
}

const NULL_VALUE: u32 = u32::MAX;

/// Bytes of the lengths before a header's name.
pub const HEADER_LENGTHS_BYTES: usize = 8;

/// Appends one header to `arena`: name length, value length (both u32, little endian), name, value.
pub fn push_header(arena: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    arena.extend_from_slice(&(name.len() as u32).to_le_bytes());
    arena.extend_from_slice(&value.map_or(NULL_VALUE, |value| value.len() as u32).to_le_bytes());
    arena.extend_from_slice(name);
    arena.extend_from_slice(value.unwrap_or_default());
}

/// Iterates over encoded headers as (name, value); a header's value can be null.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a>(&'a [u8]);

impl<'a> HeaderIter<'a> {
    /// What is still to come, encoded.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_len, rest) = self.0.split_first_chunk::<4>()?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*name_len) as usize)?;
        match u32::from_le_bytes(*value_len) {
            NULL_VALUE => {
                self.0 = rest;
                Some((name, None))
            }
            len => {
                let (value, rest) = rest.split_at_checked(len as usize)?;
                self.0 = rest;
                Some((name, Some(value)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_survives_the_way_through_the_client_and_what_does_not_fit_is_nobodys() {
        for (partition, offset) in [(0, 0), (11, 1), (0xFFFE, (1 << 48) - 1)] {
            let origin = Origin::from_bits(Origin::new(PartitionId(partition), offset).to_bits());
            assert_eq!(origin.position(), Some((PartitionId(partition), offset)));
        }
        for (partition, offset) in [(0xFFFF, 0), (0, 1 << 48), (0, -1)] {
            assert_eq!(Origin::new(PartitionId(partition), offset), Origin::NONE);
        }
        assert_eq!(Origin::NONE.position(), None);
    }

    #[test]
    fn headers_come_back_in_order_with_null_and_empty_values_told_apart() {
        let mut arena = Vec::new();
        push_header(&mut arena, b"a", Some(b"1"));
        push_header(&mut arena, b"", None);
        push_header(&mut arena, b"\xff", Some(b""));
        let headers: Vec<_> = Headers(&arena).into_iter().collect();
        assert_eq!(headers, [(&b"a"[..], Some(&b"1"[..])), (b"", None), (b"\xff", Some(b""))]);
    }
}
