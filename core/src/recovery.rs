//! Where to go on after a start or a failure: the pure decision.
//!
//! The input offsets that the broker holds are the truth, and their [marks](EpochMark) name the last committed
//! epoch. The local store is a cache of the window state as of some epoch, and can always be made anew from
//! the changelog. What cannot be explained is refused: a person has to look before anything is lost or
//! processed twice.

use crate::{
    Epoch, NextOffset, PartitionId, TimestampMs,
    epoch::{EpochMark, MarkError, Replaced, TopicIds},
};

/// Offsets of an input partition that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first offset still there.
    pub begin: NextOffset,
    /// One past the last.
    pub end: NextOffset,
}

/// Where to begin when nothing is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// With what comes from now on.
    Latest,
    /// With the oldest record.
    Earliest,
}

/// What the local store is found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreFacts {
    /// There is none.
    Missing,
    /// It cannot be trusted, for this reason.
    Damaged(String),
    /// It holds the window state of this epoch.
    At {
        /// The last epoch applied to it.
        epoch: Epoch,
    },
}

/// What the changelog is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangelogFacts {
    /// The highest epoch that a committed record names; `None` if it has no records.
    pub highest_epoch: Option<Epoch>,
}

/// All that the decision needs to know; the lists have one element for each input partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The committed offset and its metadata, if there is one. Read after fencing.
    pub committed: Vec<Option<(NextOffset, String)>>,
    /// What can be read.
    pub ranges: Vec<OffsetRange>,
    /// Where to begin when nothing is committed.
    pub start: StartAt,
    /// The local store.
    pub store: StoreFacts,
    /// The changelog, if it has been read; that takes time, and is seldom needed.
    pub changelog: Option<ChangelogFacts>,
    /// The topics as they are now.
    pub topics: TopicIds,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Read the changelog, then decide again.
    ReadChangelog,
    /// Begin at these positions with no state; a damaged store is put aside.
    Fresh {
        /// For each input partition the offset to read from.
        positions: Vec<NextOffset>,
    },
    /// Go on after a committed epoch.
    Resume(Resume),
    /// Do nothing: a person has to decide.
    Refuse(Refusal),
}

/// How to go on after a committed epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The last committed epoch.
    pub epoch: Epoch,
    /// Nonce of the process that committed it.
    pub owner: u64,
    /// For each input partition the offset to read from.
    pub positions: Vec<NextOffset>,
    /// For each input partition the highest timestamp of its events.
    pub highest: Vec<Option<TimestampMs>>,
    /// Watermark of the pipeline.
    pub watermark: Option<TimestampMs>,
    /// How to bring the local store to that epoch.
    pub store: StoreAction,
}

/// How to bring the local store to the committed epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreAction {
    /// It is there.
    Use,
    /// It is behind: apply what the changelog has beyond it.
    CatchUp,
    /// Make a new one from the changelog.
    Rebuild {
        /// The present one is put aside first.
        put_aside: bool,
    },
}

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
}

/// Decides where to go on.
///
/// | committed offsets | store | changelog | decision |
/// |---|---|---|---|
/// | none | at an epoch | | refuse |
/// | none, or without marks | no epoch | not read | read it |
/// | none | no epoch | empty | begin where [`Facts::start`] says |
/// | without marks | no epoch | empty | begin at them |
/// | without marks | an epoch in either | | refuse |
/// | all of epoch E | at E | not read, or up to E | resume with the store as it is |
/// | all of epoch E | not at E | not read | read it |
/// | all of epoch E | not at E | empty | refuse |
/// | all of epoch E | not at E | up to E | resume; the store catches up, or is rebuilt |
/// | all of epoch E | | beyond E | refuse |
/// | any other mixture, or not in the log's range | | | refuse |
/// | of a topic that was created anew since | | | refuse |
///
/// A partition without an offset begins at its beginning, if it is new: its number is not below the marks'
/// count, or there are no marks.
#[must_use]
pub fn decide(facts: &Facts) -> Decision {
    decided(facts).unwrap_or_else(Decision::Refuse)
}

fn decided(facts: &Facts) -> Result<Decision, Refusal> {
    let marks = decode_marks(&facts.committed)?;
    let last = last_commit(&facts.committed, &marks)?;
    if let Some(EpochMark { epoch, topics, .. }) = last
        && let Some(replaced) = topics.replaced(facts.topics)
    {
        let topic = match replaced {
            Replaced::Input => "input",
            Replaced::State => "state",
        };
        return Err(Refusal::TopicReplaced { topic, epoch });
    }
    let positions = positions(facts)?;
    match last {
        Some(last) => resume(facts, last, &marks, positions),
        None => begin(facts, positions),
    }
}

type Committed = Option<(NextOffset, String)>;

/// The mark of each partition's offset; `None` where there is no offset, or one of another program.
fn decode_marks(committed: &[Committed]) -> Result<Vec<Option<EpochMark>>, Refusal> {
    let decode = |(index, committed): (usize, &Committed)| match committed {
        None => Ok(None),
        Some((_, metadata)) => match EpochMark::decode(metadata) {
            Ok(mark) => Ok(Some(mark)),
            Err(MarkError::Foreign) => Ok(None),
            Err(cause) => Err(Refusal::MetadataUnreadable { partition: partition(index), cause }),
        },
    };
    committed.iter().enumerate().map(decode).collect()
}

/// The commit that wrote the offsets of all partitions there were; `None` if no offset has a mark.
fn last_commit(committed: &[Committed], marks: &[Option<EpochMark>]) -> Result<Option<EpochMark>, Refusal> {
    let Some(last) = marks.iter().flatten().max_by_key(|mark| mark.epoch).copied() else { return Ok(None) };
    let before = last.partitions as usize;
    if before > committed.len() {
        return Err(Refusal::PartitionsRemoved { before: last.partitions, now: committed.len() as u32 });
    }
    let missing: Vec<_> = (0..before).filter(|&index| committed[index].is_none()).map(partition).collect();
    if !missing.is_empty() {
        return Err(Refusal::OffsetsMissing { partitions: missing, epoch: last.epoch });
    }
    let same_commit = |mark: &EpochMark| EpochMark { highest: last.highest, ..*mark } == last;
    for (index, mark) in marks.iter().enumerate() {
        let is_new = index >= before;
        let agrees = if is_new { committed[index].is_none() } else { mark.as_ref().is_some_and(same_commit) };
        if !agrees {
            let found =
                mark.map_or("it names no epoch".to_owned(), |mark| format!("it says {:?}", mark.encode()));
            return Err(Refusal::EpochsDisagree { partition: partition(index), epoch: last.epoch, found });
        }
    }
    Ok(Some(last))
}

/// Where each partition is read from, if all of that is in the log.
fn positions(facts: &Facts) -> Result<Vec<NextOffset>, Refusal> {
    let Facts { committed, ranges, start, .. } = facts;
    if ranges.len() < committed.len() {
        return Err(Refusal::PartitionsRemoved { before: committed.len() as u32, now: ranges.len() as u32 });
    }
    let from_end = *start == StartAt::Latest && committed.iter().all(Option::is_none);
    let position =
        |(index, (committed, &OffsetRange { begin, end })): (usize, (&Committed, &OffsetRange))| {
            let partition = partition(index);
            match *committed {
                None => Ok(if from_end { end } else { begin }),
                Some((offset, _)) if offset > end => Err(Refusal::OffsetBeyondEnd { partition, offset, end }),
                Some((offset, _)) if offset < begin => {
                    Err(Refusal::OffsetBeforeBegin { partition, offset, begin })
                }
                Some((offset, _)) => Ok(offset),
            }
        };
    committed.iter().zip(ranges).enumerate().map(position).collect()
}

/// Begins at offsets that name no epoch, if nothing else does.
fn begin(facts: &Facts, positions: Vec<NextOffset>) -> Result<Decision, Refusal> {
    let store_epoch = match facts.store {
        StoreFacts::At { epoch } => Some(epoch),
        StoreFacts::Missing | StoreFacts::Damaged(_) => None,
    };
    let known = store_epoch.max(facts.changelog.and_then(|changelog| changelog.highest_epoch));
    match known {
        Some(epoch) if facts.committed.iter().all(Option::is_none) => {
            let partitions = (0..facts.committed.len()).map(partition).collect();
            Err(Refusal::OffsetsMissing { partitions, epoch })
        }
        Some(state) => Err(Refusal::StateAhead { committed: None, state }),
        None if facts.changelog.is_none() => Ok(Decision::ReadChangelog),
        None => Ok(Decision::Fresh { positions }),
    }
}

/// Goes on after `last`, which wrote the offsets.
fn resume(
    facts: &Facts,
    last: EpochMark,
    marks: &[Option<EpochMark>],
    positions: Vec<NextOffset>,
) -> Result<Decision, Refusal> {
    let EpochMark { epoch, owner, watermark, .. } = last;
    if let Some(state) = facts.changelog.and_then(|changelog| changelog.highest_epoch)
        && state > epoch
    {
        return Err(Refusal::StateAhead { committed: Some(epoch), state });
    }
    let store = match &facts.store {
        StoreFacts::At { epoch: at } if *at == epoch => StoreAction::Use,
        StoreFacts::At { epoch: at } if *at < epoch => StoreAction::CatchUp,
        StoreFacts::Missing => StoreAction::Rebuild { put_aside: false },
        StoreFacts::At { .. } | StoreFacts::Damaged(_) => StoreAction::Rebuild { put_aside: true },
    };
    if store != StoreAction::Use {
        match facts.changelog {
            None => return Ok(Decision::ReadChangelog),
            Some(ChangelogFacts { highest_epoch: None }) => return Err(Refusal::StateMissing { epoch }),
            Some(_) => {}
        }
    }
    let highest = marks.iter().map(|mark| mark.and_then(|mark| mark.highest)).collect();
    Ok(Decision::Resume(Resume { epoch, owner, positions, highest, watermark, store }))
}

fn partition(index: usize) -> PartitionId {
    PartitionId(index as u32)
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
