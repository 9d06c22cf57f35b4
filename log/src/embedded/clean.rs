//! What takes records away again: retention by age and size, and compaction.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    sync::PoisonError,
};

use sled::Batch;
use tidegate_core::TimestampMs;
use tidegate_host::sled::{CALL_LIMIT, call};

use super::{
    chunk::{Chunk, Packed, Packer},
    reader::{Cursor, PAGE_CHUNKS, load},
    rows::{PartitionRow, Slot, TopicRow},
    store::{Commit, Store, Writing, apply},
    verify,
};
use crate::LogError;

/// A compacted partition is compacted again when it has grown by so much, and doubled.
const COMPACT_BYTES: u64 = 1 << 20;
/// How long the deletion of a key stays in a compacted topic for readers that are behind; as Kafka's default.
const KEEP_TOMBSTONES_MS: i64 = 24 * 3_600_000;

/// Removes what is too old or too much, and compacts what has grown, in all topics.
pub(super) fn clean(store: &Store, now: TimestampMs) -> Result<(), LogError> {
    let topics: Vec<(String, TopicRow)> =
        store.view().topics.iter().map(|(name, row)| (name.clone(), row.clone())).collect();
    for (name, topic) in topics {
        let writing = store.writing();
        if topic.compacted {
            for partition in 0..topic.partitions {
                compact_if_due(store, &writing, Slot { topic: topic.id, partition }, now)?;
            }
        } else {
            retain(store, &writing, &name, now)?;
        }
    }
    Ok(())
}

impl Store {
    /// Whether the topic may take more: not while it is full of what is not processed yet.
    pub(super) fn check_backlog(&self, writing: &Writing<'_>, name: &str) -> Result<(), LogError> {
        if self.topic_bytes(name) < self.retention_bytes {
            return Ok(());
        }
        retain(self, writing, name, TimestampMs(i64::MIN))?;
        if self.topic_bytes(name) < self.retention_bytes {
            return Ok(());
        }
        Err(LogError::Backlog(format!(
            "{name} holds {} MiB, as much as embedded.retention_bytes allows, that {} did not process yet",
            self.retention_bytes >> 20,
            self.slowest_group(name).unwrap_or_else(|| "nobody".to_owned()),
        )))
    }

    /// The group that is furthest behind.
    fn slowest_group(&self, name: &str) -> Option<String> {
        let view = self.view();
        let topic = view.topic(name).ok()?.id;
        let of_topic = view.offsets.values().filter(|row| row.key.slot.topic == topic);
        of_topic.min_by_key(|row| row.next).map(|row| format!("group {:?}", row.key.group))
    }

    fn topic_bytes(&self, name: &str) -> u64 {
        let view = self.view();
        let Ok(topic) = view.topic(name) else { return 0 };
        slots(topic).filter_map(|slot| view.partition(slot)).map(|row| row.bytes).sum()
    }
}

fn slots(topic: &TopicRow) -> impl Iterator<Item = Slot> + use<> {
    let id = topic.id;
    (0..topic.partitions).map(move |partition| Slot { topic: id, partition })
}

/// Removes the oldest chunks of a topic while they are older than its retention, or the topic is too large; never
/// what some group that reads it has not committed yet.
fn retain(store: &Store, writing: &Writing<'_>, name: &str, now: TimestampMs) -> Result<(), LogError> {
    let Ok(topic) = store.view().topic(name).cloned() else { return Ok(()) };
    let retention = topic.retention_ms.filter(|retention| *retention >= 0);
    let oldest = retention.map(|retention| now.0.saturating_sub(retention));
    let mut excess = match store.topic_bytes(name) {
        bytes if bytes < store.retention_bytes => 0,
        // Some more than it must, so that it need not be done again at once.
        bytes => bytes - (store.retention_bytes - store.retention_bytes / 16),
    };
    let mut rows = BTreeMap::new();
    // The largest partition first: it is the one that fills the topic.
    let mut order: Vec<(Slot, PartitionRow)> =
        slots(&topic).filter_map(|slot| Some((slot, store.view().partition(slot)?))).collect();
    order.sort_by_key(|(_, row)| Reverse(row.bytes));
    for (slot, row) in order {
        let limit = read_by_all(store, slot, row.end);
        let kept = keep(store, slot, row, |chunk| {
            let is_old = oldest.is_some_and(|oldest| chunk.highest.0 < oldest);
            let is_due = chunk.end <= limit && (is_old || excess > 0);
            excess -= if is_due { excess.min(chunk.size() as u64) } else { 0 };
            is_due
        })?;
        if kept != row {
            rows.insert(slot, kept);
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let removed: Vec<(Slot, i64)> = rows.iter().map(|(slot, row)| (*slot, row.begin)).collect();
    // First nobody reads them any more, then they go.
    store.commit(writing, Commit { partitions: rows, ..Commit::default() }).map_err(|failed| failed.error)?;
    let db = store.db_of(writing)?;
    let _cleaning = store.cleaning.write().unwrap_or_else(PoisonError::into_inner);
    for (slot, begin) in removed {
        let db = db.clone();
        call(CALL_LIMIT, move || verify::remove_before(&db, slot, begin))
            .map_err(|fault| store.fail(&fault))?;
    }
    Ok(())
}

/// What all groups that commit offsets of this partition have read; its end if none does.
fn read_by_all(store: &Store, slot: Slot, end: i64) -> i64 {
    let view = store.view();
    let of_slot = view.offsets.values().filter(|row| row.key.slot == slot);
    of_slot.map(|row| row.next).min().unwrap_or(end)
}

/// The row without the first chunks that are due.
fn keep(
    store: &Store,
    slot: Slot,
    row: PartitionRow,
    mut is_due: impl FnMut(&Chunk) -> bool,
) -> Result<PartitionRow, LogError> {
    let mut kept = row;
    // Mostly the first one stays already.
    let mut most = 1;
    while kept.begin < row.end {
        for chunk in load(store, slot, false, kept.begin, row.end, most)? {
            if !is_due(&chunk) {
                return Ok(kept);
            }
            kept.begin = chunk.end;
            kept.bytes = kept.bytes.saturating_sub(chunk.size() as u64);
        }
        most = PAGE_CHUNKS;
    }
    Ok(kept)
}

fn compact_if_due(
    store: &Store,
    writing: &Writing<'_>,
    slot: Slot,
    now: TimestampMs,
) -> Result<(), LogError> {
    let Some(row) = store.view().partition(slot) else { return Ok(()) };
    if row.bytes < row.clean_bytes.saturating_mul(2).max(COMPACT_BYTES) {
        return Ok(());
    }
    compact(store, writing, slot, row, now)
}

/// Keeps the last record of each key, and of deletions those that are young.
fn compact(
    store: &Store,
    writing: &Writing<'_>,
    slot: Slot,
    row: PartitionRow,
    now: TimestampMs,
) -> Result<(), LogError> {
    let last = last_offsets(store, slot, row)?;
    let (mut from, mut bytes) = (row.begin, 0);
    while from < row.end {
        let mut page = load(store, slot, true, from, row.end, PAGE_CHUNKS)?;
        let Some(end) = page.back().map(|chunk| chunk.end) else { break };
        let mut batch = Batch::default();
        for chunk in &page {
            chunk.keys(slot).for_each(|key| batch.remove(key));
        }
        for (base, chunk) in survivors(&mut page, &last, now) {
            bytes += chunk.bytes.len() as u64;
            for (key, value) in chunk.rows(slot, base) {
                batch.insert(key, value);
            }
        }
        let db = store.db_of(writing)?;
        let cleaning = store.cleaning.write().unwrap_or_else(PoisonError::into_inner);
        apply(&db, batch).map_err(|fault| store.fail(&fault))?;
        drop(cleaning);
        from = end;
    }
    let cleaned = PartitionRow { bytes, clean_bytes: bytes, ..row };
    let partitions = BTreeMap::from([(slot, cleaned)]);
    store.commit(writing, Commit { partitions, ..Commit::default() }).map_err(|failed| failed.error)?;
    Ok(())
}

/// Hashes of the keys would do; the keys of a state topic are few and short.
type LastOffsets = HashMap<Vec<u8>, i64>;

/// The last offset of each key.
fn last_offsets(store: &Store, slot: Slot, row: PartitionRow) -> Result<LastOffsets, LogError> {
    let mut last = LastOffsets::new();
    let mut cursor = Cursor::new(slot, true, row.begin);
    cursor.read(store, row.end, usize::MAX, &mut |record| {
        last.insert(record.key.unwrap_or_default().to_vec(), record.offset);
    })?;
    Ok(last)
}

/// What is kept of a page, packed anew, with the first offset of each chunk.
fn survivors(
    page: &mut VecDeque<Chunk>,
    last: &LastOffsets,
    now: TimestampMs,
) -> impl Iterator<Item = (i64, Packed)> {
    let (mut packer, mut bases) = (Packer::default(), Vec::new());
    for chunk in page {
        while let Some(record) = chunk.next() {
            let is_last = last.get(record.key.unwrap_or_default()) == Some(&record.offset);
            let is_gone =
                record.value.is_none() && record.timestamp.0 < now.0.saturating_sub(KEEP_TOMBSTONES_MS);
            if !is_last || is_gone {
                continue;
            }
            if packer.is_between_chunks() {
                bases.push(record.offset);
            }
            let base = bases.last().copied().unwrap_or(record.offset);
            packer.push_at((record.offset - base) as u32, &record.as_new());
        }
    }
    bases.into_iter().zip(packer.finish())
}
