//! What the actors of a generation hold.

use std::{collections::VecDeque, time::Duration};

use tidegate_core::{
    Epoch, PartitionId,
    epoch::{
        barrier::Cut,
        commit::Commits,
        pace::Pace,
        partition::{PartitionFlow, Start},
        sequence::PieceId,
        share::WindowShare,
    },
};

use super::mailbox::Mailbox;
use crate::mail::{Batch, Delta, Group, Job, Output, Piece, ToBarrier, ToCommitter, ToPartition, ToWindow};

pub(crate) struct Partition {
    pub(crate) mail: Mailbox<ToPartition>,
    pub(super) flow: PartitionFlow<Batch, Piece>,
    /// Pieces that found no living worker.
    pub(super) parked: Vec<PieceId>,
}

impl Partition {
    pub(crate) fn new(start: Start) -> Self {
        Self { mail: Mailbox::default(), flow: PartitionFlow::new(start), parked: Vec::new() }
    }
}

/// Events that a partition sent.
pub(super) type Events = (PartitionId, Vec<Group>);

pub(crate) struct Window {
    pub(crate) mail: Mailbox<ToWindow>,
    pub(super) share: WindowShare<Events>,
}

impl Window {
    pub(super) fn new(share: WindowShare<Events>) -> Self {
        Self { mail: Mailbox::default(), share }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Worker {
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) is_dead: bool,
}

pub(crate) struct Barrier {
    pub(crate) mail: Mailbox<ToBarrier>,
    pub(super) pace: Pace,
    /// The next epoch to cut.
    pub(super) epoch: Epoch,
    pub(super) open: Option<Cut>,
    /// When it looks again by itself, since the generation began.
    pub(super) armed: Option<Duration>,
}

impl Barrier {
    pub(crate) fn new(epoch: Epoch, interval: Duration) -> Self {
        Self {
            mail: Mailbox::default(),
            pace: Pace::new(interval),
            epoch,
            open: None,
            armed: Some(Duration::ZERO),
        }
    }

    /// When its tick is due, since the generation began.
    pub(crate) fn tick_due(&self) -> Option<Duration> {
        self.armed.filter(|_| !self.mail.is_dead())
    }
}

pub(crate) struct Committer {
    pub(crate) mail: Mailbox<ToCommitter>,
    pub(super) commits: Commits<Output, Delta>,
    /// Batches of the open epoch, and their bytes.
    pub(super) outputs: usize,
    pub(super) bytes: usize,
    /// Bytes of the epoch whose commit is under way.
    pub(super) committing: usize,
    pub(super) watchdog: Option<(Duration, Epoch)>,
}

impl Committer {
    pub(crate) fn new(commits: Commits<Output, Delta>) -> Self {
        Self { mail: Mailbox::default(), commits, outputs: 0, bytes: 0, committing: 0, watchdog: None }
    }

    /// When it looks whether the commit came back.
    pub(crate) fn watchdog_due(&self) -> Option<Duration> {
        self.watchdog.map(|(due, _)| due).filter(|_| !self.mail.is_dead())
    }
}
