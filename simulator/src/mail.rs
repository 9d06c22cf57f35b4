//! What the actors of a generation send each other, and what they report to the supervisor.

use std::rc::Rc;

use tidegate_core::{
    Epoch, Generation, NextOffset, PartitionId, TimestampMs,
    alert::Alert,
    epoch::{
        barrier::{Cut, Seal},
        partition::Done,
        sequence::PieceId,
    },
    supervision::{Failure, Part},
    window::StateChange,
};

use crate::{input::Record, plan::Recovered};

/// Records of one partition that were read together.
pub(crate) type Batch = Rc<[Record]>;

/// What a worker made of a piece.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// Record offsets that go to the output or, if true, to the dead letters.
    pub(crate) output: Vec<(i64, bool)>,
    /// By window actor.
    pub(crate) counted: Vec<Vec<Group>>,
}

/// Events of one service that one rule counts, in order.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) rule: usize,
    pub(crate) service: usize,
    pub(crate) events: Vec<(TimestampMs, i64)>,
}

/// To a worker.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) partition: usize,
    pub(crate) piece: PieceId,
    pub(crate) batch: Batch,
}

pub(crate) enum ToPartition {
    Batch(Batch),
    End(NextOffset),
    Done(PieceId, Done<Piece>),
    Lost { piece: PieceId, is_blamed: bool },
    WorkerReplaced,
    Cut(Cut),
}

pub(crate) enum ToWindow {
    Count { epoch: Epoch, partition: PartitionId, events: Vec<Group> },
    Seal(Seal),
}

/// Output of a partition.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) partition: PartitionId,
    pub(crate) records: Vec<(i64, bool)>,
    pub(crate) bytes: usize,
}

/// A window actor's part of an epoch.
#[derive(Debug)]
pub(crate) struct Delta {
    pub(crate) epoch: Epoch,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) changes: Vec<StateChange>,
    pub(crate) watermark: Option<TimestampMs>,
}

pub(crate) enum ToCommitter {
    Output { epoch: Epoch, output: Output },
    Seal(Seal),
    Delta(Box<Delta>),
    Committed(Epoch),
}

pub(crate) enum ToBarrier {
    CutSoon,
    CutNow,
    Drain,
    Finished { epoch: Epoch, committed: bool },
}

/// To the supervisor.
pub(crate) enum Event {
    /// A part of this generation failed.
    Failed {
        generation: Generation,
        failure: Failure,
    },
    WorkerDied {
        generation: Generation,
        part: Part,
        index: usize,
    },
    BatchBlamed,
    Progress {
        epoch: Epoch,
        committed: bool,
    },
    Drained,
    Recovered(Box<Recovered>),
    InputGrew {
        generation: Generation,
    },
    /// Another process owns the id.
    TakenOver,
    Shutdown,
}
