//! The state directory: who may work in it, and what is put aside in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crate::StateError;

const LOCK_FILE: &str = "lock";
const STORE: &str = "windows";
const DAMAGED_PREFIX: &str = "windows.damaged-";
const DAMAGED_KEPT: usize = 3;

/// The state directory, held by this process alone until the last clone, and the last store opened in it,
/// is dropped. The lock ends with the process, however that ends.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
    _lock: Arc<File>,
}

impl StateDir {
    /// Makes the directory (for its owner only) if it is not there, and takes its lock.
    ///
    /// # Errors
    /// [`StateError::Locked`] if another process has it, which is not disturbed; [`StateError::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        let path = path.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(StateError::io("create the state directory", &path))?;
        let lock_path = path.join(LOCK_FILE);
        // Not truncated: until the lock is ours, what it says belongs to another process.
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(StateError::io("open the lock file", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateError::Locked { path, pid: read_pid(&mut lock) });
            }
            Err(TryLockError::Error(source)) => {
                return Err(StateError::io("lock", lock_path)(source));
            }
        }
        // Only a courtesy to whoever is refused: on a full disk the lock holds without it.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self { path, _lock: Arc::new(lock) })
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When the store was last written to, if there is one. Opening it writes to it too, so ask before.
    #[must_use]
    pub fn store_written_at(&self) -> Option<SystemTime> {
        let written_at = |file: fs::DirEntry| file.metadata().ok()?.modified().ok();
        fs::read_dir(self.store_path()).ok()?.flatten().filter_map(written_at).max()
    }

    pub(crate) fn store_path(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// Renames the store to `windows.damaged-<n>`, so that a fresh one can be made, and deletes all but the
    /// last three that were put aside. No store may be open. Returns the new path.
    ///
    /// # Errors
    /// [`StateError::Io`] if the store cannot be renamed, or there is none.
    pub(crate) fn put_store_aside(&self) -> Result<PathBuf, StateError> {
        let store = self.store_path();
        let mut numbers = self.damaged()?;
        let number = numbers.last().map_or(1, |last| last + 1);
        let aside = self.damaged_path(number);
        fs::rename(&store, &aside).map_err(StateError::io("put aside the damaged", &store))?;
        numbers.push(number);
        for old in &numbers[..numbers.len().saturating_sub(DAMAGED_KEPT)] {
            // A copy too many is no reason to stop.
            let _ = fs::remove_dir_all(self.damaged_path(*old));
        }
        Ok(aside)
    }

    fn damaged_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("{DAMAGED_PREFIX}{number}"))
    }

    /// Numbers of the stores put aside, ascending.
    fn damaged(&self) -> Result<Vec<u64>, StateError> {
        let entries = fs::read_dir(&self.path).map_err(StateError::io("list", &self.path))?;
        let mut numbers: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(DAMAGED_PREFIX)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_has_one_holder_and_a_refused_one_leaves_it_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/state");
        let first = StateDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);

        let refused = StateDir::open(&path).unwrap_err();
        assert!(matches!(refused, StateError::Locked { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(refused.to_string().contains("stop it, or give this one another state.dir"), "{refused}");
        let said = fs::read_to_string(path.join(LOCK_FILE)).unwrap();
        assert_eq!(said.trim(), std::process::id().to_string());

        let clone = first.clone();
        drop(first);
        assert!(StateDir::open(&path).is_err(), "a clone still holds it");
        drop(clone);
        assert!(StateDir::open(&path).is_ok());
    }

    #[test]
    fn the_last_three_damaged_stores_are_kept() {
        let parent = tempfile::tempdir().unwrap();
        let dir = StateDir::open(parent.path()).unwrap();
        assert!(dir.put_store_aside().is_err(), "there is nothing to put aside");
        for round in 1..=12 {
            fs::create_dir(dir.store_path()).unwrap();
            fs::write(dir.store_path().join("db"), [round]).unwrap();
            assert_eq!(fs::read(dir.put_store_aside().unwrap().join("db")).unwrap(), [round]);
            assert!(!dir.store_path().exists());
        }
        assert_eq!(dir.damaged().unwrap(), [10, 11, 12]);
    }
}
