//! Writing and reading an embedded log while no daemon has it.

use std::path::Path;

use tidegate_core::TimestampMs;
use tidegate_log::{
    Headers as Encoded, LogError,
    embedded::{EmbeddedStore, NewRecord, ReadRecord},
    push_header,
};

use super::kafka::{Input, Record};

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(dir, 1 << 40).unwrap()
}

/// Appends records to the partitions that they name.
pub fn append<'a>(dir: &Path, topic: &str, inputs: impl IntoIterator<Item = &'a Input>) {
    let store = open(dir);
    let mut records: Vec<NewRecord> = inputs.into_iter().map(new_record).collect();
    while !records.is_empty() {
        let rest = records.split_off(records.len().min(5000));
        store.append(topic, records).unwrap();
        records = rest;
    }
}

fn new_record(input: &Input) -> NewRecord {
    let mut headers = Vec::new();
    for (name, value) in &input.headers {
        push_header(&mut headers, name.as_bytes(), value.as_deref());
    }
    NewRecord {
        partition: Some(input.partition as u32),
        timestamp: TimestampMs(input.timestamp),
        key: input.key.clone(),
        value: input.value.clone(),
        headers,
    }
}

/// All records of a topic, one partition after the other.
pub fn dump(dir: &Path, topic: &str) -> Vec<Record> {
    try_dump(dir, topic).unwrap()
}

/// The same of a log that may be damaged.
pub fn try_dump(dir: &Path, topic: &str) -> Result<Vec<Record>, LogError> {
    let store = EmbeddedStore::open(dir, 1 << 40)?;
    let mut found = Vec::new();
    for (partition, range) in store.ranges(topic).unwrap_or_default().iter().enumerate() {
        let page = store.read(topic, partition as u32, range.begin, usize::MAX, usize::MAX)?;
        found.extend(page.unwrap().records.into_iter().map(|record| seen(partition, record)));
    }
    Ok(found)
}

fn seen(partition: usize, record: ReadRecord) -> Record {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = Encoded(&record.headers).into_iter();
    Record {
        partition: partition as i32,
        offset: record.offset,
        headers: headers.map(|(name, value)| (text(name), value.map(<[u8]>::to_vec))).collect(),
        key: record.key,
        value: record.value,
        timestamp: record.timestamp.0,
    }
}

/// One past the last offset of each partition.
pub fn ends(dir: &Path, topic: &str) -> Vec<i64> {
    open(dir).ranges(topic).unwrap().iter().map(|range| range.end.0).collect()
}
