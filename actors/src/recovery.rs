//! Finding out what is committed and getting there: one routine for the first start, a failed actor, a
//! broker that was away, fencing, and a commit of unknown outcome.
//!
//! What to do is decided by [`tidegate_core::recovery`]; here it is carried out. All of it blocks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tidegate_core::{
    Epoch, NextOffset, PartitionId, TimestampMs,
    epoch::{EpochMark, TopicIds},
    recovery::{ChangelogFacts, Decision, Facts, OffsetRange, Resume, StoreAction, StoreFacts, decide},
    window::{WindowKey, WindowState},
};
use tidegate_log::{CommittedOffset, Log, LogError, Topic, TopicsFacts};
use tidegate_state::{MemoryImage, OWNER_KEY, Opened, PROGRESS_KEY, Store};
use tidegate_telemetry::Metrics;

use crate::{
    events::Events,
    reader::ReaderHandle,
    settings::PipelineSettings,
    store::{LocalCopy, SharedCopy, Unapplied, apply_left},
    writer::WriterHandle,
};

/// Finding the broker; short, so that whoever asks soon hears why it does not work.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);
const CHANGELOG_TIMEOUT: Duration = Duration::from_secs(120);
/// Kafka's cleaner may remove deletions of a compacted topic after a day (`delete.retention.ms`). A local copy
/// older than this is not caught up but rebuilt: it could miss that a window was closed, and close it again.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(6 * 60 * 60);
/// How long a daemon that was fenced waits for the owner record of another: the first epoch of every
/// process writes one at once.
const OWNER_WAIT: Duration = Duration::from_secs(5);
/// The owner record of a generation is among so many records at the end of its partition, when it was just committed.
const OWNER_WITHIN: i64 = 20_000;
const OWNER_POLL: Duration = Duration::from_millis(250);

/// Everything a generation starts from.
pub(crate) struct Plan {
    pub(crate) topics: Arc<TopicsFacts>,
    /// The first epoch to cut.
    pub(crate) epoch: Epoch,
    pub(crate) positions: Vec<NextOffset>,
    /// Where the input partitions end at this moment; the short form has not asked.
    pub(crate) ends: Vec<NextOffset>,
    pub(crate) highest: Vec<Option<TimestampMs>>,
    pub(crate) watermark: Option<TimestampMs>,
    pub(crate) windows: Vec<(WindowKey, WindowState)>,
    /// The writer is new: the first epoch is committed in any case and names this process as the owner.
    pub(crate) announce: bool,
    pub(crate) writer: WriterHandle,
    pub(crate) reader: ReaderHandle,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    /// The log failed; see [`LogError::is_transient`].
    #[error(transparent)]
    Log(#[from] LogError),
    /// A person has to decide.
    #[error("{0}")]
    Refused(String),
    /// Another daemon owns the transactional id now.
    #[error(
        "another daemon has taken over kafka.transactional_id, or uses the same kafka.group_id with another one; run one daemon per id and group, or give this one another id, group and state directory"
    )]
    TakenOver,
}

/// What recovery works with.
#[derive(Clone)]
pub(crate) struct Recovery {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) copy: SharedCopy,
    /// What the generation before has committed and not applied to the copy.
    pub(crate) unapplied: Unapplied,
    pub(crate) settings: Arc<PipelineSettings>,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    /// Nonce of this process.
    pub(crate) owner: u64,
    pub(crate) owner_seen: OwnerSeen,
}

/// How far partition 0 of the state topic was read for owner records, and what it said: each look goes on from there.
pub(crate) type OwnerSeen = Arc<Mutex<(NextOffset, MemoryImage)>>;

/// What is left of the generation before, if anything.
#[derive(Default)]
pub(crate) struct Remains {
    /// Epochs up to this one have been used by this process.
    pub(crate) used: Epoch,
    /// This process has owned the id before, so somebody else may own it now.
    pub(crate) was_owner: bool,
    /// The writer was fenced: give another owner time to say so.
    pub(crate) fenced: bool,
    /// Where the generation before began, if nothing was ever committed.
    pub(crate) began_at: Option<Vec<NextOffset>>,
}

/// A sound writer with what it committed last: the short form needs no other.
pub(crate) struct Kept {
    pub(crate) writer: WriterHandle,
    pub(crate) committed: Vec<CommittedOffset>,
    pub(crate) topics: Arc<TopicsFacts>,
    /// Nothing of this writer is committed yet, so the owner is not announced either.
    pub(crate) announce: bool,
}

impl Recovery {
    /// The full form: a new writer takes over, then the log says what is committed.
    pub(crate) fn full(&self, remains: &Remains) -> Result<Plan, RecoveryError> {
        if remains.was_owner {
            self.check_owner(remains.fenced)?;
        }
        let topics = Arc::new(self.log.topics(CONNECT_TIMEOUT)?);
        self.check_key_groups(&topics)?;
        // The reader connects while the writer does, which takes as long, and the local copy is opened meanwhile.
        let (taken, reader, store) = thread::scope(|scope| {
            let reader = scope.spawn(|| self.new_reader());
            let store = scope.spawn(|| self.open_copy());
            (
                self.take_over(&topics),
                join(reader, "connecting the reader"),
                join(store, "opening the local state copy"),
            )
        });
        let (writer, committed) = taken?;
        let kept = Kept { writer, committed, topics, announce: true };
        let ranges = self.log.offsets(Topic::Raw, true, TIMEOUT)?;
        let ranges = ranges.iter().map(|range| OffsetRange { begin: range.begin, end: range.end }).collect();
        self.plan(kept, reader??, ranges, store?, remains)
    }

    /// The short form: the writer is kept, and knows what it committed. A reader that is lost is replaced.
    pub(crate) fn short(
        &self,
        kept: Kept,
        reader: Option<ReaderHandle>,
        remains: &Remains,
    ) -> Result<Plan, RecoveryError> {
        let reader = reader.map_or_else(|| self.new_reader(), Ok)?;
        // What this writer committed moments ago is in the log, and stays there.
        let all = OffsetRange { begin: NextOffset(0), end: NextOffset(i64::MAX) };
        let ranges = vec![all; kept.committed.len()];
        self.plan(kept, reader, ranges, self.open_copy(), remains)
    }

    fn plan(
        &self,
        kept: Kept,
        reader: ReaderHandle,
        ranges: Vec<OffsetRange>,
        store: StoreFacts,
        remains: &Remains,
    ) -> Result<Plan, RecoveryError> {
        let never_committed = kept.committed.iter().all(|partition| partition.committed.is_none());
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut facts = Facts {
            committed: kept.committed.into_iter().map(|partition| partition.committed).collect(),
            ranges,
            start: self.settings.start,
            store,
            changelog: None,
            topics: topic_ids(&kept.topics),
        };
        let mut replayed = None;
        let mut decision = decide(&facts);
        if decision == Decision::ReadChangelog {
            let replay = self.replay(&copy, last_epoch(&facts))?;
            facts.changelog = Some(ChangelogFacts { highest_epoch: replay.image.highest_epoch() });
            replayed = Some(replay);
            decision = decide(&facts);
        }
        let known = store_epoch(&copy).max(replayed.as_ref().and_then(|replay| replay.image.highest_epoch()));
        let resume = match decision {
            Decision::Resume(resume) => resume,
            Decision::Fresh { positions } => {
                if let StoreFacts::Damaged(_) = facts.store {
                    put_aside(&mut copy);
                }
                let positions = match &remains.began_at {
                    Some(began_at) if never_committed && began_at.len() == positions.len() => {
                        began_at.clone()
                    }
                    _ => positions,
                };
                fresh(positions, self.owner)
            }
            Decision::Refuse(refusal) => return Err(RecoveryError::Refused(refusal.to_string())),
            Decision::ReadChangelog => {
                return Err(RecoveryError::Refused("the changelog was read and is asked for again".into()));
            }
        };
        let ends = facts.ranges.iter().map(|range| range.end).collect();
        let windows = self.windows_at(&mut copy, &resume, replayed)?;
        tracing::info!(epoch = %resume.epoch, windows = windows.len(), store = ?resume.store, "recovered");
        Ok(Plan {
            topics: kept.topics,
            epoch: resume.epoch.max(known.unwrap_or_default()).max(remains.used).next(),
            positions: resume.positions,
            ends,
            highest: resume.highest,
            watermark: resume.watermark,
            windows,
            announce: kept.announce,
            writer: kept.writer,
            reader,
        })
    }

    /// The windows as of the committed epoch, and the local copy brought there if it can be.
    fn windows_at(
        &self,
        copy: &mut LocalCopy,
        resume: &Resume,
        replayed: Option<Replay>,
    ) -> Result<Vec<(WindowKey, WindowState)>, RecoveryError> {
        let mut action = resume.store;
        let half_applied =
            copy.store.as_ref().and_then(Store::base).filter(|base| base.reaches > resume.epoch);
        if half_applied.is_some() {
            action = StoreAction::Rebuild { put_aside: true };
        }
        if action == StoreAction::Use {
            match scan(copy) {
                Ok(windows) => return Ok(windows),
                Err(reason) => {
                    tracing::warn!(
                        reason,
                        "local state copy cannot be read, rebuilding it from the state topic"
                    );
                    action = StoreAction::Rebuild { put_aside: true };
                }
            }
        }
        if let StoreAction::Rebuild { put_aside: true } = action {
            put_aside(copy);
        }
        let replay = match replayed {
            Some(replay) if action == StoreAction::CatchUp || replay.from_begin => replay,
            _ => self.replay(copy, Some(resume.epoch))?,
        };
        if let Some(store) = &mut copy.store
            && resume.epoch > Epoch::default()
            && let Err(error) = store.fill(resume.epoch, &replay.positions, &replay.image)
        {
            tracing::warn!(%error, "local state copy cannot be written, going on without it");
            copy.store = None;
        }
        copy.stale = false;
        let windows = replay.image.windows().collect::<Result<Vec<_>, _>>();
        windows.map_err(|error| RecoveryError::Refused(error.to_string()))
    }

    /// The changelog's image: on top of the local copy's, from where that ends, or from the beginning if the
    /// copy is of no use: too old, or beyond the committed epoch.
    fn replay(&self, copy: &LocalCopy, committed: Option<Epoch>) -> Result<Replay, RecoveryError> {
        let is_behind = |store: &&Store| store.base().is_some_and(|base| Some(base.reaches) <= committed);
        let useful = copy.store.as_ref().filter(|_| !copy.stale).filter(is_behind);
        let base = useful.and_then(|store| Some((store.base()?.clone(), store.image().ok()?)));
        let from_begin = base.is_none();
        let (from, mut image) = match base {
            Some((base, image)) => (base.positions, image),
            None => (Vec::new(), MemoryImage::default()),
        };
        let mut unreadable = None;
        let positions = self.log.read_changelog(&from, false, CHANGELOG_TIMEOUT, &mut |record| {
            if let Err(error) = image.apply(record.key, record.value) {
                unreadable.get_or_insert((record.partition, record.offset, error));
            }
        })?;
        let shorter = from.iter().zip(&positions).position(|(from, reached)| reached < from);
        if let Some(partition) = shorter {
            return Err(RecoveryError::Refused(format!(
                "partition {partition} of the state topic is shorter than it was: was the topic created anew? Restore it, or start anew: delete the group's offsets, the state topic and the state directory"
            )));
        }
        match unreadable {
            None => Ok(Replay { image, positions, from_begin }),
            Some((partition, offset, error)) => Err(RecoveryError::Refused(format!(
                "record {offset} in partition {partition} of the state topic cannot be read: {error}; was it written by another program or a newer version of tidegate?"
            ))),
        }
    }

    fn take_over(&self, topics: &TopicsFacts) -> Result<(WriterHandle, Vec<CommittedOffset>), RecoveryError> {
        let mut writer = self.log.writer(topics)?;
        writer.fence()?;
        let committed = writer.committed(topics[Topic::Raw as usize].partitions)?;
        let handle =
            WriterHandle::spawn(writer, committed.clone(), self.events.clone(), self.metrics.clone());
        Ok((handle.map_err(no_thread)?, committed))
    }

    /// Opens the local copy, with all that is committed and was still to be applied.
    fn open_copy(&self) -> StoreFacts {
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        apply_left(&mut copy, &self.unapplied, &self.metrics);
        open_store(&mut copy)
    }

    fn new_reader(&self) -> Result<ReaderHandle, RecoveryError> {
        let reader = self.log.reader()?;
        ReaderHandle::spawn(reader, self.events.clone(), self.metrics.clone()).map_err(no_thread)
    }

    /// The number of key groups is fixed for the life of the state: services map to them by hash.
    fn check_key_groups(&self, topics: &TopicsFacts) -> Result<(), RecoveryError> {
        let (found, wanted) = (topics[Topic::State as usize].partitions, self.settings.key_groups);
        if found == wanted {
            return Ok(());
        }
        Err(RecoveryError::Refused(format!(
            "the state topic {:?} has {found} partitions, topics.state.partitions says {wanted}: set it to {found}; the count of a state topic in use cannot change",
            topics[Topic::State as usize].name
        )))
    }

    /// Whether another process has written its owner record; a fenced one waits for it to appear.
    pub(crate) fn check_owner(&self, fenced: bool) -> Result<(), RecoveryError> {
        let deadline = Instant::now() + if fenced { OWNER_WAIT } else { Duration::ZERO };
        loop {
            if self.current_owner()?.is_some_and(|owner| owner != self.owner) {
                return Err(RecoveryError::TakenOver);
            }
            if Instant::now() >= deadline {
                return Ok(());
            }
            thread::sleep(OWNER_POLL);
        }
    }

    /// When this process wrote its last owner record: by this host's clock, and by the clock that dates the topic's
    /// records, which is the broker's where the topic is set so. It was written a moment ago.
    pub(crate) fn owner_written_at(&self) -> Result<Option<(TimestampMs, TimestampMs)>, LogError> {
        let ends = self.log.offsets(Topic::State, true, TIMEOUT)?;
        let mut from = vec![NextOffset(i64::MAX); ends.len()];
        if let (Some(from), Some(range)) = (from.first_mut(), ends.first()) {
            *from = NextOffset((range.end.0 - OWNER_WITHIN).max(0));
        }
        let mut written_at = None;
        self.log.read_changelog(&from, true, TIMEOUT, &mut |record| {
            let mut image = MemoryImage::default();
            if record.key == OWNER_KEY && image.apply(record.key, record.value).is_ok() {
                let ours = image.owner().filter(|owner| owner.nonce == self.owner);
                written_at = ours.map(|owner| (owner.started_at_ms, record.timestamp)).or(written_at);
            }
        })?;
        Ok(written_at)
    }

    /// Nonce of the process in the owner record, which is in partition 0.
    fn current_owner(&self) -> Result<Option<u64>, LogError> {
        let mut seen = self.owner_seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing of the other partitions.
        let mut from = vec![NextOffset(i64::MAX); self.settings.key_groups as usize];
        from[..1].fill(seen.0);
        let image = &mut seen.1;
        // An open transaction may be our own, and would be waited for in vain.
        let reached = self.log.read_changelog(&from, true, TIMEOUT, &mut |record| {
            if record.key == OWNER_KEY || record.key == PROGRESS_KEY {
                // One that cannot be read is noticed when the state is.
                let _ = image.apply(record.key, record.value);
            }
        })?;
        let owner = image.owner().map(|owner| owner.nonce);
        if owner == Some(self.owner)
            && let Some(other) = image.progress().filter(|progress| progress.owner != self.owner)
        {
            tracing::error!(
                epoch = %other.epoch,
                "another daemon commits for the same kafka.group_id under another kafka.transactional_id, so that outputs \
                 come twice; stop one of the two"
            );
        }
        seen.0 = reached.first().copied().unwrap_or_default();
        Ok(owner)
    }
}

/// A changelog that was read.
struct Replay {
    image: MemoryImage,
    positions: Vec<NextOffset>,
    /// All of it, not on top of the local copy.
    from_begin: bool,
}

/// The last epoch that the committed offsets name.
fn last_epoch(facts: &Facts) -> Option<Epoch> {
    let metadata = facts.committed.iter().flatten().map(|(_, metadata)| metadata);
    metadata.filter_map(|metadata| EpochMark::decode(metadata).ok()).map(|mark| mark.epoch).max()
}

/// The topics that what is committed is of.
pub(crate) fn topic_ids(topics: &TopicsFacts) -> TopicIds {
    TopicIds { input: topics[Topic::Raw as usize].id, state: topics[Topic::State as usize].id }
}

fn fresh(positions: Vec<NextOffset>, owner: u64) -> Resume {
    let highest = vec![None; positions.len()];
    let store = StoreAction::Rebuild { put_aside: false };
    Resume { epoch: Epoch::default(), owner, positions, highest, watermark: None, store }
}

/// Opens the local copy if it is not open, and says what it is.
fn open_store(copy: &mut LocalCopy) -> StoreFacts {
    if let Some(base) = copy.store.as_ref().and_then(Store::base) {
        return StoreFacts::At { epoch: base.epoch };
    }
    // An open store without a base is as good as none.
    copy.store = None;
    let age = copy.dir.store_written_at().and_then(|written_at| written_at.elapsed().ok());
    copy.stale = age.is_some_and(|age| age > CATCH_UP_WITHIN);
    match Store::open(&copy.dir) {
        Ok(Opened::At(store)) => {
            let facts = store.base().map_or(StoreFacts::Missing, |base| StoreFacts::At { epoch: base.epoch });
            copy.store = Some(store);
            facts
        }
        Ok(Opened::Missing(store)) => {
            copy.store = Some(store);
            StoreFacts::Missing
        }
        Ok(Opened::Damaged { reason }) => {
            tracing::warn!(reason, "local state copy is damaged, rebuilding it from the state topic");
            StoreFacts::Damaged(reason)
        }
        Err(error) => {
            tracing::warn!(%error, "local state copy cannot be opened, going on without it");
            StoreFacts::Missing
        }
    }
}

fn store_epoch(copy: &LocalCopy) -> Option<Epoch> {
    copy.store.as_ref().and_then(Store::base).map(|base| base.reaches)
}

fn scan(copy: &LocalCopy) -> Result<Vec<(WindowKey, WindowState)>, String> {
    let store = copy.store.as_ref().ok_or("it is not open")?;
    let mut windows = Vec::new();
    store.scan(|key, state| windows.push((key, state))).map_err(|error| error.to_string())?;
    Ok(windows)
}

/// Puts the present store aside and opens a new one, if the disk lets us.
fn put_aside(copy: &mut LocalCopy) {
    copy.store = None;
    match Store::put_aside(&copy.dir).and_then(|kept| Ok((kept, Store::open(&copy.dir)?))) {
        Ok((kept, opened)) => {
            tracing::warn!(kept = %kept.display(), "local state copy put aside");
            copy.store = match opened {
                Opened::Missing(store) | Opened::At(store) => Some(store),
                Opened::Damaged { .. } => None,
            };
        }
        Err(error) => tracing::warn!(%error, "local state copy cannot be put aside, going on without it"),
    }
}

fn no_thread(error: std::io::Error) -> RecoveryError {
    RecoveryError::Log(LogError::Broken { what: "starting a thread", cause: error.to_string() })
}

fn join<T>(handle: thread::ScopedJoinHandle<'_, T>, what: &'static str) -> Result<T, RecoveryError> {
    handle.join().map_err(|panic| {
        let cause = crate::writer::panic_text(&*panic);
        RecoveryError::Log(LogError::Broken { what, cause })
    })
}

/// Positions with their partitions, as a reader takes them.
pub(crate) fn by_partition(positions: &[NextOffset]) -> Vec<(PartitionId, NextOffset)> {
    positions.iter().enumerate().map(|(index, next)| (PartitionId(index as u32), *next)).collect()
}
