//! sled's folder: opened around its known pitfalls, read in pages, written in chunks.

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Bound,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use sled::{Batch, Db, IVec};

use crate::{
    base::{BASE_KEY, Content, Described},
    gate::{self, CALL_LIMIT, Fault},
};

/// sled's own default is 1 GiB; the rows are read once, at the start.
const CACHE_BYTES: u64 = 16 << 20;
/// Longer would widen what a kill loses; `None` would also turn sled's garbage collection off.
const FLUSH_EVERY_MS: u64 = 500;
/// sled replays its log since the last snapshot; measured at 1.5 s for 600,000 rows.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// A store that was just closed in this process may keep sled's lock for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// Rows read, or written in one atomic batch, at a time. A batch of 10,000 blocks all of sled for 180 ms
/// and takes gigabytes while it does.
const CHUNK_ROWS: usize = 1000;
/// The same limit for large rows.
const CHUNK_BYTES: usize = 4 << 20;

/// Changes that are written at once; the last one of a key counts.
pub(crate) type Chunk = BTreeMap<IVec, Option<IVec>>;

/// Opens or creates the folder.
pub(crate) fn open(path: &Path) -> Result<Db, Fault> {
    // Left by a process that was killed while it opened the store; truncated, it would make every open fail.
    remove_snapshots(path, |name| name.ends_with(".generating"));
    match open_once(path) {
        Err(Fault::Sled(sled::Error::Corruption { .. })) => {
            // A snapshot only shortens the replay of the log, and may be what is damaged.
            remove_snapshots(path, |_| true);
            open_once(path)
        }
        opened => opened,
    }
}

fn open_once(path: &Path) -> Result<Db, Fault> {
    let config =
        sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
    gate::call(OPEN_LIMIT, move || {
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match config.open() {
                Err(error) if is_lock(&error) && Instant::now() < deadline => thread::sleep(LOCK_POLL),
                opened => return opened,
            }
        }
    })
}

/// Whether the system refused for a reason that is no damage, so that a new store would fare no better.
pub(crate) fn is_refusal(fault: &Fault) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match fault {
        // The lock: a store of this directory is alive in this process, and must not be touched.
        Fault::Sled(error) if is_lock(error) => true,
        Fault::Sled(sled::Error::Io(error)) => {
            matches!(error.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
        }
        Fault::Thread(_) => true,
        Fault::Sled(_) | Fault::Panicked(_) | Fault::Hung(_) => false,
    }
}

/// sled has no kind of error for its lock.
fn is_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error)
        if error.kind() == io::ErrorKind::Other && error.to_string().contains("could not acquire lock"))
}

fn remove_snapshots(path: &Path, which: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("snap.") && which(name)) {
            // If it cannot be removed, opening says what is wrong.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Closes a database. sled writes what it still has in memory, and waits for its background thread; if
/// that has panicked, for ever.
pub(crate) fn close(db: Db) -> Result<(), Fault> {
    gate::call(CALL_LIMIT, move || {
        drop(db);
        Ok(())
    })
}

/// Writes all that sled has in memory.
pub(crate) fn flush(db: &Db) -> Result<(), Fault> {
    let db = db.clone();
    gate::call(CALL_LIMIT, move || db.flush().map(drop))
}

/// The base row.
pub(crate) fn read_base(db: &Db) -> Result<Option<IVec>, Fault> {
    let db = db.clone();
    gate::call(CALL_LIMIT, move || db.get(BASE_KEY))
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
    gate::call(CALL_LIMIT, move || db.range((from, Bound::Unbounded)).take(CHUNK_ROWS).collect())
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
    gate::call(CALL_LIMIT, move || {
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
