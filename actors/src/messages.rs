//! The messages between the actors of a generation: what each says, who sends it to whom. What a part reports to the
//! supervisor is in `events.rs`; what the writer, the reader and the store are told is beside them.
//!
//! Actors of a generation know only each other, so a message of an older generation has no way to a newer
//! actor. Threads outlive generations; what they are told carries the [`Generation`].
//!
//! A message to an actor that is gone is dropped: the supervisor hears of the one that died, and a sender that died
//! of it too would only hide which one that was.

use std::{sync::Arc, time::Instant};

use ractor::ActorRef;
use tidegate_core::{
    Epoch, NextOffset, PartitionId, TimestampMs, alert::Phase, watermark::PartitionMark, window::OpenWindow,
};
use tidegate_log::{CommitPhases, OutputBatch, RecordBatch};
use tidegate_telemetry::{Parent, Span};
use tokio::sync::mpsc;

use crate::{
    job::{CountedEvents, Filtered, Job, Returned},
    tally::Tally,
};

/// To a partition actor.
pub(crate) enum PartitionMsg {
    /// From the reader: the next records.
    Batch(RecordBatch),
    /// From the reader: the partition is read to its end.
    End(NextOffset),
    /// From a piece's ticket: what became of the piece.
    Returned(Returned),
    /// From the supervisor: a worker was replaced, so pieces that found nobody can be given out again.
    WorkerReplaced,
    /// From the barrier: what was passed on so far belongs to this epoch.
    Cut(Cut),
}

impl From<Returned> for PartitionMsg {
    fn from(returned: Returned) -> Self {
        Self::Returned(returned)
    }
}

impl TryFrom<PartitionMsg> for Returned {
    type Error = ();

    fn try_from(message: PartitionMsg) -> Result<Self, ()> {
        match message {
            PartitionMsg::Returned(returned) => Ok(returned),
            _ => Err(()),
        }
    }
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
    pub(crate) epoch: Epoch,
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
