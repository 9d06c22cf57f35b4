//! From records to rows of a binary COPY.

use std::borrow::Cow;

use tidegate_core::{
    NextOffset, PartitionId, TimestampMs,
    event::{EventParser, FieldPath, FieldPaths, Raw},
    record::Topic,
};

use super::{
    alert, letter,
    value::{ColumnType, Value},
};
use crate::{Batch, SinkRecord};

/// What a binary COPY begins with: signature, flags, length of an extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// Rows go to the server in pieces of about this size, so that it works on one while the next is sent.
const CHUNK_BYTES: usize = 64 << 10;

/// Paths of the columns that the pipeline adds to events, in the order of the table's columns.
const GEO: [&str; 4] = ["country", "city", "lat", "lon"];

/// Makes rows of records.
#[derive(Debug)]
pub(super) enum RowMaker {
    Events(Box<EventParser>),
    Alerts,
    DeadLetters,
}

/// Rows, and what became of the records that they were to be made of.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) count: usize,
    /// Position behind the last row of each partition.
    pub(super) next: Vec<(PartitionId, NextOffset)>,
    /// Records that no row can be made of, each with the reason. Rows end before the first of them.
    pub(super) refused: Vec<(usize, String)>,
    /// How many of the records are made into rows, passed over, or refused. Those behind are not looked at.
    pub(super) seen: usize,
}

impl RowMaker {
    pub(super) fn new(topic: Topic, paths: &FieldPaths, additional: &[(String, FieldPath)]) -> Self {
        match topic {
            Topic::Alerts => Self::Alerts,
            Topic::DeadLetters => Self::DeadLetters,
            Topic::Raw | Topic::Processed | Topic::State => {
                let geo = GEO.map(|key| vec!["geo".to_owned(), key.to_owned()]);
                let additional = additional.iter().map(|(_, path)| path.clone());
                let extra: Vec<FieldPath> = geo.into_iter().chain(additional).collect();
                Self::Events(Box::new(EventParser::with_extra(paths, &extra)))
            }
        }
    }

    /// Makes rows of these records of a batch, up to the first that none can be made of: what stands behind it must not be
    /// delivered before somebody has taken care of it. `is_wanted` says which records are delivered at all.
    pub(super) fn rows(
        &self,
        batch: &Batch,
        records: &[usize],
        columns: &[(String, ColumnType)],
        is_wanted: impl Fn(PartitionId, i64) -> bool,
    ) -> Rows {
        let mut rows = Rows::default();
        let mut chunk = HEADER.to_vec();
        let mut extra = Vec::new();
        for &index in records {
            let record = batch.record(index);
            if is_wanted(record.partition, record.offset) {
                let end = chunk.len();
                match self.row(&record, columns, &mut extra, &mut chunk) {
                    Ok(()) if rows.refused.is_empty() => rows.made(record.partition, record.next()),
                    Ok(()) => {
                        chunk.truncate(end);
                        break;
                    }
                    Err(why) => {
                        chunk.truncate(end);
                        rows.refused.push((index, why));
                    }
                }
                if chunk.len() >= CHUNK_BYTES {
                    rows.chunks.push(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES * 9 / 8)));
                }
            }
            rows.seen += 1;
        }
        chunk.extend_from_slice(&TRAILER);
        rows.chunks.push(chunk);
        rows
    }

    fn row<'a>(
        &self,
        record: &SinkRecord<'a>,
        columns: &[(String, ColumnType)],
        extra: &mut Vec<Raw<'a>>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        out.extend_from_slice(&(columns.len() as i16).to_be_bytes());
        match self {
            Self::Events(parser) => event(parser, record, columns, extra, out),
            Self::Alerts => put(columns, alert::values(record)?, out),
            Self::DeadLetters => put(columns, letter::values(record), out),
        }
    }
}

impl Rows {
    fn made(&mut self, partition: PartitionId, next: NextOffset) {
        self.count += 1;
        match self.next.iter_mut().rev().find(|(other, _)| *other == partition) {
            Some((_, position)) => *position = next,
            None => self.next.push((partition, next)),
        }
    }
}

/// Appends the columns of an event.
#[inline]
fn event<'a>(
    parser: &EventParser,
    record: &SinkRecord<'a>,
    columns: &[(String, ColumnType)],
    extra: &mut Vec<Raw<'a>>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let value = record.value.ok_or("it has no value")?;
    let event = parser.parse_with(value, extra).map_err(|rejection| rejection.detail)?;
    let time = event.timestamp.unwrap_or(record.timestamp.max(TimestampMs(0)));
    // The parser has read all of it, so it is UTF-8.
    let json = std::str::from_utf8(value).map_err(|error| error.to_string())?;
    let fixed = [
        Value::Int(i64::from(record.partition.0)),
        Value::Int(record.offset),
        Value::Time(time),
        Value::Text(event.event_type),
        Value::Text(event.service),
        Value::text(event.user_id),
    ];
    let whole = Value::Json(Cow::Borrowed(json));
    let (geo, additional) = extra.split_at(GEO.len());
    let geo = geo.iter().copied().map(Value::Raw);
    let additional = additional.iter().copied().map(Value::Raw);
    put(columns, fixed.into_iter().chain(geo).chain([whole]).chain(additional), out)
}

/// Appends values, each in the type of its column.
fn put<'a>(
    columns: &[(String, ColumnType)],
    values: impl IntoIterator<Item = Value<'a>>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    for ((name, column), value) in columns.iter().zip(values) {
        value.encode(*column, out).map_err(|why| format!("column {name}: {why}"))?;
    }
    Ok(())
}
