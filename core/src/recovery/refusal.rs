//! Why recovery leaves the decision to a person.

use crate::{Epoch, NextOffset, PartitionId, epoch::MarkError};

/// What a person can do when the offsets and the state do not belong together.
const WAYS_OUT: &str = "restore the group's committed offsets, or start anew: \
    delete the group's offsets, the state topic and the state directory";

/// Why the daemon does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Offsets are missing although an epoch was committed.
    #[error("no offset is committed for {}, although epoch {epoch} was; `tidegate offsets restore` puts back \
         what the state topic says, or {WAYS_OUT}", list(.partitions))]
    OffsetsMissing {
        /// Input partitions without an offset.
        partitions: Vec<PartitionId>,
        /// An epoch that is known to have been committed.
        epoch: Epoch,
    },
    /// A committed offset lies beyond the end of its partition.
    #[error(
        "offset {offset} is committed for input partition {partition}, beyond the log's end at {end}; \
         was the topic created anew? {WAYS_OUT}"
    )]
    OffsetBeyondEnd {
        /// Input partition.
        partition: PartitionId,
        /// The committed offset.
        offset: NextOffset,
        /// The log's end.
        end: NextOffset,
    },
    /// Records between the committed offset and the beginning of the log are gone.
    #[error(
        "offset {offset} is committed for input partition {partition}, before the log's beginning at {begin}: \
         the records between expired unread; to go on without them start anew: \
         delete the group's offsets, the state topic and the state directory"
    )]
    OffsetBeforeBegin {
        /// Input partition.
        partition: PartitionId,
        /// The committed offset.
        offset: NextOffset,
        /// The log's beginning.
        begin: NextOffset,
    },
    /// The partitions' offsets were not committed together.
    #[error(
        "the offset of input partition {partition} was not committed with the others' epoch {epoch}: {found}; {WAYS_OUT}"
    )]
    EpochsDisagree {
        /// The first input partition that disagrees.
        partition: PartitionId,
        /// Epoch of the others.
        epoch: Epoch,
        /// What its metadata says.
        found: String,
    },
    /// Metadata of an offset cannot be read.
    #[error(
        "the metadata of input partition {partition}'s committed offset cannot be read: {cause}; \
         run the version of tidegate that wrote it, or {WAYS_OUT}"
    )]
    MetadataUnreadable {
        /// Input partition.
        partition: PartitionId,
        /// Why.
        cause: MarkError,
    },
    /// The input topic has fewer partitions than before.
    #[error("the input topic has {now} partitions, but had {before}: it was created anew; {WAYS_OUT}")]
    PartitionsRemoved {
        /// Partitions in the last commit.
        before: u32,
        /// Partitions now.
        now: u32,
    },
    /// A topic was deleted and created anew since the last commit.
    #[error(
        "the {topic} topic was deleted and created anew since epoch {epoch} was committed: offsets that were committed \
         are of the former one; restore it, or start anew: delete the group's offsets, the state topic and the state \
         directory"
    )]
    TopicReplaced {
        /// Which topic.
        topic: &'static str,
        /// The last committed epoch.
        epoch: Epoch,
    },
    /// The changelog is empty, although every process writes to it with its first commit.
    #[error(
        "epoch {epoch} is committed, but the state topic is empty and there is no local copy at that epoch: \
         the open windows are lost; restore the state topic, or start anew: \
         delete the group's offsets and the state directory"
    )]
    StateMissing {
        /// The committed epoch.
        epoch: Epoch,
    },
    /// The state knows an epoch that the committed offsets do not.
    #[error("the window state is of epoch {state}, but {}; {WAYS_OUT}", committed_epoch(.committed))]
    StateAhead {
        /// Epoch of the committed offsets; `None` if they name none.
        committed: Option<Epoch>,
        /// Epoch of the state.
        state: Epoch,
    },
    /// The changelog ends before a position that the local store was at.
    #[error(
        "partition {partition} of the state topic is shorter than it was: was the topic created anew? Restore it, or \
         start anew: delete the group's offsets, the state topic and the state directory"
    )]
    ChangelogShorter {
        /// Partition of the state topic.
        partition: PartitionId,
    },
    /// A record of the changelog cannot be read.
    #[error(
        "record {offset} in partition {partition} of the state topic cannot be read: {cause}; \
         was it written by another program or a newer version of tidegate?"
    )]
    ChangelogUnreadable {
        /// Partition of the state topic.
        partition: PartitionId,
        /// Offset of the record.
        offset: i64,
        /// Why.
        cause: String,
    },
}

fn list(partitions: &[PartitionId]) -> String {
    let numbers: Vec<_> = partitions.iter().map(PartitionId::to_string).collect();
    format!("input partition{} {}", if numbers.len() == 1 { "" } else { "s" }, numbers.join(", "))
}

fn committed_epoch(committed: &Option<Epoch>) -> String {
    committed.map_or("the committed offsets name no epoch".to_owned(), |epoch| {
        format!("the committed offsets are of epoch {epoch}")
    })
}
