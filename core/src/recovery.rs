//! Where to go on after a start or a failure: the pure decision.
//!
//! The input offsets that the broker holds are the truth, and their [marks](EpochMark) name the last committed
//! epoch. The local store is a cache of the window state as of some epoch, and can always be made anew from
//! the changelog. What cannot be explained is refused: a person has to look before anything is lost or
//! processed twice.
//!
//! The decision takes two steps, since the changelog takes time to read and is seldom needed: [`decide`] asks for it,
//! [`Undecided::decide`] is told what is in it.

mod refusal;

use std::time::Duration;

pub use refusal::Refusal;

use crate::{
    Epoch, NextOffset, PartitionId, TimestampMs,
    epoch::{EpochMark, MarkError, Replaced, TopicIds},
};

/// Kafka's cleaner may remove deletions of a compacted topic after a day (`delete.retention.ms`). A store that was last
/// written to longer ago than this is not caught up but filled anew: it could miss that a window was closed, and
/// close it again.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(6 * 60 * 60);

/// Offsets of a partition that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first offset still there.
    pub begin: NextOffset,
    /// One past the last: the high watermark.
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
    /// It holds the window state of an epoch.
    At {
        /// Every change up to this epoch is in it.
        epoch: Epoch,
        /// Changes of epochs up to this one may be in it, if the process ended while it applied them.
        reaches: Epoch,
        /// How long ago it was written to.
        age: Duration,
    },
}

/// What the changelog is found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangelogFacts {
    /// It was read.
    Read {
        /// The highest epoch that a committed record names; `None` if it has no records.
        highest_epoch: Option<Epoch>,
    },
    /// It ends before the store's position in this partition.
    Shorter {
        /// Partition of the state topic.
        partition: PartitionId,
    },
    /// A record cannot be read.
    Unreadable {
        /// Partition of the state topic.
        partition: PartitionId,
        /// Offset of the record.
        offset: i64,
        /// Why.
        cause: String,
    },
}

/// All that the decision needs to know at first; the lists have one element for each input partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The committed offset and its metadata, if there is one. Read after fencing.
    pub committed: Vec<Option<(NextOffset, String)>>,
    /// What can be read; `None` if nobody asked, since the writer was kept: what it committed is in the log.
    pub ranges: Option<Vec<OffsetRange>>,
    /// Where to begin when nothing is committed.
    pub start: StartAt,
    /// Where this process began before, if nothing was committed then either: what came since is not to be missed.
    pub began_at: Option<Vec<NextOffset>>,
    /// Epochs up to this one were used by this process.
    pub used: Epoch,
    /// The local store.
    pub store: StoreFacts,
    /// The topics as they are now.
    pub topics: TopicIds,
}

/// What follows from the first facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on like this.
    Go(Resume),
    /// Read the changelog, then decide.
    ReadChangelog(Undecided),
}

/// A decision that waits for the changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    resume: Resume,
    /// Changes of epochs up to this one may be in the store.
    reaches: Epoch,
    /// All partitions, if none has an offset.
    missing: Vec<PartitionId>,
}

/// From where the changelog is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// From the positions that the local store includes, on top of what it has.
    Store,
    /// From its beginning.
    Begin,
}

/// How to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The last committed epoch; `None` if nothing is committed, so that there is no state either.
    pub epoch: Option<Epoch>,
    /// The first epoch to cut: beyond all that were ever used.
    pub first: Epoch,
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
    /// Fill it from the whole changelog.
    Rebuild {
        /// The present one is put aside first.
        put_aside: bool,
    },
}

/// Decides where to go on.
///
/// | committed offsets | store | changelog | decision |
/// |---|---|---|---|
/// | none | at an epoch | | refuse |
/// | none, or without marks | no epoch | not read | read it |
/// | none | no epoch | empty | begin where [`Facts::start`] says, or this process began before |
/// | without marks | no epoch | empty | begin at them |
/// | without marks | an epoch in either | | refuse |
/// | all of epoch E | at E, and free of later epochs | not read | resume with the store as it is |
/// | all of epoch E | other | not read | read it |
/// | all of epoch E | other | empty | refuse |
/// | all of epoch E | before E, whole and of the last hours | up to E | resume; the store catches up |
/// | all of epoch E | other | up to E | resume; the store is filled anew |
/// | all of epoch E | | beyond E | refuse |
/// | any other mixture, or not in the log's range | | | refuse |
/// | of a topic that was created anew since | | | refuse |
///
/// A partition without an offset begins at its beginning, if it is new: its number is not below the marks'
/// count, or there are no marks.
///
/// A store that turns out to be unreadable is a new fact: decide again with [`StoreFacts::Damaged`].
///
/// # Errors
/// [`Refusal`]: nothing is to be done before a person has decided.
pub fn decide(facts: &Facts) -> Result<Decision, Refusal> {
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
    let resume = Resume {
        epoch: last.map(|last| last.epoch),
        first: last.map_or(Epoch::default(), |last| last.epoch).max(facts.used),
        positions: positions(facts)?,
        highest: marks.iter().map(|mark| mark.and_then(|mark| mark.highest)).collect(),
        watermark: last.and_then(|last| last.watermark),
        store: store_action(&facts.store, last),
    };
    let reaches = match facts.store {
        StoreFacts::At { reaches, .. } => Some(reaches),
        StoreFacts::Missing | StoreFacts::Damaged(_) => None,
    };
    let is_fresh = facts.committed.iter().all(Option::is_none);
    let missing = (0..facts.committed.len()).filter(|_| is_fresh).map(partition).collect();
    if let (None, Some(reaches)) = (last, reaches) {
        return Err(state_without_marks(missing, reaches));
    }
    if resume.store == StoreAction::Use {
        return Ok(Decision::Go(Resume { first: resume.first.next(), ..resume }));
    }
    Ok(Decision::ReadChangelog(Undecided { resume, reaches: reaches.unwrap_or_default(), missing }))
}

impl Undecided {
    /// From where to read.
    #[must_use]
    pub fn from(&self) -> ReadFrom {
        if self.resume.store == StoreAction::CatchUp { ReadFrom::Store } else { ReadFrom::Begin }
    }

    /// Decides, now that the changelog is read.
    ///
    /// # Errors
    /// [`Refusal`]: nothing is to be done before a person has decided.
    pub fn decide(self, changelog: ChangelogFacts) -> Result<Resume, Refusal> {
        let Self { resume, reaches, missing } = self;
        let state = match changelog {
            ChangelogFacts::Read { highest_epoch } => highest_epoch,
            ChangelogFacts::Shorter { partition } => return Err(Refusal::ChangelogShorter { partition }),
            ChangelogFacts::Unreadable { partition, offset, cause } => {
                return Err(Refusal::ChangelogUnreadable { partition, offset, cause });
            }
        };
        match (resume.epoch, state) {
            (None, Some(state)) => Err(state_without_marks(missing, state)),
            (Some(epoch), None) => Err(Refusal::StateMissing { epoch }),
            (Some(epoch), Some(state)) if state > epoch => {
                Err(Refusal::StateAhead { committed: Some(epoch), state })
            }
            _ => Ok(Resume { first: resume.first.max(reaches).next(), ..resume }),
        }
    }
}

/// How the store is brought to the last committed epoch.
fn store_action(store: &StoreFacts, last: Option<EpochMark>) -> StoreAction {
    let committed = last.map_or(Epoch::default(), |last| last.epoch);
    match store {
        StoreFacts::Missing => StoreAction::Rebuild { put_aside: false },
        StoreFacts::Damaged(_) => StoreAction::Rebuild { put_aside: true },
        StoreFacts::At { reaches, .. } if *reaches > committed => StoreAction::Rebuild { put_aside: true },
        StoreFacts::At { epoch, .. } if *epoch == committed => StoreAction::Use,
        // Its age says when it was last written to, not how old the rows are that were to be replaced.
        StoreFacts::At { epoch, reaches, .. } if reaches > epoch => StoreAction::Rebuild { put_aside: false },
        StoreFacts::At { age, .. } if *age > CATCH_UP_WITHIN => StoreAction::Rebuild { put_aside: false },
        StoreFacts::At { .. } => StoreAction::CatchUp,
    }
}

/// There is state of an epoch that no offset names. `missing`: all partitions, if none has an offset.
fn state_without_marks(missing: Vec<PartitionId>, state: Epoch) -> Refusal {
    if missing.is_empty() {
        return Refusal::StateAhead { committed: None, state };
    }
    Refusal::OffsetsMissing { partitions: missing, epoch: state }
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
    let Facts { committed, ranges, start, began_at, .. } = facts;
    let Some(ranges) = ranges else { return Ok(positions_of_kept(committed, began_at.as_deref())) };
    if ranges.len() < committed.len() {
        return Err(Refusal::PartitionsRemoved { before: committed.len() as u32, now: ranges.len() as u32 });
    }
    let is_fresh = committed.iter().all(Option::is_none);
    // Partitions that came after this process began are read from their beginning.
    let began = began_at.as_deref().filter(|began_at| is_fresh && began_at.len() <= committed.len());
    let from_end = is_fresh && began.is_none() && *start == StartAt::Latest;
    let position = |(index, (committed, range)): (usize, (&Committed, &OffsetRange))| {
        let (partition, OffsetRange { begin, end }) = (partition(index), *range);
        let began = began.and_then(|began_at| began_at.get(index));
        match *committed {
            None if let Some(began) = began => Ok(*began),
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

/// Where each partition of a writer that was kept is read from: behind its last commit, or from where it began.
fn positions_of_kept(committed: &[Committed], began_at: Option<&[NextOffset]>) -> Vec<NextOffset> {
    let began = |index| began_at.and_then(|began_at| began_at.get(index)).copied().unwrap_or_default();
    let position = |(index, committed): (usize, &Committed)| {
        committed.as_ref().map_or_else(|| began(index), |(next, _)| *next)
    };
    committed.iter().enumerate().map(position).collect()
}

fn partition(index: usize) -> PartitionId {
    PartitionId(index as u32)
}
