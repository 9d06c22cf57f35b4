//! The store: rows of the changelog in sled, as of an epoch.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use sled::Db;
use tidegate_core::{
    Epoch, NextOffset,
    window::{WindowKey, WindowState},
};
use tidegate_host::sled::Fault;

use crate::{
    MemoryImage, StateDir, StateError,
    base::{Base, Content, Described},
    codec::{CodecError, Row, check_key, decode},
    sled_dir,
};

/// A file in sled's folder, made when the store has its first base. A store without it was never in use:
/// its filling was cut short, or it is not there at all.
const IN_USE_MARKER: &str = "in-use";

/// What was found in a state directory.
#[derive(Debug)]
pub enum Opened {
    /// No store, or one that was never finished: here is an empty one, ready for [`Store::fill`] or the
    /// first [`Store::apply`].
    Missing(Store),
    /// A store that cannot be read, or whose rows are not those it should have. [`Store::put_aside`] makes
    /// room for a new one.
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// A store whose every row was read and found right; its [`Store::base`] is there.
    At(Store),
}

/// The window state as of an epoch. All methods block; nothing panics or waits for ever.
#[derive(Debug)]
pub struct Store {
    dir: StateDir,
    /// `None` only while it is being dropped.
    db: Option<Db>,
    base: Option<Base>,
    content: Content,
    /// Why the store refuses all further work.
    broken: Option<String>,
}

impl Store {
    /// Opens the store of a state directory, reading every row to verify it.
    ///
    /// # Errors
    /// [`StateError::Io`] if the system refuses for a reason that a new store would meet too: permissions,
    /// a full disk. Damage is no error.
    pub fn open(dir: &StateDir) -> Result<Opened, StateError> {
        let path = dir.store_path();
        let marker = path.join(IN_USE_MARKER);
        if !marker.try_exists().map_err(StateError::io("look for", &marker))? {
            return Self::create(dir).map(Opened::Missing);
        }
        let db = match sled_dir::open(&path) {
            Ok(db) => db,
            Err(fault) => return damaged_unless_refused(dir, fault),
        };
        match verify(&db) {
            Ok(Described { base, content }) => {
                let (dir, base) = (dir.clone(), Some(base));
                Ok(Opened::At(Self { dir, db: Some(db), base, content, broken: None }))
            }
            Err(unfit) => {
                // It is of no more use, whatever closing it says.
                let _ = tidegate_host::sled::close(db);
                match unfit {
                    Unfit::Fault(fault) => damaged_unless_refused(dir, fault),
                    Unfit::Content(reason) => Ok(Opened::Damaged { reason }),
                }
            }
        }
    }

    fn create(dir: &StateDir) -> Result<Self, StateError> {
        let path = dir.store_path();
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StateError::io("remove the unfinished store", path)(source));
            }
            _ => {}
        }
        let db = sled_dir::open(&path).map_err(|fault| refusal(dir, fault))?;
        let content = Content::default();
        Ok(Self { dir: dir.clone(), db: Some(db), base: None, content, broken: None })
    }

    /// Renames a damaged store to `windows.damaged-<n>` and returns its new path. The last three are kept
    /// for whoever wants to know why, older ones are deleted. No [`Store`] of this directory may be alive.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn put_aside(dir: &StateDir) -> Result<PathBuf, StateError> {
        dir.put_store_aside()
    }

    /// What the store contains; `None` before the first epoch.
    #[must_use]
    pub fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// Applies the changes of a committed epoch, in order, and makes it the base: in one atomic batch up to
    /// 1,000 rows, in several beyond (then see [`Base::reaches`]). Applying an epoch again does no harm.
    ///
    /// `positions` are changelog positions (by partition) that are surely included after it; without them
    /// those of the present base stay. The older they are, the more must be read to catch up.
    ///
    /// # Errors
    /// [`StateError::Record`] if a change is no changelog record, [`StateError::Ahead`]: nothing was done.
    /// [`StateError::Broken`] from the first failure of the disk on, until the store is opened again. Put it
    /// aside if it is not to be opened soon: a base that is older than the changelog keeps deletions
    /// (`delete.retention.ms`) cannot be caught up.
    pub fn apply(
        &mut self,
        epoch: Epoch,
        changes: &[(Vec<u8>, Option<Vec<u8>>)],
        positions: Option<&[NextOffset]>,
    ) -> Result<(), StateError> {
        for (key, value) in changes {
            match value {
                Some(value) => decode(key, value).map(drop)?,
                None => check_key(key)?,
            }
        }
        self.write(epoch, positions, changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref())))
    }

    /// Makes the content that of `image`, as of `epoch`, and that the base. Only what differs is written.
    ///
    /// The image is either the whole changelog's, or [`image`](Self::image) with the changelog replayed
    /// from the base's positions.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    pub fn fill(
        &mut self,
        epoch: Epoch,
        positions: &[NextOffset],
        image: &MemoryImage,
    ) -> Result<(), StateError> {
        let mut gone = Vec::new();
        self.read_rows(|key, _| {
            if !image.contains(key) {
                gone.push(key.to_vec());
            }
            Ok(())
        })?;
        let deleted = gone.iter().map(|key| (key.as_slice(), None));
        self.write(epoch, Some(positions), deleted.chain(image.rows().map(|(key, value)| (key, Some(value)))))
    }

    /// The content in memory, to catch up from.
    ///
    /// # Errors
    /// [`StateError::Broken`].
    pub fn image(&self) -> Result<MemoryImage, StateError> {
        let mut image = MemoryImage::default();
        self.read_rows(|key, value| Ok(image.apply(key, Some(value))?))?;
        Ok(image)
    }

    /// Hands every window to `each`, sorted by rule and service, and returns how many there are.
    ///
    /// # Errors
    /// [`StateError::Broken`]; windows that were handed over before are right, but not all.
    pub fn scan(&self, mut each: impl FnMut(WindowKey, WindowState)) -> Result<u64, StateError> {
        let mut windows = 0;
        self.read_rows(|key, value| {
            if let Row::Window(key, _, state) = decode(key, value)? {
                windows += 1;
                each(key, state);
            }
            Ok(())
        })?;
        Ok(windows)
    }

    /// Bytes on disk; 0 if the system does not tell.
    #[must_use]
    pub fn size_on_disk(&self) -> u64 {
        self.db.as_ref().and_then(|db| db.size_on_disk().ok()).unwrap_or(0)
    }

    fn read_rows(
        &self,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let db = self.usable()?;
        sled_dir::for_each_row(db, |key, value| each(key, value).map_err(RowError::Given)).map_err(|error| {
            match error {
                RowError::Given(error) => error,
                RowError::Fault(fault) => StateError::Broken(fault.to_string()),
            }
        })
    }

    fn write<'a>(
        &mut self,
        epoch: Epoch,
        positions: Option<&[NextOffset]>,
        changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), StateError> {
        self.usable()?;
        if let Some(base) = self.base.as_ref().filter(|base| base.reaches > epoch) {
            return Err(StateError::Ahead { reaches: base.reaches, epoch });
        }
        self.write_chunks(epoch, positions, changes).map_err(|fault| {
            let reason = fault.to_string();
            self.broken = Some(reason.clone());
            StateError::Broken(reason)
        })
    }

    fn write_chunks<'a>(
        &mut self,
        epoch: Epoch,
        positions: Option<&[NextOffset]>,
        changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), Fault> {
        let Some(db) = self.db.clone() else { return Ok(()) };
        let first = self.base.is_none();
        let kept = self.base.as_ref().map_or(&[][..], |base| &base.positions);
        let positions = positions.unwrap_or(kept).to_vec();
        let mut changes = changes.peekable();
        loop {
            let chunk = sled_dir::take_chunk(&mut changes);
            let last = changes.peek().is_none();
            // Until its last chunk a store is as far as before, but no longer free of the new epoch.
            let next = if last {
                Some(Base { epoch, reaches: epoch, positions: positions.clone(), rows: 0 })
            } else {
                self.base.clone().map(|base| Base { reaches: epoch, ..base })
            };
            let base = next.clone();
            let describe = move |content: Content| {
                base.map(|base| Described { base: Base { rows: content.rows, ..base }, content })
            };
            self.content = sled_dir::write_chunk(&db, chunk, self.content, describe)?;
            self.base = next.map(|base| Base { rows: self.content.rows, ..base });
            if last {
                break;
            }
        }
        if first { self.mark_in_use(&db) } else { Ok(()) }
    }

    /// Once in a store's life, its content is flushed, so that the marker never stands for less.
    fn mark_in_use(&self, db: &Db) -> Result<(), Fault> {
        sled_dir::flush(db)?;
        File::create(self.dir.store_path().join(IN_USE_MARKER)).map_err(sled::Error::Io)?;
        Ok(())
    }

    fn usable(&self) -> Result<&Db, StateError> {
        match (&self.broken, &self.db) {
            (None, Some(db)) => Ok(db),
            (reason, _) => Err(StateError::Broken(reason.clone().unwrap_or_default())),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            // What is not written now is caught up from the changelog.
            let _ = tidegate_host::sled::close(db);
        }
    }
}

enum RowError {
    Fault(Fault),
    Given(StateError),
}

impl From<Fault> for RowError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why a store that opened is not the one it should be.
enum Unfit {
    Fault(Fault),
    Content(String),
}

impl From<Fault> for Unfit {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<CodecError> for Unfit {
    fn from(error: CodecError) -> Self {
        Self::Content(error.to_string())
    }
}

/// Reads every row and compares their number and hash with the base.
fn verify(db: &Db) -> Result<Described, Unfit> {
    let base = sled_dir::read_base(db)?;
    let base = base.ok_or_else(|| Unfit::Content("it does not say what it contains".to_owned()))?;
    let described = Described::decode(&base)?;
    let mut found = Content::default();
    sled_dir::for_each_row(db, |key, value| {
        found.add(key, value);
        decode(key, value).map(drop).map_err(Unfit::from)
    })?;
    if found == described.content {
        return Ok(described);
    }
    let (epoch, rows) = (described.base.epoch, described.base.rows);
    Err(Unfit::Content(if found.rows == rows {
        format!("its {rows} rows are not those of epoch {epoch}")
    } else {
        format!("it has {} rows, epoch {epoch} has {rows}", found.rows)
    }))
}

fn damaged_unless_refused(dir: &StateDir, fault: Fault) -> Result<Opened, StateError> {
    if tidegate_host::sled::is_refusal(&fault) {
        Err(refusal(dir, fault))
    } else {
        Ok(Opened::Damaged { reason: fault.to_string() })
    }
}

fn refusal(dir: &StateDir, fault: Fault) -> StateError {
    let source = match fault {
        Fault::Sled(sled::Error::Io(source)) | Fault::Thread(source) => source,
        other => io::Error::other(other.to_string()),
    };
    StateError::io("open the window store", dir.store_path())(source)
}
