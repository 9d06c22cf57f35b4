//! What the tests need of a log besides its contract, and Kafka as such a log.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, unused_imports, unused_macros)]

mod broker;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use tidegate_core::{Epoch, NextOffset, PartitionId, TimestampMs};
use tidegate_log::{
    ByteRange, CommitOutcome, CommitPhases, EpochWriter, Headers, InputProgress, Log, LogError, Origin,
    OutputBatch, OutputRecord, RecordReader, RecordRef, RecordSink, Topic, TopicSpec,
    embedded::{EmbeddedConfig, EmbeddedLog, EmbeddedStore},
    kafka::{KafkaConfig, KafkaLog, apply},
    push_header,
};

pub use broker::Broker;

/// For anything that the broker has to do; generous, as a busy machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(120);
pub const PARTITIONS: u32 = 3;

/// A log under test with fresh topics.
pub trait Harness {
    /// A connection to it, as a process of its own would make.
    fn log(&self) -> Box<dyn Log>;
    /// The log with `topic` as its input, to read and write it through the same contract.
    fn seen_from(&self, topic: Topic) -> Box<dyn Log>;
    /// What takes offsets.
    fn layout(&self) -> Layout;
}

/// What takes offsets in a log, where every epoch writes one record to a partition.
#[derive(Debug, Clone, Copy)]
pub enum Layout {
    /// Every record, and the marker at the end of every transaction, aborted ones too.
    WithMarkers,
    /// Committed records alone.
    Dense,
}

impl Layout {
    /// The end of a partition after epochs that were committed or not.
    pub fn end(self, committed: &[bool]) -> i64 {
        match self {
            Self::WithMarkers => 2 * committed.len() as i64,
            Self::Dense => committed.iter().filter(|committed| **committed).count() as i64,
        }
    }

    /// The end after `number` times an aborted epoch and a committed one.
    pub fn before(self, number: usize) -> i64 {
        self.end(&[false, true].repeat(number))
    }

    /// Offset of the record that then follows, behind another aborted epoch.
    pub fn at(self, number: usize) -> i64 {
        self.end(&[&[false, true].repeat(number)[..], &[false]].concat())
    }

    /// The last marker before the end after `number` pairs; the end itself if there are none.
    pub fn last_marker(self, number: usize) -> i64 {
        match self {
            Self::WithMarkers => self.before(number) - 1,
            Self::Dense => self.before(number),
        }
    }
}

/// A record with everything that a test may want to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    pub partition: u32,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Seen {
    pub fn new(partition: u32, value: impl Into<Vec<u8>>) -> Self {
        Self { partition, timestamp: 1_760_000_000_000, value: Some(value.into()), ..Self::default() }
    }
}

/// Makes a batch of records for `topic`.
pub fn batch(topic: Topic, records: &[Seen]) -> OutputBatch {
    let mut batch = OutputBatch::default();
    for record in records {
        let arena = &mut batch.arena;
        let mut own = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| ByteRange::push(arena, bytes));
        let (key, value) = (own(&record.key), own(&record.value));
        let start = batch.arena.len() as u32;
        for (name, value) in &record.headers {
            push_header(&mut batch.arena, name, value.as_deref());
        }
        let headers = ByteRange { start, end: batch.arena.len() as u32 };
        batch.records.push(OutputRecord {
            topic,
            partition: record.partition,
            timestamp: TimestampMs(record.timestamp),
            key,
            value,
            headers,
            origin: Origin::NONE,
        });
    }
    batch
}

/// What was read: records, and the ends of partitions.
#[derive(Debug, Default)]
pub struct Collected {
    pub records: Vec<(i64, Seen)>,
    pub ends: BTreeMap<u32, i64>,
}

impl RecordSink for Collected {
    fn record(&mut self, record: RecordRef<'_>, headers: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut arena = Vec::new();
        headers(&mut arena);
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers =
            Headers(&arena).into_iter().map(|(name, value)| (name.to_vec(), owned(value))).collect();
        let seen = Seen {
            partition: record.partition.0,
            timestamp: record.timestamp.0,
            key: owned(record.key),
            value: owned(record.value),
            headers,
        };
        self.records.push((record.offset, seen));
    }

    fn end_of_partition(&mut self, partition: PartitionId, next: NextOffset) {
        self.ends.insert(partition.0, next.0);
    }
}

impl Collected {
    /// Values of a partition in their order.
    pub fn values(&self, partition: u32) -> Vec<String> {
        let of_partition = self.records.iter().filter(|(_, seen)| seen.partition == partition);
        of_partition
            .map(|(_, seen)| String::from_utf8_lossy(seen.value.as_deref().unwrap_or_default()).into())
            .collect()
    }
}

pub fn positions(offsets: &[i64]) -> Vec<(PartitionId, NextOffset)> {
    offsets.iter().enumerate().map(|(index, next)| (PartitionId(index as u32), NextOffset(*next))).collect()
}

/// Polls until `done`.
pub fn poll_until(reader: &mut dyn RecordReader, mut done: impl FnMut(&Collected) -> bool) -> Collected {
    let mut collected = Collected::default();
    let deadline = Instant::now() + DEADLINE;
    while !done(&collected) {
        assert!(
            Instant::now() < deadline,
            "not in time; so far {} records, ends {:?}",
            collected.records.len(),
            collected.ends
        );
        reader.poll(Duration::from_millis(100), 10_000, &mut collected).unwrap();
    }
    collected
}

/// Everything committed in `topic`, which nobody writes to meanwhile.
pub fn dump(harness: &dyn Harness, topic: Topic) -> Collected {
    let log = harness.seen_from(topic);
    let ranges = log.offsets(Topic::Raw, false, DEADLINE).unwrap();
    let mut reader = log.reader(Topic::Raw).unwrap();
    reader.assign(&positions(&ranges.iter().map(|range| range.begin.0).collect::<Vec<_>>())).unwrap();
    poll_until(reader.as_mut(), |seen| {
        // A commit is answered before its markers are written: the end may have moved on by those.
        ranges.iter().enumerate().all(|(index, range)| seen.ends.get(&(index as u32)) >= Some(&range.end.0))
    })
}

/// Waits until all before `ends` is decided: the markers of a transaction are written after its commit returned.
pub fn wait_for_ends(log: &dyn Log, topic: Topic, ends: &[i64]) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let ranges = log.offsets(topic, true, DEADLINE).unwrap();
        if ranges.iter().map(|range| range.end.0).eq(ends.iter().copied()) {
            return;
        }
        assert!(Instant::now() < deadline, "the ends are {ranges:?}");
    }
}

/// A writer that is the owner.
pub fn owner(log: &dyn Log) -> Box<dyn EpochWriter> {
    let topics = retry(|| log.topics(DEADLINE));
    let mut writer = log.writer(&topics).unwrap();
    retry(|| writer.fence());
    writer
}

/// Tries again while the error is one that passes.
pub fn retry<T>(mut call: impl FnMut() -> Result<T, LogError>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match call() {
            Ok(value) => return value,
            Err(LogError::Unavailable { .. }) if Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Commits and expects success.
pub fn commit(writer: &mut dyn EpochWriter, progress: &[InputProgress]) -> CommitPhases {
    match writer.commit(progress, DEADLINE) {
        CommitOutcome::Committed(phases) => phases,
        other => panic!("{other:?}"),
    }
}

pub fn progress(next: &[i64], metadata: &str) -> Vec<InputProgress> {
    let input = |(partition, next)| InputProgress { partition, next, metadata: metadata.to_owned() };
    positions(next).into_iter().map(input).collect()
}

const ROLES: [&str; 5] = ["raw", "processed", "alerts", "dead", "state"];

fn specs(names: &[String; 5]) -> Vec<TopicSpec> {
    let spec = |topic: Topic| TopicSpec {
        name: names[topic as usize].clone(),
        partitions: PARTITIONS,
        replication_factor: 1,
        // For ever: records of the tests have timestamps of long ago.
        retention_ms: (topic != Topic::State).then_some(-1),
        compacted: topic == Topic::State,
    };
    Topic::ALL.map(spec).to_vec()
}

/// A state record of the tests that says which epoch is committed: `progress`, with the number as its value.
fn epoch_in_progress_record(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Epoch> {
    let number = std::str::from_utf8(value.filter(|_| key == Some(b"progress"))?).ok()?;
    Some(Epoch(number.parse().ok()?))
}

/// Kafka with topics, group and id of its own for each test.
pub struct Kafka {
    pub config: KafkaConfig,
}

/// The address of the broker that `cargo xtask test` brings up.
pub fn address() -> String {
    std::env::var("TIDEGATE_TEST_KAFKA").expect("TIDEGATE_TEST_KAFKA is not set: run `cargo xtask test`")
}

// The wall clock makes names that an earlier run on the same broker did not use.
#[allow(clippy::disallowed_methods)]
pub fn unique(test: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{test}-{now}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Kafka {
    /// Names for a test; no topics yet.
    pub fn names(test: &str, bootstrap_servers: String) -> Self {
        let name = unique(test);
        Self {
            config: KafkaConfig {
                bootstrap_servers,
                group_id: name.clone(),
                transactional_id: name.clone(),
                properties: BTreeMap::new(),
                topics: ROLES.map(|role| format!("{name}-{role}")),
                epoch_of: epoch_in_progress_record,
                settle: None,
            },
        }
    }

    pub fn specs(&self) -> Vec<TopicSpec> {
        specs(&self.config.topics)
    }

    pub fn create_topics(&self) {
        for topic in apply(&self.config, &self.specs(), false, DEADLINE).unwrap() {
            assert!(topic.remaining.is_empty(), "{topic:?}");
        }
    }

    pub fn new(test: &str) -> Self {
        let kafka = Self::names(test, address());
        kafka.create_topics();
        kafka
    }
}

impl Harness for Kafka {
    fn log(&self) -> Box<dyn Log> {
        Box::new(KafkaLog::new(self.config.clone()).unwrap())
    }

    fn seen_from(&self, topic: Topic) -> Box<dyn Log> {
        let mut config = self.config.clone();
        config.topics.swap(Topic::Raw as usize, topic as usize);
        // A process of its own: it must not fence the writer under test.
        config.group_id = unique("observer");
        config.transactional_id = unique("observer");
        Box::new(KafkaLog::new(config).unwrap())
    }

    fn layout(&self) -> Layout {
        Layout::WithMarkers
    }
}

/// The embedded log in a directory of its own.
pub struct Embedded {
    pub store: EmbeddedStore,
    pub dir: TempDir,
}

impl Embedded {
    /// Without topics.
    pub fn empty() -> Self {
        Self::without_topics(1 << 40)
    }

    fn without_topics(retention_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: EmbeddedStore::open(dir.path().join("log"), retention_bytes).unwrap(), dir }
    }

    pub fn new() -> Self {
        Self::keeping(1 << 40)
    }

    /// Keeps this much of each topic.
    pub fn keeping(retention_bytes: u64) -> Self {
        let embedded = Self::without_topics(retention_bytes);
        for topic in embedded.store.apply(&embedded.specs(), false).unwrap() {
            assert!(topic.remaining.is_empty(), "{topic:?}");
        }
        embedded
    }

    pub fn specs(&self) -> Vec<TopicSpec> {
        specs(&ROLES.map(str::to_owned))
    }

    fn log_of(&self, topics: [&str; 5], id: &str) -> Box<dyn Log> {
        let config = EmbeddedConfig {
            group_id: id.to_owned(),
            writer_id: id.to_owned(),
            topics: topics.map(str::to_owned),
        };
        Box::new(EmbeddedLog::new(self.store.clone(), config))
    }
}

impl Harness for Embedded {
    fn log(&self) -> Box<dyn Log> {
        self.log_of(ROLES, "test")
    }

    fn seen_from(&self, topic: Topic) -> Box<dyn Log> {
        let mut topics = ROLES;
        topics.swap(Topic::Raw as usize, topic as usize);
        self.log_of(topics, &unique("observer"))
    }

    fn layout(&self) -> Layout {
        Layout::Dense
    }
}

/// Runs rules, functions over a [`Harness`], as tests on Apache Kafka and on the embedded log.
macro_rules! on_all_logs {
    ($($rule:ident),* $(,)?) => {
        mod kafka {
            $(
                #[test]
                fn $rule() {
                    super::$rule(&super::Kafka::new(stringify!($rule)));
                }
            )*
        }
        mod embedded {
            $(
                #[test]
                fn $rule() {
                    super::$rule(&super::Embedded::new());
                }
            )*
        }
    };
}
