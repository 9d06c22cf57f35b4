//! Reading the database when it is opened: what is committed, and whether it fits together.

use std::{collections::BTreeMap, time::Duration};

use sled::{Batch, Db, IVec};

use super::{
    chunk::{self, Chunk},
    rows::{self, Manifest, OffsetRow, PartitionRow, Slot, TopicRow},
    view::{BATCH_ROWS, View},
};

/// How long it may take; a few lookups a partition.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// What is committed; or why this cannot be a log.
type Loaded<T> = sled::Result<Result<T, String>>;

/// Reads all rows but the chunks, checks the ends of every partition, and removes what was never committed.
pub(super) fn load(db: &Db) -> Loaded<View> {
    let mut view = View::default();
    let Some(manifest) = db.get(rows::MANIFEST)? else {
        let empty = db.is_empty();
        return Ok(if empty { Ok(view) } else { Err("its manifest is missing".into()) });
    };
    let Some(manifest) = rows::decode::<Manifest>(&manifest) else {
        return Ok(Err("its manifest cannot be read".into()));
    };
    if manifest.format != rows::FORMAT {
        return Ok(Err(format!("its format is {}, this version knows {}", manifest.format, rows::FORMAT)));
    }
    view.commits = manifest.commits;
    if let Err(cause) = load_rows(db, &mut view)? {
        return Ok(Err(cause));
    }
    let expected: u32 = view.topics.values().map(|topic| topic.partitions).sum();
    if view.topics.len() != manifest.topics as usize
        || view.partitions.len() != manifest.partitions as usize
        || manifest.partitions != expected
    {
        return Ok(Err("topics or partitions are missing".into()));
    }
    let compacted: BTreeMap<u32, bool> =
        view.topics.values().map(|topic| (topic.id, topic.compacted)).collect();
    for (slot, row) in &view.partitions {
        let compacted = compacted.get(&slot.topic).copied().unwrap_or_default();
        if let Err(cause) = check_partition(db, *slot, row, compacted)? {
            return Ok(Err(format!("partition {} of topic number {}: {cause}", slot.partition, slot.topic)));
        }
    }
    Ok(Ok(view))
}

fn load_rows(db: &Db, view: &mut View) -> Loaded<()> {
    for kind in [rows::TOPIC, rows::PARTITION, rows::OFFSET, rows::WRITER] {
        for row in db.scan_prefix([kind]) {
            let (key, value) = row?;
            if load_row(view, kind, &key, &value).is_none() {
                return Ok(Err(format!("a row of kind {:?} cannot be read", char::from(kind))));
            }
        }
    }
    Ok(Ok(()))
}

fn load_row(view: &mut View, kind: u8, key: &[u8], value: &[u8]) -> Option<()> {
    match kind {
        rows::TOPIC => {
            let name = str::from_utf8(key.get(1..)?).ok()?;
            view.topics.insert(name.to_owned(), rows::decode::<TopicRow>(value)?);
        }
        rows::PARTITION => {
            let (slot, row) = rows::decode::<(Slot, PartitionRow)>(value)?;
            view.partitions.insert(slot, row);
        }
        rows::OFFSET => {
            let row = rows::decode::<OffsetRow>(value)?;
            view.offsets.insert(row.key.clone(), row);
        }
        _ => {
            let (id, number) = rows::decode::<(String, u64)>(value)?;
            view.writers.insert(id, number);
        }
    }
    Some(())
}

fn check_partition(db: &Db, slot: Slot, row: &PartitionRow, compacted: bool) -> Loaded<()> {
    // What was written for a commit that never came.
    remove(db, db.range(rows::chunk_key(slot, row.end, 0)..=rows::chunk_key(slot, i64::MAX, u16::MAX)))?;
    if compacted {
        return Ok(Ok(()));
    }
    if row.begin < row.end {
        let last = match read_last(db, slot, row.end)? {
            Ok(last) => last,
            Err(cause) => return Ok(Err(cause)),
        };
        if last.is_none_or(|last| last.end != row.end) {
            return Ok(Err(format!("its last records, before offset {}, are missing", row.end)));
        }
    }
    // What was left of records whose time was over: all chunks before the one that has the first record.
    if let Some(base) = last_base(db, slot, row.begin)? {
        remove_before(db, slot, base)?;
    }
    Ok(Ok(()))
}

/// The chunk before `end`.
fn read_last(db: &Db, slot: Slot, end: i64) -> Loaded<Option<Chunk>> {
    let Some(base) = last_base(db, slot, end - 1)? else { return Ok(Ok(None)) };
    let first = db.get(rows::chunk_key(slot, base, 0))?;
    Ok(match first {
        Some(first) => join_parts(db, slot, base, &first)?.map(Some),
        None => Err(unreadable(base)),
    })
}

/// First offset of the last chunk that begins at `offset` or before.
pub(super) fn last_base(db: &Db, slot: Slot, offset: i64) -> sled::Result<Option<i64>> {
    let last = db.range(rows::chunk_key(slot, 0, 0)..=rows::chunk_key(slot, offset, u16::MAX)).next_back();
    Ok(last.transpose()?.and_then(|(key, _)| rows::read_chunk_key(&key)).map(|(base, _)| base))
}

/// The chunk at `base`, from its first part and all others.
pub(super) fn join_parts(db: &Db, slot: Slot, base: i64, first: &[u8]) -> Loaded<Chunk> {
    let mut bytes = first.to_vec();
    for part in 1..chunk::parts(first).unwrap_or_default() {
        match db.get(rows::chunk_key(slot, base, part))? {
            Some(more) => bytes.extend_from_slice(&more),
            None => return Ok(Err(unreadable(base))),
        }
    }
    Ok(Chunk::read(base, bytes).ok_or_else(|| unreadable(base)))
}

fn unreadable(base: i64) -> String {
    format!("the chunk at offset {base} cannot be read")
}

/// Removes the chunks of a partition that begin before `base`.
pub(super) fn remove_before(db: &Db, slot: Slot, base: i64) -> sled::Result<()> {
    remove(db, db.range(rows::chunk_key(slot, 0, 0)..rows::chunk_key(slot, base, 0)))
}

/// Removes rows, a batch at a time.
fn remove(db: &Db, rows: impl Iterator<Item = sled::Result<(IVec, IVec)>>) -> sled::Result<()> {
    let mut keys = rows.map(|row| row.map(|(key, _)| key)).peekable();
    while keys.peek().is_some() {
        let mut batch = Batch::default();
        for key in keys.by_ref().take(BATCH_ROWS) {
            batch.remove(key?);
        }
        db.apply_batch(batch)?;
    }
    Ok(())
}
