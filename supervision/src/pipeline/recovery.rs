//! Finding out what is committed and getting there: one routine for the first start, a failed actor, a
//! broker that was away, fencing, and a commit of unknown outcome.
//!
//! What to do is decided by [`tidegate_core::recovery`]; here it is carried out. All of it blocks.

use std::{sync::Arc, thread, time::Duration};

use tidegate_actors::{Events, Keeper, Offsets, PipelineSettings, ReaderHandle, WriterHandle};
use tidegate_core::{
    Epoch, NextOffset, PartitionId, TimestampMs,
    epoch::TopicIds,
    recovery::{
        ChangelogFacts, Decision, Facts, OffsetRange, ReadFrom, Resume, StoreAction, StoreFacts, decide,
    },
    window::{WindowKey, WindowState},
};
use tidegate_host::panic_text;
use tidegate_log::{Log, LogError, Topic, TopicsFacts};
use tidegate_state::{LocalStore, MemoryImage};
use tidegate_telemetry::Metrics;

use super::{error::RecoveryError, owner::Owner};

/// Finding the broker. It is short, so that a person who looks soon hears why it does not work.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);
const CHANGELOG_TIMEOUT: Duration = Duration::from_secs(120);

/// Everything a generation starts from.
pub(crate) struct Plan {
    pub(crate) topics: Arc<TopicsFacts>,
    /// The first epoch to cut.
    pub(crate) epoch: Epoch,
    pub(crate) positions: Vec<NextOffset>,
    /// Where the input partitions end at this moment; `None` if nobody asked.
    pub(crate) ends: Option<Vec<NextOffset>>,
    pub(crate) highest: Vec<Option<TimestampMs>>,
    pub(crate) watermark: Option<TimestampMs>,
    pub(crate) windows: Vec<(WindowKey, WindowState)>,
    /// The writer is new: the first epoch is committed in any case and names this process as the owner.
    pub(crate) announce: bool,
    pub(crate) writer: WriterHandle,
    pub(crate) reader: ReaderHandle,
}

/// What recovery works with.
#[derive(Clone)]
pub(crate) struct Recovery {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) settings: Arc<PipelineSettings>,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    pub(crate) owner: Owner,
}

/// What is left of the generation before, if anything.
#[derive(Debug, Clone, Default)]
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
    pub(crate) committed: Offsets,
    pub(crate) topics: Arc<TopicsFacts>,
    /// Nothing of this writer is committed yet, so the owner is not announced either.
    pub(crate) announce: bool,
}

impl Recovery {
    /// The full form: a new writer takes over, then the log says what is committed.
    pub(crate) fn full(&self, remains: &Remains, keeper: &mut Keeper) -> Result<Plan, RecoveryError> {
        if remains.was_owner {
            self.owner.check(remains.fenced)?;
        }
        let topics = Arc::new(self.log.topics(CONNECT_TIMEOUT)?);
        self.check_key_groups(&topics)?;
        // The reader connects while the writer does, which takes as long, and the local copy is opened meanwhile.
        let (taken, reader, store) = thread::scope(|scope| {
            let reader = scope.spawn(|| self.new_reader());
            let store = scope.spawn(|| {
                let local = keeper.store(&self.metrics);
                (local.facts(), local)
            });
            (
                self.take_over(&topics),
                join(reader, "connecting the reader"),
                join(store, "opening the local state copy"),
            )
        });
        let ((writer, committed), (store, local)) = (taken?, store?);
        let kept = Kept { writer, committed, topics, announce: true };
        let ranges = self.log.offsets(Topic::Raw, true, TIMEOUT)?;
        self.plan(kept, reader??, Some(ranges), store, remains, local)
    }

    /// The short form: the writer is kept, and knows what it committed. A reader that is lost is replaced.
    pub(crate) fn short(
        &self,
        kept: Kept,
        reader: Option<ReaderHandle>,
        remains: &Remains,
        keeper: &mut Keeper,
    ) -> Result<Plan, RecoveryError> {
        let reader = reader.map_or_else(|| self.new_reader(), Ok)?;
        let local = keeper.store(&self.metrics);
        let store = local.facts();
        self.plan(kept, reader, None, store, remains, local)
    }

    fn plan(
        &self,
        kept: Kept,
        reader: ReaderHandle,
        ranges: Option<Vec<OffsetRange>>,
        store: StoreFacts,
        remains: &Remains,
        local: &mut LocalStore,
    ) -> Result<Plan, RecoveryError> {
        let Kept { writer, committed, topics, announce } = kept;
        let ends = ranges.as_ref().map(|ranges| ranges.iter().map(|range| range.end).collect());
        let mut facts = Facts {
            committed,
            ranges,
            start: self.settings.start,
            began_at: remains.began_at.clone(),
            used: remains.used,
            store,
            topics: TopicIds::of(&topics),
        };
        let (resume, windows) = loop {
            match self.windows_at(&facts, local)? {
                Found::Windows(resume, windows) => break (resume, windows),
                // It is not used again, so this comes once.
                Found::Unreadable(reason) => {
                    tracing::warn!(
                        reason,
                        "local state copy cannot be read, rebuilding it from the state topic"
                    );
                    facts.store = StoreFacts::Damaged(reason);
                }
            }
        };
        let epoch = resume.epoch.unwrap_or_default();
        tracing::info!(%epoch, windows = windows.len(), store = ?resume.store, "recovered");
        Ok(Plan {
            topics,
            epoch: resume.first,
            positions: resume.positions,
            ends,
            highest: resume.highest,
            watermark: resume.watermark,
            windows,
            announce,
            writer,
            reader,
        })
    }

    /// Decides, and has the windows as of the committed epoch; the local store is brought there if it can be.
    fn windows_at(&self, facts: &Facts, local: &mut LocalStore) -> Result<Found, RecoveryError> {
        let undecided = match decide(facts)? {
            Decision::Go(resume) => {
                return Ok(match local.windows() {
                    Ok(windows) => Found::Windows(resume, windows),
                    Err(error) => Found::Unreadable(error.to_string()),
                });
            }
            Decision::ReadChangelog(undecided) => undecided,
        };
        let (changelog, replay) = self.replay(local, undecided.from())?;
        let resume = undecided.decide(changelog)?;
        if let StoreAction::Rebuild { put_aside: true } = resume.store {
            local.put_aside();
        }
        if let Some(epoch) = resume.epoch {
            local.fill(epoch, &replay.positions, &replay.image);
        }
        let windows = replay.image.windows().collect::<Result<Vec<_>, _>>();
        let windows = windows.map_err(|error| RecoveryError::Refused(error.to_string()))?;
        Ok(Found::Windows(resume, windows))
    }

    /// The changelog's image: on top of the local store's, from where that ends, or from the beginning.
    fn replay(&self, local: &LocalStore, from: ReadFrom) -> Result<(ChangelogFacts, Replay), RecoveryError> {
        let base = match from {
            ReadFrom::Store => local.image(),
            ReadFrom::Begin => None,
        };
        let (from, mut image) = base.unwrap_or_default();
        let mut unreadable = None;
        let positions = self.log.read_changelog(&from, false, CHANGELOG_TIMEOUT, &mut |record| {
            if let Err(error) = image.apply(record.key, record.value) {
                let (partition, offset) = (PartitionId(record.partition), record.offset);
                unreadable.get_or_insert_with(|| ChangelogFacts::Unreadable {
                    partition,
                    offset,
                    cause: error.to_string(),
                });
            }
        })?;
        let shorter = from.iter().zip(&positions).position(|(from, reached)| reached < from);
        let shorter = shorter.map(|index| ChangelogFacts::Shorter { partition: PartitionId(index as u32) });
        let read = ChangelogFacts::Read { highest_epoch: image.highest_epoch() };
        Ok((shorter.or(unreadable).unwrap_or(read), Replay { image, positions }))
    }

    fn take_over(&self, topics: &TopicsFacts) -> Result<(WriterHandle, Offsets), RecoveryError> {
        let mut writer = self.log.writer(topics)?;
        writer.fence()?;
        let committed = writer.committed(topics[Topic::Raw as usize].partitions)?;
        let handle =
            WriterHandle::spawn(writer, committed.clone(), self.events.clone(), self.metrics.clone());
        Ok((handle.map_err(no_thread)?, committed.into_iter().map(|partition| partition.committed).collect()))
    }

    fn new_reader(&self) -> Result<ReaderHandle, RecoveryError> {
        let reader = self.log.reader(Topic::Raw)?;
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
}

/// What came of bringing the windows to the committed epoch.
enum Found {
    Windows(Resume, Vec<(WindowKey, WindowState)>),
    /// The local store cannot be read, for this reason.
    Unreadable(String),
}

/// A changelog that was read.
struct Replay {
    image: MemoryImage,
    positions: Vec<NextOffset>,
}

fn no_thread(error: std::io::Error) -> RecoveryError {
    RecoveryError::Log(LogError::Broken { what: "starting a thread", cause: error.to_string() })
}

fn join<T>(handle: thread::ScopedJoinHandle<'_, T>, what: &'static str) -> Result<T, RecoveryError> {
    handle.join().map_err(|panic| {
        let cause = panic_text(&*panic);
        RecoveryError::Log(LogError::Broken { what, cause })
    })
}
