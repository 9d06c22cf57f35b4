//! sled 0.34, used around its known pitfalls: what it does on damage, on a full disk, and to memory.

mod gate;

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ::sled::Db;
pub use gate::{CALL_LIMIT, Fault, call};

/// Longer would widen what a kill loses; `None` would also turn sled's garbage collection off.
const FLUSH_EVERY_MS: u64 = 500;
/// sled replays its log since the last snapshot; measured at 1.5 s for 600,000 rows.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// A store that was just closed in this process may keep sled's lock for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// Opens or creates a database, with a page cache of about `cache_bytes`; sled's own default is 1 GiB.
///
/// # Errors
/// Damage that no known cure helps against, and whatever the system refuses, see [`is_refusal`].
pub fn open(path: &Path, cache_bytes: u64) -> Result<Db, Fault> {
    // Left by a process that was killed while it opened the store; truncated, it would make every open fail.
    remove_snapshots(path, |name| name.ends_with(".generating"));
    match open_once(path, cache_bytes) {
        Err(Fault::Sled(::sled::Error::Corruption { .. })) => {
            // A snapshot only shortens the replay of the log, and may be what is damaged.
            remove_snapshots(path, |_| true);
            open_once(path, cache_bytes)
        }
        opened => opened,
    }
}

fn open_once(path: &Path, cache_bytes: u64) -> Result<Db, Fault> {
    let config =
        ::sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(Some(FLUSH_EVERY_MS));
    call(OPEN_LIMIT, move || {
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match config.open() {
                Err(error) if is_lock(&error) && Instant::now() < deadline => thread::sleep(LOCK_POLL),
                opened => return opened,
            }
        }
    })
}

/// Whether the system refused for a reason that is no damage, so that a new database would fare no better.
#[must_use]
pub fn is_refusal(fault: &Fault) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match fault {
        // The lock: a store of this directory is alive in this process, and must not be touched.
        Fault::Sled(error) if is_lock(error) => true,
        Fault::Sled(::sled::Error::Io(error)) => {
            matches!(error.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
        }
        Fault::Thread(_) => true,
        Fault::Sled(_) | Fault::Panicked(_) | Fault::Hung(_) => false,
    }
}

/// Whether somebody else has the database open. sled has no kind of error for its lock.
#[must_use]
pub fn is_lock(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(error)
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
///
/// # Errors
/// [`Fault`] if sled fails to write, or hangs.
pub fn close(db: Db) -> Result<(), Fault> {
    call(CALL_LIMIT, move || {
        drop(db);
        Ok(())
    })
}
