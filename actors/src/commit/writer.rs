//! The thread that writes: all of the log's blocking calls for output happen here, in order.
//!
//! The thread outlives generations, and its writer with it, so that a recovery can abort and go on with the
//! same connection. Commands of a generation that has ended are skipped. A call that never comes back takes
//! only this thread with it: the committer's watchdog notices and the supervisor starts another.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use fail::fail_point;
use ractor::DerivedActorRef;
use tidegate_core::{Epoch, Generation, NextOffset, epoch::writing::Writing, supervision::Part};
use tidegate_host::panic_text;
use tidegate_log::{
    CommitOutcome, CommitPhases, CommittedOffset, EpochWriter, InputProgress, LogError, OutputBatch,
};
use tidegate_telemetry::{Metrics, Parent, Stage};
use tokio::sync::oneshot;

use super::{keeper::Apply, store::StoreHandle};
use crate::events::{Events, PipelineEvent};

/// A commit that takes longer is given up, and recovery finds out what became of it.
pub(crate) const COMMIT_DEADLINE: Duration = Duration::from_secs(10);
/// How long giving up an epoch on the same writer may take before a new writer is the better way.
const ABORT_DEADLINE: Duration = Duration::from_secs(1);

/// To the writer thread.
pub(crate) enum WriterCommand {
    /// From the committer.
    Append { generation: Generation, batch: Arc<OutputBatch>, trace: Parent },
    /// From the committer: end the epoch; when that is done, hand its changes to the store and tell the committer.
    Commit {
        generation: Generation,
        progress: Vec<InputProgress>,
        apply: Apply,
        store: StoreHandle,
        committer: DerivedActorRef<Committed>,
    },
    /// From the recovery task: give up the open epoch; answers with what is committed.
    Rollback(oneshot::Sender<Result<Offsets, LogError>>),
}

/// Committed offsets and their metadata, by input partition.
pub type Offsets = Vec<Option<(NextOffset, String)>>;

/// The writer's word that an epoch is visible.
#[derive(Debug, Clone)]
pub struct Committed {
    pub(crate) epoch: Epoch,
    pub(crate) phases: CommitPhases,
}

/// A cheap handle of the writer thread. When the last one is gone, the thread ends.
#[derive(Clone)]
pub struct WriterHandle {
    // Unbounded, but what is sent is covered by the budget of bytes in flight.
    commands: mpsc::Sender<WriterCommand>,
    /// Commands of generations before this one are skipped.
    fence: Arc<AtomicU64>,
}

impl WriterHandle {
    /// Starts the thread. `committed` is what was committed when the writer took over.
    ///
    /// # Errors
    /// [`std::io::Error`] if the system has no thread to give.
    pub fn spawn(
        writer: Box<dyn EpochWriter>,
        committed: Vec<CommittedOffset>,
        events: Events,
        metrics: Metrics,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let fence = Arc::new(AtomicU64::new(0));
        let writing = Writing::new(committed.into_iter().map(|partition| partition.committed).collect());
        let events_of_panics = events.clone();
        let mut thread = WriterThread { writer, writing, events, metrics, fence: Arc::clone(&fence) };
        thread::Builder::new().name("tidegate-writer".into()).spawn(move || {
            let run = catch_unwind(AssertUnwindSafe(|| thread.run(&inbox)));
            if let Err(panic) = run {
                let cause = panic_text(&*panic);
                let (generation, part) = (thread.writing.current(), Part::Committer);
                let _ = events_of_panics.cast(PipelineEvent::ThreadPanicked { generation, part, cause });
            }
        })?;
        Ok(Self { commands, fence })
    }

    /// Hands a command to the thread. If the thread is gone, the supervisor knows already.
    pub(crate) fn send(&self, command: WriterCommand) {
        let _ = self.commands.send(command);
    }

    /// From now on only commands of `generation` count.
    pub fn begin(&self, generation: Generation) {
        self.fence.store(generation.0, Ordering::Release);
    }

    /// Gives up the open epoch and returns what is committed.
    ///
    /// # Errors
    /// [`LogError::Broken`] or another if the writer is of no more use: a new one must take over.
    pub async fn rollback(&self) -> Result<Offsets, LogError> {
        let (reply, answer) = oneshot::channel();
        self.send(WriterCommand::Rollback(reply));
        answer.await.unwrap_or_else(|_| {
            Err(LogError::Broken { what: "rolling back", cause: "the writer thread is gone".into() })
        })
    }
}

struct WriterThread {
    writer: Box<dyn EpochWriter>,
    writing: Writing,
    events: Events,
    metrics: Metrics,
    /// The generation that lives.
    fence: Arc<AtomicU64>,
}

impl WriterThread {
    fn run(&mut self, inbox: &mpsc::Receiver<WriterCommand>) {
        for command in inbox {
            let started = Instant::now();
            let mut records = 0;
            match command {
                WriterCommand::Append { generation, batch, trace } => {
                    records = batch.records.len();
                    if self.admits(generation) {
                        let _span = trace.child("send");
                        let appended = self.writer.append(&batch);
                        self.check(appended);
                        self.metrics.stage(Stage::Committer).queue().sub(batch.records.len() as u64);
                    }
                }
                WriterCommand::Commit { generation, progress, apply, store, committer } => {
                    if self.admits(generation) {
                        self.commit(progress, apply, &store, &committer);
                    }
                }
                WriterCommand::Rollback(reply) => {
                    let _ = reply.send(self.rollback());
                }
            }
            self.metrics.stage(Stage::Committer).add_busy(started.elapsed(), records);
        }
    }

    /// Whether a command of `generation` is to be carried out.
    fn admits(&mut self, generation: Generation) -> bool {
        self.writing.admits(generation, Generation(self.fence.load(Ordering::Acquire)))
    }

    fn commit(
        &mut self,
        progress: Vec<InputProgress>,
        apply: Apply,
        store: &StoreHandle,
        committer: &DerivedActorRef<Committed>,
    ) {
        fail_point!("before_commit");
        match self.writer.commit(&progress, COMMIT_DEADLINE) {
            CommitOutcome::Committed(phases) => {
                fail_point!("after_commit");
                let offset = |done: InputProgress| (done.partition, done.next, done.metadata);
                self.writing.commit(progress.into_iter().map(offset));
                let epoch = apply.epoch;
                // Here and not by the committer, which may be gone.
                store.apply(apply);
                // If it is, the generation has ended and recovery asks for `committed`.
                let _ = committer.cast(Committed { epoch, phases });
            }
            CommitOutcome::NotCommitted(error) | CommitOutcome::Unknown(error) => self.check(Err(error)),
        }
    }

    fn rollback(&mut self) -> Result<Offsets, LogError> {
        let Some(committed) = self.writing.roll_back(self.writer.is_clean()) else {
            let cause = "it saw an error in the open epoch".into();
            return Err(LogError::Broken { what: "rolling back on the same writer", cause });
        };
        self.writer.abort(ABORT_DEADLINE)?;
        Ok(committed)
    }

    fn check(&mut self, result: Result<(), LogError>) {
        if let Err(error) = result {
            self.writing.fail();
            if let LogError::Refused(_) = error {
                // A pause may follow, and readers would wait for the open transaction all the while.
                if let Err(error) = self.writer.abort(ABORT_DEADLINE) {
                    tracing::warn!(%error, "the epoch cannot be aborted, the next writer does it");
                }
            }
            let (generation, part) = (self.writing.current(), Part::Committer);
            let _ = self.events.cast(PipelineEvent::LogFailed { generation, part, error });
        }
    }
}
