//! The database: how it is opened and checked, and how something becomes visible.
//!
//! # Why an epoch is atomic
//! Every partition has a row with its end, and nobody reads beyond it. A commit first writes its chunks beyond
//! the ends, in batches that sled can take; nothing of them can be seen. Then **one** sled batch writes the new
//! ends, the input offsets, and a commit counter: that is the moment. After it the database is flushed and synced,
//! and only then is anything acknowledged or shown. sled recovers its log up to the first write that is not
//! whole, in the order of writing, so the batch is never there without the chunks before it. What a killed
//! process left beyond the ends is removed when the log is opened.
//!
//! # What damage does
//! Every chunk and row has a checksum, chunks follow each other without a gap, and the counter of commits is kept
//! in a file of its own too: sled may answer damage by silently forgetting its latest writes, and that would
//! show as a counter that went back.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use sled::{Batch, Db};
use tidegate_host::sled::{CALL_LIMIT, Fault, call};

use super::{
    chunk::Packed,
    queue::Queue,
    rows::{self, Manifest, OffsetRow, PartitionRow, Slot, TopicRow},
    verify,
    view::{BATCH_ROWS, View},
};
use crate::{Health, LogError};

/// sled's page cache; what is read is nearly always what was just written.
const CACHE_BYTES: u64 = 32 << 20;
/// As [`BATCH_ROWS`], in bytes.
const BATCH_BYTES: usize = 4 << 20;
/// A full disk leaves sled out of use until it is opened again, so writing ends before.
const SPARE_BYTES: u64 = 8 << 20;
/// sled writes more than it is given.
const SPACE_FACTOR: u64 = 2;
/// Between two tries to open a database that failed.
const REOPEN_EVERY: Duration = Duration::from_millis(500);
/// Where sled keeps its data within the directory.
const DATA_FILE: &str = "db";
const COUNTER_FILE: &str = "commits";

/// The log, shared by all who use it in this process.
pub(super) struct Store {
    pub(super) dir: PathBuf,
    /// Most bytes that a topic keeps.
    pub(super) retention_bytes: u64,
    /// Held while something is written, so that there is one commit at a time.
    write: Mutex<()>,
    view: Mutex<View>,
    changed: Condvar,
    /// Held for reading while chunks are read, for writing while some are replaced or removed.
    pub(super) cleaning: RwLock<()>,
    pub(super) queue: Queue,
}

/// The right to write, while it is held.
pub(super) struct Writing<'a> {
    _turn: MutexGuard<'a, ()>,
}

/// What becomes visible together.
#[derive(Default)]
pub(super) struct Commit {
    pub(super) appends: BTreeMap<Slot, Vec<Packed>>,
    pub(super) offsets: Vec<OffsetRow>,
    pub(super) writer: Option<(String, u64)>,
    pub(super) topics: BTreeMap<String, TopicRow>,
    /// Rows that are set as they are: new partitions, and cleaned ones.
    pub(super) partitions: BTreeMap<Slot, PartitionRow>,
}

impl Commit {
    fn bytes(&self) -> u64 {
        self.appends.values().flatten().map(|chunk| chunk.bytes.len() as u64).sum()
    }
}

/// A commit that failed.
pub(super) struct Uncommitted {
    pub(super) error: LogError,
    /// Whether it may have become visible all the same.
    pub(super) is_unknown: bool,
}

impl From<LogError> for Uncommitted {
    fn from(error: LogError) -> Self {
        Self { error, is_unknown: false }
    }
}

impl Store {
    /// Opens the log, and creates it if there is none.
    pub(super) fn open(dir: PathBuf, retention_bytes: u64) -> Result<Self, LogError> {
        let view = open_view(&dir)?;
        Ok(Self {
            dir,
            retention_bytes,
            write: Mutex::default(),
            view: Mutex::new(view),
            changed: Condvar::new(),
            cleaning: RwLock::default(),
            queue: Queue::default(),
        })
    }

    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something was committed, but not for long.
    pub(super) fn wait(&self, view: MutexGuard<'_, View>, timeout: Duration) {
        let _ = self.changed.wait_timeout(view, timeout);
    }

    /// Waits for its turn to write.
    pub(super) fn writing(&self) -> Writing<'_> {
        Writing { _turn: self.write.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The database; one that is out of use is opened again if it can be.
    pub(super) fn db(&self) -> Result<Db, LogError> {
        let out_of_use = match &*self.view() {
            View { db: Some(db), .. } => return Ok(db.clone()),
            view => view.trouble(),
        };
        // Whoever writes opens it as well.
        match self.write.try_lock() {
            Ok(turn) => self.db_of(&Writing { _turn: turn }),
            Err(_) => Err(out_of_use),
        }
    }

    /// The same for whoever writes.
    pub(super) fn db_of(&self, _writing: &Writing<'_>) -> Result<Db, LogError> {
        {
            let mut view = self.view();
            match &view.db {
                Some(db) => return Ok(db.clone()),
                None if view.tried.is_some_and(|tried| tried.elapsed() < REOPEN_EVERY) => {
                    return Err(view.trouble());
                }
                None => view.tried = Some(Instant::now()),
            }
        }
        let opened = open_view(&self.dir);
        let mut view = self.view();
        match opened {
            Ok(opened) => {
                tracing::info!(dir = %self.dir.display(), "the embedded log is in use again");
                *view = opened;
                self.changed.notify_all();
                view.db.clone().ok_or_else(|| view.trouble())
            }
            Err(error) => {
                let again = error.again();
                view.trouble = Some(error);
                Err(again)
            }
        }
    }

    /// Makes all of `commit` visible and durable, or nothing. Returns the offset that each partition's
    /// first record got.
    pub(super) fn commit(
        &self,
        writing: &Writing<'_>,
        commit: Commit,
    ) -> Result<BTreeMap<Slot, i64>, Uncommitted> {
        let db = self.db_of(writing)?;
        self.check_space(commit.bytes())?;
        let (mut partitions, manifest) = self.prepare(&commit)?;
        let bases: BTreeMap<Slot, i64> = partitions.iter().map(|(slot, row)| (*slot, row.end)).collect();
        self.write_chunks(&db, &commit.appends, &mut partitions)?;
        partitions.extend(&commit.partitions);
        let batch = commit_batch(&commit, &partitions, manifest);
        let written = apply(&db, batch).and_then(|()| {
            let flushing = db.clone();
            call(CALL_LIMIT, move || flushing.flush().map(drop))
        });
        let synced = written.map_err(|fault| self.fail(&fault)).and_then(|()| self.sync());
        if let Err(error) = synced {
            return Err(Uncommitted { error, is_unknown: true });
        }
        // It only witnesses: a log that cannot write it is none the worse.
        let _ = write_counter(&self.dir, manifest.commits);
        let mut view = self.view();
        view.commits = manifest.commits;
        view.topics.extend(commit.topics);
        view.partitions.extend(partitions);
        view.offsets.extend(commit.offsets.into_iter().map(|row| (row.key.clone(), row)));
        view.writers.extend(commit.writer);
        self.changed.notify_all();
        Ok(bases)
    }

    /// The rows of the partitions that are appended to, and the next manifest.
    fn prepare(&self, commit: &Commit) -> Result<(BTreeMap<Slot, PartitionRow>, Manifest), LogError> {
        let view = self.view();
        let row = |slot: &Slot| {
            let row = view.partitions.get(slot).copied();
            row.map(|row| (*slot, row)).ok_or_else(|| LogError::Broken {
                what: "writing to the embedded log",
                cause: format!("there is no partition {}", slot.partition),
            })
        };
        let partitions = commit.appends.keys().map(row).collect::<Result<_, _>>()?;
        let new_topics = commit.topics.keys().filter(|name| !view.topics.contains_key(*name)).count();
        let new_slots = commit.partitions.keys().filter(|slot| !view.partitions.contains_key(slot)).count();
        let manifest = Manifest {
            format: rows::FORMAT,
            commits: view.commits + 1,
            topics: (view.topics.len() + new_topics) as u32,
            partitions: (view.partitions.len() + new_slots) as u32,
        };
        Ok((partitions, manifest))
    }

    /// Writes chunks beyond the ends, and moves the ends in `partitions`.
    fn write_chunks(
        &self,
        db: &Db,
        appends: &BTreeMap<Slot, Vec<Packed>>,
        partitions: &mut BTreeMap<Slot, PartitionRow>,
    ) -> Result<(), LogError> {
        let (mut batch, mut count, mut bytes) = (Batch::default(), 0, 0);
        for (slot, chunks) in appends {
            let row = partitions.entry(*slot).or_default();
            for chunk in chunks {
                for (key, value) in chunk.rows(*slot, row.end) {
                    bytes += value.len();
                    count += 1;
                    batch.insert(key, value);
                    if count == BATCH_ROWS || bytes >= BATCH_BYTES {
                        apply(db, std::mem::take(&mut batch)).map_err(|fault| self.fail(&fault))?;
                        (count, bytes) = (0, 0);
                    }
                }
                row.end += i64::from(chunk.span);
                row.bytes += chunk.bytes.len() as u64;
            }
        }
        if count > 0 {
            apply(db, batch).map_err(|fault| self.fail(&fault))?;
        }
        Ok(())
    }

    /// sled's flush hands the data to the system; this brings them to the disk.
    fn sync(&self) -> Result<(), LogError> {
        let path = self.dir.join(DATA_FILE);
        let synced = File::open(&path).and_then(|file| file.sync_data());
        synced.map_err(|error| self.fail(&Fault::Sled(sled::Error::Io(error))))
    }

    /// Leaves room on the disk, so that sled never meets its end.
    fn check_space(&self, bytes: u64) -> Result<(), LogError> {
        let Ok(disk) = rustix::fs::statvfs(&self.dir) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed = SPARE_BYTES + bytes.saturating_mul(SPACE_FACTOR);
        if free >= needed {
            return Ok(());
        }
        Err(LogError::NoSpace(format!(
            "{} MiB are free on the disk of {}, and {} MiB are kept free; make room there",
            free >> 20,
            self.dir.display(),
            needed.div_ceil(1 << 20)
        )))
    }

    /// Takes the database out of use after a fault: sled refuses everything after one.
    pub(super) fn fail(&self, fault: &Fault) -> LogError {
        let error = fault_error(&self.dir, fault);
        let mut view = self.view();
        view.trouble = Some(error.again());
        view.tried = None;
        let db = view.db.take();
        self.changed.notify_all();
        drop(view);
        tracing::warn!(error = %error, "the embedded log is out of use until it can be opened again");
        if let Some(db) = db {
            let _ = tidegate_host::sled::close(db);
        }
        error
    }

    /// An error for content that is not what was written.
    pub(super) fn damaged(&self, cause: impl Into<String>) -> LogError {
        LogError::Damaged { path: self.dir.clone(), cause: cause.into() }
    }

    pub(super) fn health(&self) -> Health {
        match &*self.view() {
            View { db: Some(_), .. } => Health::Up,
            view => Health::Down(view.trouble().to_string()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(db) = self.view().db.take() {
            // What was acknowledged is on the disk.
            let _ = tidegate_host::sled::close(db);
        }
    }
}

fn commit_batch(commit: &Commit, partitions: &BTreeMap<Slot, PartitionRow>, manifest: Manifest) -> Batch {
    let mut batch = Batch::default();
    for (name, row) in &commit.topics {
        batch.insert(rows::topic_key(name), rows::encode(row));
    }
    for (slot, row) in partitions {
        batch.insert(rows::partition_key(*slot), rows::encode(&(slot, row)));
    }
    for row in &commit.offsets {
        batch.insert(rows::offset_key(&row.key), rows::encode(row));
    }
    if let Some((id, number)) = &commit.writer {
        batch.insert(rows::writer_key(id), rows::encode(&(id, number)));
    }
    batch.insert(rows::MANIFEST, rows::encode(&manifest));
    batch
}

pub(super) fn apply(db: &Db, batch: Batch) -> Result<(), Fault> {
    let db = db.clone();
    call(CALL_LIMIT, move || db.apply_batch(batch))
}

fn open_view(dir: &Path) -> Result<View, LogError> {
    let db = tidegate_host::sled::open(dir, CACHE_BYTES).map_err(|fault| fault_error(dir, &fault))?;
    match load_view(dir, &db) {
        Ok(found) => Ok(View { db: Some(db), ..found }),
        Err(error) => {
            // It is of no use, whatever closing it says.
            let _ = tidegate_host::sled::close(db);
            Err(error)
        }
    }
}

fn load_view(dir: &Path, db: &Db) -> Result<View, LogError> {
    let damaged = |cause| LogError::Damaged { path: dir.to_owned(), cause };
    let reading = db.clone();
    let loaded = call(verify::LIMIT, move || verify::load(&reading));
    let found = loaded.map_err(|fault| fault_error(dir, &fault))?.map_err(damaged)?;
    match read_counter(dir) {
        Some(witnessed) if witnessed > found.commits => {
            let lost = witnessed - found.commits;
            Err(damaged(format!("the last {lost} commits that were acknowledged are gone")))
        }
        _ => Ok(found),
    }
}

fn fault_error(dir: &Path, fault: &Fault) -> LogError {
    match fault {
        Fault::Sled(sled::Error::Io(error)) if error.kind() == io::ErrorKind::StorageFull => {
            LogError::NoSpace(format!("{error}; make room on the disk of {}", dir.display()))
        }
        Fault::Sled(error) if tidegate_host::sled::is_lock(error) => LogError::Unavailable {
            what: "embedded log",
            cause: format!("{} is in use by another process", dir.display()),
        },
        fault if tidegate_host::sled::is_refusal(fault) => {
            LogError::Unavailable { what: "embedded log", cause: format!("{}: {fault}", dir.display()) }
        }
        Fault::Sled(sled::Error::Io(error)) if error.kind() != io::ErrorKind::InvalidInput => {
            LogError::Unavailable { what: "embedded log", cause: format!("{}: {error}", dir.display()) }
        }
        fault => LogError::Damaged { path: dir.to_owned(), cause: fault.to_string() },
    }
}

fn write_counter(dir: &Path, commits: u64) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(COUNTER_FILE))?;
    file.write_all_at(&rows::encode(&commits.to_le_bytes()), 0)
}

/// The counter, if there is one and it can be read.
fn read_counter(dir: &Path) -> Option<u64> {
    let bytes = std::fs::read(dir.join(COUNTER_FILE)).ok()?;
    rows::decode::<[u8; 8]>(&bytes).map(u64::from_le_bytes)
}
