//! The geo database in use, and the task that notices a new one.
//!
//! The file is polled, since notifications miss the symbolic link that an orchestrator swaps. A file that
//! cannot be read or verified never replaces a database that works. The first one is used at once, since a start
//! must not wait for seconds, and verified meanwhile; what a damaged file does not tell is not there until then.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tidegate_core::geo::GeoDatabase;
use tidegate_telemetry::Metrics;
use tokio::sync::oneshot;

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
        // The version first: a database newer than its version is only fetched once more.
        (self.version(), self.0.database.load_full())
    }

    /// Loads the file if it has changed since the last look. Blocks.
    ///
    /// The first database is not verified: [`watch`](Self::watch) does that before all else.
    pub fn refresh(&self) {
        let now = file_mark(&self.0.path).map_or(Seen::Unreadable, Seen::File);
        let before = std::mem::replace(&mut *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner), now);
        if now != before {
            self.load(before != Seen::Nothing);
        }
    }

    /// Verifies the first database, then looks every `every` whether the file has changed, for ever.
    pub async fn watch(self, every: Duration) {
        self.clone().verified_first().await;
        loop {
            tokio::time::sleep(every).await;
            let source = self.clone();
            // A panic would be one of the database's reader; the next change of the file is another chance.
            let _ = tokio::task::spawn_blocking(move || source.refresh()).await;
        }
    }

    /// Verifies on a thread that nothing waits for at the end of the process, as it would for a blocking task.
    async fn verified_first(self) {
        let (done, verified) = oneshot::channel();
        let verify = move || {
            self.verify_first();
            let _ = done.send(());
        };
        if let Err(error) = thread::Builder::new().name("geo-verify".into()).spawn(verify) {
            tracing::warn!(%error, "geo database cannot be verified: no thread; it stays in use");
        }
        let _ = verified.await;
    }

    /// Verifies the database in use and gives it up if it is damaged. Blocks.
    fn verify_first(&self) {
        let Some(database) = self.0.database.load_full() else { return };
        let path = self.0.path.display();
        match database.verify() {
            Ok(()) => tracing::debug!(%path, "geo database verified"),
            Err(error) => {
                self.put_in_use(None, 0);
                tracing::warn!(%path, %error, "geo database cannot be used; geo is null for all events");
            }
        }
    }

    /// Reads, verifies unless told otherwise, and puts the file in use. Blocks.
    fn load(&self, verify: bool) {
        let path = self.0.path.display();
        match read_database(&self.0.path, verify) {
            Ok((database, built)) => {
                let database_type = database.database_type().to_owned();
                let missing = database.missing().join(", ");
                self.put_in_use(Some(database), built);
                tracing::info!(%path, database_type, built, "geo database in use");
                if !missing.is_empty() {
                    tracing::warn!(%path, database_type, missing, "geo database lacks fields; geo goes without them");
                }
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

    fn put_in_use(&self, database: Option<GeoDatabase>, built: u64) {
        self.0.metrics.geo_database_build_timestamp().set(built as f64);
        self.0.database.store(database.map(Arc::new));
        self.0.version.fetch_add(1, Ordering::AcqRel);
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

/// The database and when it was built; if it does not say so, when the file was written.
fn read_database(path: &Path, verify: bool) -> Result<(GeoDatabase, u64), String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    let len = metadata.len();
    if len > MAX_DATABASE_BYTES {
        return Err(format!("{len} bytes are more than a geo database has"));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let open = if verify { GeoDatabase::from_bytes } else { GeoDatabase::open };
    let database = open(bytes).map_err(|error| error.to_string())?;
    let written = || metadata.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok();
    let built = database.build_time().or_else(|| written().map(|age| age.as_secs()));
    Ok((database, built.unwrap_or(0)))
}
