//! The embedded log: a log in a directory, without a broker, for one process.
//!
//! An [`EmbeddedStore`] is the directory, opened; sled holds what is in it. An [`EmbeddedLog`] is the
//! [`Log`] that a pipeline works on. Beside the pipeline's epochs a store takes plain
//! [appends](EmbeddedStore::append) and gives committed records [back](EmbeddedStore::read).
//!
//! Only records of committed epochs take offsets: there are no gaps and no control records. How an epoch becomes
//! visible and why that is atomic says the module `store`.

mod append;
mod chunk;
mod clean;
mod group;
mod marked;
mod queue;
mod reader;
mod rows;
mod store;
mod topics;
mod verify;
mod view;
mod writer;

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use tidegate_core::{NextOffset, TimestampMs, topic_limits::TopicLimits};
use tidegate_host::wall_time;

pub use self::queue::{NewRecord, Place};
use self::{
    append::EmbeddedAppender,
    group::EmbeddedGroupReader,
    marked::EmbeddedMarkedWriter,
    reader::{Cursor, EmbeddedReader, out_of_range},
    rows::{OffsetKey, Slot},
    store::Store,
    writer::EmbeddedWriter,
};
use crate::{
    Appender, Applied, ChangelogRecord, Drift, EpochWriter, GroupReader, Health, Log, LogError, MarkedWriter,
    OffsetRange, RecordReader, Topic, TopicFacts, TopicSpec, TopicsFacts,
};

/// Largest record that a topic takes, as `max.message.bytes` of Kafka.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
const CLEAN_EVERY: Duration = Duration::from_secs(10);

/// A directory with an embedded log, opened by this process alone. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Store>);

/// A record that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// Offset in its partition.
    pub offset: i64,
    /// Timestamp in ms since the epoch.
    pub timestamp: TimestampMs,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Encoded headers, see [`Headers`](crate::Headers).
    pub headers: Vec<u8>,
}

/// Records that were read back, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records, in the order of their offsets.
    pub records: Vec<ReadRecord>,
    /// The offset to read from next.
    pub next: NextOffset,
    /// What can be read.
    pub range: OffsetRange,
}

impl EmbeddedStore {
    /// Opens the log in `dir`, or creates an empty one. Every topic keeps at most about `retention_bytes`.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if another process has it open or the system refuses; [`LogError::Damaged`].
    pub fn open(dir: impl Into<PathBuf>, retention_bytes: u64) -> Result<Self, LogError> {
        let store = Arc::new(Store::open(dir.into(), retention_bytes)?);
        let cleaned = Arc::downgrade(&store);
        thread::Builder::new()
            .name("tidegate-cleaner".into())
            .spawn(move || clean_regularly(&cleaned))
            .map_err(|error| LogError::Unavailable { what: "embedded log", cause: error.to_string() })?;
        Ok(Self(store))
    }

    /// Compares topics with what they should be. Nothing is changed.
    ///
    /// # Errors
    /// If the log is out of use.
    pub fn plan(&self, specs: &[TopicSpec]) -> Result<Vec<(TopicSpec, Vec<Drift>)>, LogError> {
        topics::plan(&self.0, specs)
    }

    /// Creates topics that are missing, and with `alter` adds partitions and sets the retention of others. Never
    /// deletes anything.
    ///
    /// # Errors
    /// If the log is out of use; nothing is changed then.
    pub fn apply(&self, specs: &[TopicSpec], alter: bool) -> Result<Vec<Applied>, LogError> {
        topics::apply(&self.0, specs, alter)
    }

    /// Appends records to a topic. When it returns, they are on the disk and can be read: all of them, or after
    /// an error none. Returns where each of them is.
    ///
    /// Calls from several threads at once share one sync of the disk.
    ///
    /// # Errors
    /// [`LogError::TopicsMissing`]; [`LogError::Backlog`] and [`LogError::NoSpace`] while there is no room;
    /// [`LogError::Misconfigured`] for a record that is too large or a partition that is not there. After any other
    /// error the records may have been appended all the same.
    pub fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Place>, LogError> {
        append::append(&self.0, topic, records)
    }

    /// Reads committed records of a partition from `offset` on: at most `limit`, of about `bytes` in all, but one
    /// at least if there is one. `None` if there is no such partition.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`]; [`LogError::Damaged`]; if the log is out of use.
    pub fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: NextOffset,
        limit: usize,
        bytes: usize,
    ) -> Result<Option<Page>, LogError> {
        let Some((slot, compacted, range)) = self.partition(topic, partition) else { return Ok(None) };
        if offset < range.begin || offset > range.end {
            return Err(out_of_range(partition, offset.0, range.begin.0, range.end.0));
        }
        let mut cursor = Cursor::new(slot, compacted, offset.0);
        let (mut records, mut size) = (Vec::new(), 0);
        while records.len() < limit && size < bytes && cursor.next < range.end.0 {
            cursor.read(&self.0, range.end.0, 1, &mut |record| {
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                size += record.as_new().size();
                records.push(ReadRecord {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: owned(record.key),
                    value: owned(record.value),
                    headers: record.headers.to_vec(),
                });
            })?;
        }
        Ok(Some(Page { records, next: NextOffset(cursor.next), range }))
    }

    /// What can be read of a topic's partitions; `None` if there is no such topic.
    #[must_use]
    pub fn ranges(&self, topic: &str) -> Option<Vec<OffsetRange>> {
        let partitions = self.0.view().topic(topic).ok()?.partitions;
        (0..partitions).map(|partition| Some(self.partition(topic, partition)?.2)).collect()
    }

    /// How many records of a topic a group has not committed yet.
    #[must_use]
    pub fn lag(&self, topic: &str, group: &str) -> u64 {
        let view = self.0.view();
        let Ok(row) = view.topic(topic) else { return 0 };
        let of = |partition| {
            let slot = Slot { topic: row.id, partition };
            let range = view.partition(slot).unwrap_or_default();
            let key = OffsetKey { slot, group: group.to_owned() };
            let committed = view.offsets.get(&key).map_or(range.begin, |offset| offset.next);
            u64::try_from(range.end - committed).unwrap_or_default()
        };
        (0..row.partitions).map(of).sum()
    }

    /// Removes what is too old or too much as of `now`, and compacts. Happens by itself every ten seconds.
    ///
    /// # Errors
    /// [`LogError::NoSpace`]; [`LogError::Damaged`]; [`LogError::Unavailable`] if the log is out of use.
    pub fn clean(&self, now: TimestampMs) -> Result<(), LogError> {
        clean::clean(&self.0, now)
    }

    fn partition(&self, topic: &str, partition: u32) -> Option<(Slot, bool, OffsetRange)> {
        let view = self.0.view();
        let topic = view.topic(topic).ok()?;
        let slot = Slot { topic: topic.id, partition };
        let row = view.partition(slot)?;
        let range = OffsetRange { begin: NextOffset(row.begin), end: NextOffset(row.end) };
        Some((slot, topic.compacted, range))
    }
}

fn clean_regularly(store: &Weak<Store>) {
    loop {
        thread::sleep(CLEAN_EVERY);
        let Some(store) = store.upgrade() else { return };
        if let Err(error) = clean::clean(&store, now()) {
            tracing::warn!(%error, "the embedded log could not be cleaned");
        }
    }
}

/// Retention is by the wall clock.
fn now() -> TimestampMs {
    let since = wall_time().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Who works on an embedded log, and on which of its topics.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Offsets are committed under this name.
    pub group_id: String,
    /// One writer per id; a second one fences the first.
    pub writer_id: String,
    /// Names of the topics, in the order of [`Topic`].
    pub topics: [String; 5],
}

/// The embedded log as a pipeline sees it.
pub struct EmbeddedLog {
    store: EmbeddedStore,
    config: EmbeddedConfig,
}

impl EmbeddedLog {
    /// A pipeline's log in this store.
    #[must_use]
    pub fn new(store: EmbeddedStore, config: EmbeddedConfig) -> Self {
        Self { store, config }
    }

    fn ranges(&self, topic: Topic) -> Result<Vec<OffsetRange>, LogError> {
        self.store.0.db()?;
        let name = &self.config.topics[topic as usize];
        self.store.ranges(name).ok_or_else(|| LogError::TopicsMissing(vec![name.clone()]))
    }
}

impl Log for EmbeddedLog {
    fn topics(&self, _timeout: Duration) -> Result<TopicsFacts, LogError> {
        self.store.0.db()?;
        let view = self.store.0.view();
        let names = &self.config.topics;
        let missing: Vec<String> =
            names.iter().filter(|name| !view.topics.contains_key(*name)).cloned().collect();
        if !missing.is_empty() {
            return Err(LogError::TopicsMissing(missing));
        }
        Ok(names.clone().map(|name| TopicFacts {
            id: None,
            partitions: view.topics.get(&name).map_or(0, |topic| topic.partitions),
            max_message_bytes: MAX_MESSAGE_BYTES,
            limits: TopicLimits::default(),
            name,
        }))
    }

    fn writer(&self, topics: &TopicsFacts) -> Result<Box<dyn EpochWriter>, LogError> {
        let EmbeddedConfig { group_id, writer_id, topics: names } = self.config.clone();
        Ok(Box::new(EmbeddedWriter::new(Arc::clone(&self.store.0), writer_id, group_id, &names, topics)?))
    }

    fn reader(&self, topic: Topic) -> Result<Box<dyn RecordReader>, LogError> {
        let topic = self.config.topics[topic as usize].clone();
        Ok(Box::new(EmbeddedReader::new(Arc::clone(&self.store.0), topic)))
    }

    fn group_reader(&self, topic: Topic, group: &str) -> Result<Box<dyn GroupReader>, LogError> {
        let topic = self.config.topics[topic as usize].clone();
        Ok(Box::new(EmbeddedGroupReader::new(Arc::clone(&self.store.0), topic, group.to_owned())))
    }

    fn appender(&self) -> Result<Box<dyn Appender>, LogError> {
        let (store, topics) = (self.store.clone(), self.config.topics.clone());
        Ok(Box::new(EmbeddedAppender { store, topics }))
    }

    fn marked_writer(
        &self,
        topic: Topic,
        _id: &str,
        _topics: &TopicsFacts,
    ) -> Result<Box<dyn MarkedWriter>, LogError> {
        let (store, topics) = (Arc::clone(&self.store.0), self.config.topics.clone());
        Ok(Box::new(EmbeddedMarkedWriter { store, topics, topic }))
    }

    fn offsets(&self, topic: Topic, _stable: bool, _timeout: Duration) -> Result<Vec<OffsetRange>, LogError> {
        self.ranges(topic)
    }

    fn read_changelog(
        &self,
        from: &[NextOffset],
        _stable: bool,
        _timeout: Duration,
        each: &mut dyn FnMut(ChangelogRecord<'_>),
    ) -> Result<Vec<NextOffset>, LogError> {
        let name = &self.config.topics[Topic::State as usize];
        let mut reached = Vec::new();
        for (partition, range) in self.ranges(Topic::State)?.into_iter().enumerate() {
            let start = from.get(partition).map_or(range.begin, |from| (*from).clamp(range.begin, range.end));
            let partition = partition as u32;
            if let Some((slot, compacted, _)) = self.store.partition(name, partition) {
                let mut cursor = Cursor::new(slot, compacted, start.0);
                cursor.read(&self.store.0, range.end.0, usize::MAX, &mut |record| {
                    let (offset, timestamp, value) = (record.offset, record.timestamp, record.value);
                    let key = record.key.unwrap_or_default();
                    each(ChangelogRecord { partition, offset, timestamp, key, value });
                })?;
            }
            reached.push(range.end);
        }
        Ok(reached)
    }

    fn health(&self) -> Health {
        self.store.0.health()
    }
}
