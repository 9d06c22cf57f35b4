//! Plain appends: durable when they return, and written together when several come at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use tidegate_core::{partitioner::partition_for_key, record::ByteRange};

use super::{
    EmbeddedStore,
    chunk::{MAX_RECORD, Packed, Packer},
    queue::{NewRecord, Place, Request},
    rows::{Slot, TopicRow},
    store::{Commit, Store, Writing},
};
use crate::{Appender, LogError, OutputBatch};

/// Appends records as they are given.
pub(super) struct EmbeddedAppender {
    pub(super) store: EmbeddedStore,
    /// Their names, by [`Topic`](crate::Topic).
    pub(super) topics: [String; 5],
}

impl Appender for EmbeddedAppender {
    fn append(&mut self, batch: &OutputBatch) -> Result<(), LogError> {
        new_records(batch)
            .into_iter()
            .try_for_each(|(topic, records)| self.store.append(&self.topics[topic], records).map(drop))
    }
}

/// The records of a batch, by their topic.
pub(super) fn new_records(batch: &OutputBatch) -> BTreeMap<usize, Vec<NewRecord>> {
    let mut by_topic: BTreeMap<usize, Vec<NewRecord>> = BTreeMap::new();
    for record in &batch.records {
        let bytes = |range: ByteRange| batch.bytes(range).to_vec();
        by_topic.entry(record.topic as usize).or_default().push(NewRecord {
            partition: Some(record.partition),
            timestamp: record.timestamp,
            key: record.key.map(bytes),
            value: record.value.map(bytes),
            headers: bytes(record.headers),
        });
    }
    by_topic
}

/// Records of one topic, packed for a commit.
pub(super) fn pack(
    store: &Store,
    topic: &str,
    records: &[NewRecord],
) -> Result<BTreeMap<Slot, Vec<Packed>>, LogError> {
    let topic = store.view().topic(topic)?.clone();
    let mut packers: BTreeMap<Slot, Packer> = BTreeMap::new();
    for record in records {
        packers.entry(slot(store, &topic, record)?).or_default().push(&record.packed());
    }
    Ok(packers.into_iter().map(|(slot, packer)| (slot, packer.finish())).collect())
}

/// Appends `records` together: all become visible at once, or none.
///
/// While one caller writes, others queue up; the next to write takes all of them along, so that they share one
/// sync of the disk.
pub(super) fn append(store: &Store, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Place>, LogError> {
    let request = Arc::new(Request { topic: topic.to_owned(), records, outcome: Mutex::default() });
    store.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&request));
    let writing = store.writing();
    if let Some(outcome) = request.take_outcome() {
        return outcome;
    }
    let waiting = std::mem::take(&mut *store.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    write(store, &writing, &waiting);
    request
        .take_outcome()
        .unwrap_or_else(|| Err(LogError::Broken { what: "appending", cause: "no answer".into() }))
}

/// Writes all requests in one commit, and answers them.
fn write(store: &Store, writing: &Writing<'_>, requests: &[Arc<Request>]) {
    let mut packers: BTreeMap<Slot, Packer> = BTreeMap::new();
    let mut placed = Vec::new();
    let mut counts: BTreeMap<Slot, i64> = BTreeMap::new();
    for request in requests {
        match place(store, writing, request) {
            Ok(slots) => {
                for (slot, record) in slots.iter().zip(&request.records) {
                    packers.entry(*slot).or_default().push(&record.packed());
                }
                let offsets = slots.into_iter().map(|slot| {
                    let count = counts.entry(slot).or_default();
                    *count += 1;
                    (slot, *count - 1)
                });
                placed.push((request, offsets.collect::<Vec<_>>()));
            }
            Err(error) => request.answer(Err(error)),
        }
    }
    if placed.is_empty() {
        return;
    }
    let appends = packers.into_iter().map(|(slot, packer)| (slot, packer.finish())).collect();
    match store.commit(writing, Commit { appends, ..Commit::default() }) {
        Ok(bases) => {
            for (request, offsets) in placed {
                let place = |(slot, index): (Slot, i64)| {
                    let base = bases.get(&slot).copied().unwrap_or_default();
                    Place { partition: slot.partition, offset: base + index }
                };
                request.answer(Ok(offsets.into_iter().map(place).collect()));
            }
        }
        Err(failed) => {
            let error = match failed.error {
                // Whoever hears of no room takes it that nothing was written.
                error if failed.is_unknown => {
                    LogError::Unavailable { what: "appending to the embedded log", cause: error.to_string() }
                }
                error => error,
            };
            for (request, _) in placed {
                request.answer(Err(error.again()));
            }
        }
    }
}

/// The partition of each record, if the topic takes them all.
fn place(store: &Store, writing: &Writing<'_>, request: &Request) -> Result<Vec<Slot>, LogError> {
    store.db_of(writing)?;
    let topic = store.view().topic(&request.topic)?.clone();
    store.check_backlog(writing, &request.topic)?;
    request.records.iter().map(|record| slot(store, &topic, record)).collect()
}

fn slot(store: &Store, topic: &TopicRow, record: &NewRecord) -> Result<Slot, LogError> {
    let size = record.packed().size();
    if size > MAX_RECORD {
        return Err(LogError::Misconfigured(format!("a record of {size} bytes is larger than {MAX_RECORD}")));
    }
    let partition = match (record.partition, &record.key) {
        (Some(partition), _) => partition,
        (None, Some(key)) => partition_for_key(key, topic.partitions),
        (None, None) => store.queue.turn.fetch_add(1, Ordering::Relaxed) % topic.partitions,
    };
    if partition >= topic.partitions {
        return Err(LogError::Misconfigured(format!("there is no partition {partition}")));
    }
    Ok(Slot { topic: topic.id, partition })
}
