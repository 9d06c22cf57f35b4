//! The geo database in use, and the task that notices a new one.
//!
//! The file is polled, since notifications miss the symbolic link that an orchestrator swaps. A file that
//! cannot be read or verified never replaces a database that works.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tidegate_core::geo::GeoDatabase;
use tidegate_telemetry::Metrics;

/// Largest database file that is read; real City databases have 60-130 MB.
const MAX_DATABASE_BYTES: u64 = 1 << 30;

/// Counts the databases that were put in use.
pub(crate) type GeoVersion = u64;

/// The geo database in use, if any; a clone is another handle of the same.
#[derive(Clone)]
pub struct GeoSource(Arc<Inner>);

struct Inner {
    path: PathBuf,
    database: ArcSwapOption<GeoDatabase>,
    version: AtomicU64,
    seen: Mutex<Seen>,
    metrics: Metrics,
}

/// What tells one file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileMark {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

impl GeoSource {
    /// A source without a database yet; [`refresh`](Self::refresh) loads it.
    #[must_use]
    pub fn new(path: PathBuf, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            path,
            database: ArcSwapOption::empty(),
            version: AtomicU64::new(0),
            seen: Mutex::new(Seen::Nothing),
            metrics,
        }))
    }

    /// Which database is in use, cheaply.
    pub(crate) fn version(&self) -> GeoVersion {
        self.0.version.load(Ordering::Acquire)
    }

    /// The database in use.
    pub(crate) fn current(&self) -> (GeoVersion, Option<Arc<GeoDatabase>>) {
        // the version first: a database newer than its version is only fetched once more
        (self.version(), self.0.database.load_full())
    }

    /// Loads the file if it has changed since the last look. Blocks.
    pub fn refresh(&self) {
        let now = file_mark(&self.0.path).map_or(Seen::Unreadable, Seen::File);
        let before = std::mem::replace(&mut *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner), now);
        if now != before {
            self.load();
        }
    }

    /// Looks every `every` whether the file has changed, for ever.
    pub async fn watch(self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let source = self.clone();
            // a panic would be one of the database's reader; the next change of the file is another chance
            let _ = tokio::task::spawn_blocking(move || source.refresh()).await;
        }
    }

    /// Reads, verifies and puts the file in use. Blocks.
    fn load(&self) {
        let path = self.0.path.display();
        match read_database(&self.0.path) {
            Ok(database) => {
                let (database_type, built) = (database.database_type().to_owned(), database.build_time());
                self.0.metrics.geo_database_build_timestamp().set(built as f64);
                self.0.database.store(Some(Arc::new(database)));
                self.0.version.fetch_add(1, Ordering::AcqRel);
                tracing::info!(%path, database_type, built, "geo database in use");
            }
            Err(error) => {
                let instead = match self.0.database.load().is_some() {
                    true => "the one in use stays",
                    false => "geo is null for all events",
                };
                tracing::warn!(%path, error, "geo database cannot be used; {instead}");
            }
        }
    }
}

/// What a look at the path found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Nobody has looked yet.
    Nothing,
    Unreadable,
    File(FileMark),
}

fn file_mark(path: &Path) -> io::Result<FileMark> {
    let metadata = fs::metadata(path)?;
    Ok(FileMark { modified: metadata.modified().ok(), len: metadata.len(), inode: metadata.ino() })
}

fn read_database(path: &Path) -> Result<GeoDatabase, String> {
    let len = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if len > MAX_DATABASE_BYTES {
        return Err(format!("{len} bytes are more than a geo database has"));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    GeoDatabase::from_bytes(bytes).map_err(|error| error.to_string())
}
