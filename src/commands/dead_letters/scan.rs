//! Reading the dead-letter topic, and which of it was sent again.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_config::{LogKind, Settings};
use tidegate_core::{
    NextOffset, PartitionId, TimestampMs,
    redrive::{Filter, Letter, Marks},
};
use tidegate_log::{
    Headers, Log, LogError, Mark, MarkedWriter, OutputBatch, RecordRef, RecordSink, Topic, TopicsFacts,
};
use tidegate_state::StateDir;

use super::{Failed, failed, marks_group};
use crate::{exit, wiring};

const TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(200);
const POLL_RECORDS: usize = 500;
/// Reading that brings nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// What the marks are for, in the id of their writer.
const ID: &str = "redrive";

/// The log, and the lock of its directory if it is the embedded one.
pub(super) struct Opened {
    pub(super) log: Arc<dyn Log>,
    pub(super) topics: TopicsFacts,
    _lock: Option<StateDir>,
}

/// # Errors
/// If the log is not there; an embedded one also if a daemon has it open.
pub(super) fn open(settings: &Settings) -> Result<Opened, Failed> {
    let lock = match settings.log {
        LogKind::Kafka => None,
        LogKind::Embedded => Some(StateDir::open(&settings.state_dir).map_err(|error| {
            (exit::FAILED, format!("{error}: an embedded log belongs to one process, stop the daemon first"))
        })?),
    };
    let (log, _) = wiring::connect(settings).map_err(failed)?;
    let topics = log.topics(TIMEOUT).map_err(failed)?;
    Ok(Opened { log, topics, _lock: lock })
}

/// A dead letter as it lies in its topic.
pub(super) struct Found<'a> {
    pub(super) partition: PartitionId,
    pub(super) offset: i64,
    pub(super) timestamp: TimestampMs,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Headers<'a>,
    pub(super) letter: Letter<'a>,
}

/// Hands each dead letter that is meant to `each`, in the order of their offsets within a partition, up to where the topic
/// ends now.
pub(super) fn scan(
    log: &dyn Log,
    filter: &Filter,
    each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
) -> Result<(), LogError> {
    let ranges = log.offsets(Topic::DeadLetters, true, TIMEOUT)?;
    let places = || (0..).map(PartitionId).zip(&ranges).filter(|(_, range)| range.begin < range.end);
    let mut reader = log.reader(Topic::DeadLetters)?;
    let begins: Vec<_> = places().map(|(partition, range)| (partition, range.begin)).collect();
    if begins.is_empty() {
        return Ok(());
    }
    reader.assign(&begins)?;
    let left = places().map(|(partition, range)| (partition, range.end)).collect();
    let mut scan = Scan { left, filter, each, is_over: false };
    let mut heard = Instant::now();
    while !scan.left.is_empty() && !scan.is_over {
        if reader.poll(POLL, POLL_RECORDS, &mut scan)? > 0 {
            heard = Instant::now();
        } else if heard.elapsed() > SILENCE {
            let cause = format!("nothing came for {SILENCE:?}");
            return Err(LogError::Unavailable { what: "reading dead letters", cause });
        }
    }
    Ok(())
}

struct Scan<'a> {
    /// Partitions that are not read to their end, and where that is.
    left: BTreeMap<PartitionId, NextOffset>,
    filter: &'a Filter,
    each: &'a mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    is_over: bool,
}

impl Scan<'_> {
    fn reached(&mut self, partition: PartitionId, next: NextOffset) {
        if self.left.get(&partition).is_some_and(|end| next >= *end) {
            self.left.remove(&partition);
        }
    }
}

impl RecordSink for Scan<'_> {
    fn record(&mut self, record: RecordRef<'_>, headers: &mut dyn FnMut(&mut Vec<u8>)) {
        let RecordRef { partition, offset, timestamp, key, value } = record;
        if self.is_over || !self.left.contains_key(&partition) {
            return;
        }
        let mut encoded = Vec::new();
        headers(&mut encoded);
        let headers = Headers(&encoded);
        if let Some(letter) = Letter::read(headers)
            && self.filter.matches(&letter, timestamp)
        {
            let found = Found { partition, offset, timestamp, key, value, headers, letter };
            self.is_over = (self.each)(found).is_break();
        }
        self.reached(partition, NextOffset(offset + 1));
    }

    fn end_of_partition(&mut self, partition: PartitionId, next: NextOffset) {
        self.reached(partition, next);
    }
}

/// Which dead letters were sent again.
pub(super) struct Book<'a> {
    settings: &'a Settings,
    writer: Box<dyn MarkedWriter>,
    partitions: u32,
    /// What was read, by block and partition.
    blocks: BTreeMap<i64, Vec<Marks>>,
}

impl<'a> Book<'a> {
    /// To look at, or, after a [take-over](Self::take_over), to write.
    pub(super) fn open(settings: &'a Settings, opened: &Opened) -> Result<Self, LogError> {
        let writer = opened.log.marked_writer(Topic::DeadLetters, ID, &opened.topics)?;
        let partitions = opened.topics[Topic::DeadLetters as usize].partitions;
        Ok(Self { settings, writer, partitions, blocks: BTreeMap::new() })
    }

    /// Fences a command that runs already, and waits until what one that was killed wrote last is decided.
    pub(super) fn take_over(&mut self) -> Result<(), LogError> {
        self.writer.take_over()
    }

    pub(super) fn has(&mut self, partition: PartitionId, offset: i64) -> Result<bool, LogError> {
        Ok(self.marks(offset)?.get(partition.0 as usize).is_some_and(|marks| marks.has(offset)))
    }

    /// Writes records to the input topic and marks dead letters: both, or neither.
    pub(super) fn write(
        &mut self,
        batch: &OutputBatch,
        letters: &[(PartitionId, i64)],
    ) -> Result<(), LogError> {
        let mut changed: BTreeMap<(i64, PartitionId), Marks> = BTreeMap::new();
        for (partition, offset) in letters {
            let block = Marks::block_of(*offset);
            let known = self.marks(*offset)?.get(partition.0 as usize).cloned().unwrap_or_default();
            changed.entry((block, *partition)).or_insert(known).add(*offset);
        }
        let mark = |((block, partition), marks): (&(i64, PartitionId), &Marks)| Mark {
            group: marks_group(self.settings, *block),
            partition: *partition,
            text: marks.encode(),
        };
        let marks: Vec<_> = changed.iter().map(mark).collect();
        self.writer.write(batch, &marks)?;
        for ((block, partition), marks) in changed {
            if let Some(known) = self.blocks.get_mut(&block).and_then(|all| all.get_mut(partition.0 as usize))
            {
                *known = marks;
            }
        }
        Ok(())
    }

    fn marks(&mut self, offset: i64) -> Result<&Vec<Marks>, LogError> {
        let block = Marks::block_of(offset);
        if !self.blocks.contains_key(&block) {
            let group = marks_group(self.settings, block);
            let read = |text: Option<String>| match text {
                None => Ok(Marks::default()),
                Some(text) => Marks::decode(&text).ok_or_else(|| LogError::Broken {
                    what: "reading which dead letters were sent again",
                    cause: format!("group {group} holds something else"),
                }),
            };
            let marks = self.writer.marks(&group, self.partitions)?.into_iter().map(read);
            let marks = marks.collect::<Result<Vec<_>, _>>()?;
            self.blocks.insert(block, marks);
        }
        Ok(self.blocks.entry(block).or_default())
    }
}
