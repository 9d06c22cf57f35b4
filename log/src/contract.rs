//! What the pipeline asks of a log.

use std::time::Duration;

use tidegate_core::{
    NextOffset, PartitionId, TimestampMs,
    record::{OutputBatch, Topic, TopicsFacts},
    recovery::OffsetRange,
};

use crate::{
    LogError,
    group::GroupReader,
    marked::MarkedWriter,
    reading::{Health, RecordReader},
};

/// A log: a factory of connections to it. All methods block.
pub trait Log: Send + Sync + 'static {
    /// Partition counts and limits of the five topics.
    ///
    /// # Errors
    /// [`LogError::TopicsMissing`] with all that are missing; [`LogError::Unavailable`] if the log does not answer;
    /// [`LogError::NotPermitted`].
    fn topics(&self, timeout: Duration) -> Result<TopicsFacts, LogError>;

    /// A new writer; it is not the owner before [`EpochWriter::fence`].
    ///
    /// # Errors
    /// [`LogError::Misconfigured`] if the client refuses its settings.
    fn writer(&self, topics: &TopicsFacts) -> Result<Box<dyn EpochWriter>, LogError>;

    /// A new reader of a topic, which is told where to read.
    ///
    /// # Errors
    /// [`LogError::Misconfigured`] if the client refuses its settings; [`LogError::Unavailable`] if the log does not
    /// answer.
    fn reader(&self, topic: Topic) -> Result<Box<dyn RecordReader>, LogError>;

    /// A new member of the consumer group `group` that reads a topic: the group shares the partitions out among its
    /// members.
    ///
    /// # Errors
    /// [`LogError::Misconfigured`] if the client refuses its settings; [`LogError::Unavailable`] if the log does not
    /// answer.
    fn group_reader(&self, topic: Topic, group: &str) -> Result<Box<dyn GroupReader>, LogError>;

    /// A new writer of records that belong to no epoch.
    ///
    /// # Errors
    /// [`LogError::Misconfigured`] if the client refuses its settings; an absent broker shows later.
    fn appender(&self) -> Result<Box<dyn Appender>, LogError>;

    /// A new writer of records together with marks, which are kept with the partitions of `topic`. `id` names what it is
    /// for: a second one with the same id fences the first.
    ///
    /// # Errors
    /// [`LogError::Misconfigured`] if the client refuses its settings; an absent broker shows later.
    fn marked_writer(
        &self,
        topic: Topic,
        id: &str,
        topics: &TopicsFacts,
    ) -> Result<Box<dyn MarkedWriter>, LogError>;

    /// Begin and end of every partition of `topic` at this moment.
    ///
    /// `stable` takes the last stable offset as the end: all before it is committed or aborted.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the log does not answer in time; [`LogError::TopicsMissing`].
    fn offsets(&self, topic: Topic, stable: bool, timeout: Duration) -> Result<Vec<OffsetRange>, LogError>;

    /// Reads the committed records of the state topic from `from` (one per partition; clamped to the begin;
    /// nothing of a partition whose position is not before the end) to the end as of the call, in order within
    /// a partition, and returns the positions reached.
    ///
    /// The end is the high watermark, and an open transaction before it is waited for; with `stable` it is the
    /// last stable offset, and nothing is waited for.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the end is not reached in time; [`LogError::Broken`] if the client fails.
    fn read_changelog(
        &self,
        from: &[NextOffset],
        stable: bool,
        timeout: Duration,
        each: &mut dyn FnMut(ChangelogRecord<'_>),
    ) -> Result<Vec<NextOffset>, LogError>;

    /// How the connection to the log is.
    fn health(&self) -> Health;
}

/// Writes records that belong to no epoch: each is visible by itself.
pub trait Appender: Send {
    /// Appends records and waits until they are durable.
    ///
    /// # Errors
    /// Some of them may be written all the same; whoever tries again may write them twice. [`LogError::Unavailable`],
    /// [`LogError::Backlog`] and [`LogError::NoSpace`]: later; [`LogError::Refused`] and others: not like this.
    fn append(&mut self, batch: &OutputBatch) -> Result<(), LogError>;
}

/// A committed record of the state topic.
#[derive(Debug, Clone, Copy)]
pub struct ChangelogRecord<'a> {
    /// Partition of the state topic: the key group.
    pub partition: u32,
    /// Offset of the record.
    pub offset: i64,
    /// Its timestamp; the broker's clock where the topic takes that, see [`appends_time`](tidegate_core::topic_limits::TopicLimits::appends_time).
    pub timestamp: TimestampMs,
    /// Key.
    pub key: &'a [u8],
    /// Value; `None` deletes the key.
    pub value: Option<&'a [u8]>,
}

/// Position of one input partition in an epoch's commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputProgress {
    /// Input partition.
    pub partition: PartitionId,
    /// Next offset to read.
    pub next: NextOffset,
    /// Kept with the offset, at most 4096 bytes; see `tidegate_core::epoch`.
    pub metadata: String,
}

/// What is committed for one input partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Input partition.
    pub partition: PartitionId,
    /// Next offset to read and the metadata kept with it; `None` if nothing was ever committed.
    pub committed: Option<(NextOffset, String)>,
}

/// How long the phases of a commit took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitPhases {
    /// Waiting for the epoch's records to be acknowledged.
    pub flush: Duration,
    /// Adding the input offsets to the transaction.
    pub offsets: Duration,
    /// Ending the transaction.
    pub end: Duration,
}

/// What became of a commit.
#[derive(Debug)]
pub enum CommitOutcome {
    /// All of the epoch is visible.
    Committed(CommitPhases),
    /// Nothing of the epoch is visible and nothing will be: no commit request was sent.
    NotCommitted(LogError),
    /// A commit request may have been sent and its outcome is unknown; only recovery can tell.
    Unknown(LogError),
}

/// The one writer. Records of the open epoch become visible by [`commit`](Self::commit) or never.
pub trait EpochWriter: Send {
    /// Takes over: fences every older writer of the same id and waits until its last epoch is decided.
    ///
    /// # Errors
    /// If [`LogError::is_transient`], it may be tried again on the same writer; [`LogError::Undecided`] if a person has to
    /// decide what became of the last epoch.
    fn fence(&mut self) -> Result<(), LogError>;

    /// What is committed for the input partitions `0..partitions`. Meaningful only after [`fence`](Self::fence).
    ///
    /// # Errors
    /// If any partition's answer is missing or an error: half an answer is none.
    fn committed(&mut self, partitions: u32) -> Result<Vec<CommittedOffset>, LogError>;

    /// Adds records to the open epoch, opening it if there is none. Waits while the client's queue is full.
    ///
    /// # Errors
    /// [`LogError::Refused`] if a topic refuses a record for good; [`LogError::Fenced`]; [`LogError::Unavailable`]. After
    /// any of them the epoch can only be aborted or recovered.
    fn append(&mut self, batch: &OutputBatch) -> Result<(), LogError>;

    /// Commits the open epoch (opening an empty one if there is none) with the input's progress.
    fn commit(&mut self, progress: &[InputProgress], deadline: Duration) -> CommitOutcome;

    /// Gives the open epoch up and keeps the writer; a no-op without one. Not after a commit was tried.
    ///
    /// # Errors
    /// If the epoch cannot be given up: the writer is of no more use.
    fn abort(&mut self, deadline: Duration) -> Result<(), LogError>;

    /// Whether the epoch saw no sign of trouble, so that [`abort`](Self::abort) is safe instead of a new writer.
    fn is_clean(&self) -> bool;
}
