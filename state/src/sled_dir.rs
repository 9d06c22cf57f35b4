//! sled's folder: read in pages, written in chunks.

use std::{collections::BTreeMap, ops::Bound, path::Path};

use sled::{Batch, Db, IVec};

use tidegate_host::sled::{CALL_LIMIT, Fault, call};

use crate::base::{BASE_KEY, Content, Described};

/// sled's own default is 1 GiB; the rows are read once, at the start.
const CACHE_BYTES: u64 = 16 << 20;

/// Rows read, or written in one atomic batch, at a time. A batch of 10,000 blocks all of sled for 180 ms
/// and takes gigabytes while it does.
const CHUNK_ROWS: usize = 1000;
/// The same limit for large rows.
const CHUNK_BYTES: usize = 4 << 20;

/// Changes that are written at once; the last one of a key counts.
pub(crate) type Chunk = BTreeMap<IVec, Option<IVec>>;

/// Opens or creates the folder.
pub(crate) fn open(path: &Path) -> Result<Db, Fault> {
    tidegate_host::sled::open(path, CACHE_BYTES)
}

/// Writes all that sled has in memory.
pub(crate) fn flush(db: &Db) -> Result<(), Fault> {
    let db = db.clone();
    call(CALL_LIMIT, move || db.flush().map(drop))
}

/// The base row.
pub(crate) fn read_base(db: &Db) -> Result<Option<IVec>, Fault> {
    let db = db.clone();
    call(CALL_LIMIT, move || db.get(BASE_KEY))
}

/// Hands every row but the base to `each`, in the order of keys, and ends at the first error: a damaged
/// sled would repeat it for ever.
pub(crate) fn for_each_row<E: From<Fault>>(
    db: &Db,
    mut each: impl FnMut(&IVec, &IVec) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = Bound::Unbounded;
    loop {
        let page = read_page(db, from)?;
        for (key, value) in &page {
            if key != BASE_KEY {
                each(key, value)?;
            }
        }
        match page.into_iter().next_back() {
            Some((last, _)) => from = Bound::Excluded(last),
            None => return Ok(()),
        }
    }
}

fn read_page(db: &Db, from: Bound<IVec>) -> Result<Vec<(IVec, IVec)>, Fault> {
    let db = db.clone();
    call(CALL_LIMIT, move || db.range((from, Bound::Unbounded)).take(CHUNK_ROWS).collect())
}

/// Takes the next changes, as many as are written at once.
pub(crate) fn take_chunk<'a>(changes: &mut impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Chunk {
    let mut chunk = Chunk::new();
    let mut bytes = 0;
    while chunk.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
        let Some((key, value)) = changes.next() else { break };
        bytes += key.len() + value.map_or(0, <[u8]>::len);
        chunk.insert(key.into(), value.map(IVec::from));
    }
    chunk
}

/// Writes a chunk, and with it what the store is then, as one atomic batch. `describe` gets the number and
/// hash of the rows as they will be. Returns those.
pub(crate) fn write_chunk(
    db: &Db,
    chunk: Chunk,
    mut content: Content,
    describe: impl FnOnce(Content) -> Option<Described> + Send + 'static,
) -> Result<Content, Fault> {
    let db = db.clone();
    call(CALL_LIMIT, move || {
        let mut batch = Batch::default();
        for (key, new) in chunk {
            let old = db.get(&key)?;
            if old == new {
                continue;
            }
            if let Some(old) = old {
                content.remove(&key, &old);
            }
            match new {
                Some(new) => {
                    content.add(&key, &new);
                    batch.insert(key, new);
                }
                None => batch.remove(key),
            }
        }
        if let Some(described) = describe(content) {
            batch.insert(BASE_KEY, described.encode());
        }
        db.apply_batch(batch)?;
        Ok(content)
    })
}
