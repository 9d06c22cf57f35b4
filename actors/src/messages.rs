//! Every message between actors: what it says, who sends it to whom.
//!
//! Actors of a generation know only each other, so a message of an older generation has no way to a newer
//! actor. Threads outlive generations; what they are told carries the [`Generation`].
//!
//! A message to an actor that is gone is dropped: the supervisor hears of the one that died, and a sender that died
//! of it too would only hide which one that was.

use std::{sync::Arc, time::Instant};

use ractor::ActorRef;
use tidegate_core::{
    Epoch, Generation, NextOffset, PartitionId, TimestampMs, alert::Phase, watermark::PartitionMark,
    window::OpenWindow,
};
use tidegate_log::{CommitPhases, CommittedOffset, InputProgress, LogError, OutputBatch, RecordBatch};
use tidegate_supervision::Part;
use tidegate_telemetry::{Parent, Span};
use tokio::sync::{mpsc, oneshot};

use crate::{
    job::{CountedEvents, Filtered, Job, PieceId, Processed},
    recovery::{Plan, RecoveryError},
    roster::ActorView,
    store::{Apply, StoreHandle},
    tally::Tally,
};

/// To a partition actor.
pub(crate) enum PartitionMsg {
    /// From the reader: the next records.
    Batch(RecordBatch),
    /// From the reader: the partition is read to its end.
    End(NextOffset),
    /// From a worker, through its ticket: a piece is done.
    Done(PieceId, Box<Processed>),
    /// From a ticket that was dropped: nobody will answer for this piece any more.
    Lost {
        piece: PieceId,
        /// A worker died while working on it.
        blamed: bool,
    },
    /// From the supervisor: a worker was replaced, so pieces that found nobody can be given out again.
    WorkerReplaced,
    /// From the barrier: what was passed on so far belongs to this epoch.
    Cut(Cut),
}

/// The barrier's word that an epoch ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) epoch: Epoch,
    /// When it was cut, for the phases of the checkpoint.
    pub(crate) at: Instant,
    /// Monotonic time of the cut, the same for all, in milliseconds.
    pub(crate) elapsed_ms: i64,
    /// Whether the log answers; a partition is not idle while it does not.
    pub(crate) log_is_up: bool,
    /// The last cut before a shutdown: partitions first finish what they hold.
    pub(crate) drain: bool,
}

/// A partition's word that it has passed on all of an epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealed {
    pub(crate) cut: Cut,
    pub(crate) partition: PartitionId,
    pub(crate) next: NextOffset,
    pub(crate) mark: PartitionMark,
    /// Highest timestamp seen, for the recovery of the mark.
    pub(crate) highest: Option<TimestampMs>,
}

/// To a filter worker, from a partition actor.
pub(crate) struct FilterMsg(pub(crate) Job);

/// To an enrich worker, from a filter worker.
pub(crate) struct EnrichMsg(pub(crate) Box<Filtered>);

/// To a window actor.
pub(crate) enum WindowMsg {
    /// From a partition actor: events to count.
    Count { epoch: Epoch, partition: PartitionId, events: CountedEvents, trace: Parent },
    /// From a partition actor, behind all of its events of the epoch.
    Sealed(Sealed),
    /// From the supervisor, for somebody who looks: at most so many open windows, the fullest first.
    Report { limit: usize, reply: mpsc::Sender<Report> },
}

/// Open windows of one window actor, for somebody who looks.
pub(crate) struct Report {
    /// All there are.
    pub(crate) open: usize,
    pub(crate) hottest: Vec<OpenWindow>,
}

/// What a window actor adds to an epoch.
pub(crate) struct Delta {
    /// Rendered alerts.
    pub(crate) alerts: Arc<OutputBatch>,
    /// Changelog records; the store takes the same.
    pub(crate) changes: OutputBatch,
    /// For each of `alerts`, in their order: rule, phase, and when its crossing event was appended.
    pub(crate) raised: Vec<Raised>,
    /// Late events per rule.
    pub(crate) late: Vec<u64>,
    /// Events not counted for want of windows.
    pub(crate) overflow: u64,
    /// The pipeline's watermark as of the epoch.
    pub(crate) watermark: Option<TimestampMs>,
}

/// One alert of an epoch, for the metrics and those who wait for alerts.
#[derive(Debug)]
pub(crate) struct Raised {
    pub(crate) rule: usize,
    pub(crate) phase: Phase,
    pub(crate) appended_at: Option<TimestampMs>,
    /// Ends when it is committed, or never will be.
    pub(crate) _span: Span,
}

/// To the committer.
pub(crate) enum CommitterMsg {
    /// From a partition actor: records of the epoch in order.
    Output {
        epoch: Epoch,
        partition: PartitionId,
        output: OutputBatch,
        tally: Tally,
        bytes: usize,
        trace: Parent,
    },
    /// From a partition actor, behind all of its output of the epoch.
    Sealed(Sealed),
    /// From a window actor: its part of the open epoch.
    Delta(Box<Delta>),
    /// From the writer: the epoch is visible.
    Committed { epoch: Epoch, phases: CommitPhases },
    /// A timer of its own: the epoch should have been committed by now.
    Overdue(Epoch),
}

/// To the barrier actor.
pub(crate) enum BarrierMsg {
    /// From the wiring: all actors are there; begin cutting.
    Start(Vec<ActorRef<PartitionMsg>>),
    /// A timer of its own.
    Tick,
    /// From a window actor: an alert crossed.
    CutSoon,
    /// From the reader, again and again: the budget is used up, it reads nothing before the next commit.
    CutNow,
    /// From the committer: the epoch is committed, or it was empty and needed no commit.
    Finished { epoch: Epoch, committed: bool },
    /// From the supervisor: nothing more is read; commit what is there, then say so.
    Drain,
}

/// To the store actor, through its handle.
pub(crate) enum StoreMsg {
    /// From the writer: there is one more epoch to apply.
    Committed,
    /// From a timer of its own, or from the generation that ends: apply them now.
    Apply,
}

/// To the pipeline's supervisor.
pub(crate) enum SupervisorMsg {
    /// From itself: begin.
    Recover,
    /// From the recovery task.
    Recovered(Box<Result<Plan, RecoveryError>>),
    /// From the reader or the writer.
    LogFailed { generation: Generation, part: Part, error: LogError },
    /// From the reader or the writer thread: it panicked.
    ThreadPanicked { generation: Generation, part: Part, cause: String },
    /// From the committer: a commit did not come back.
    WriterHung { generation: Generation },
    /// From a partition actor: a batch killed a worker for the first time.
    BatchBlamed { partition: PartitionId },
    /// From the barrier: an epoch went through; an empty one is not committed.
    Progress { epoch: Epoch, committed: bool },
    /// A timer of its own: time to see whether another daemon owns the id.
    WatchOwner,
    /// From the task that looked: it does.
    TakenOver,
    /// A timer of its own: time to see whether the input has more partitions.
    WatchInput,
    /// From the task that looked: it has.
    InputGrew { generation: Generation },
    /// From the barrier: all that was in flight is committed.
    Drained,
    /// From outside: stop cleanly.
    Shutdown,
    /// From outside: who is there?
    Actors(oneshot::Sender<Vec<ActorView>>),
    /// From outside, for the window actors, if there are any.
    Report { limit: usize, reply: mpsc::Sender<Report> },
}

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
        committer: ActorRef<CommitterMsg>,
    },
    /// From the recovery task: give up the open epoch; answers with what is committed.
    Rollback(oneshot::Sender<Result<Vec<CommittedOffset>, LogError>>),
}
