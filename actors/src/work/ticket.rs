//! The duty to answer for a piece of a batch on its way through the pools.

use ractor::DerivedActorRef;
use tidegate_core::{TimestampMs, epoch::sequence::PieceId, tally::Tally};
use tidegate_log::OutputBatch;
use tidegate_telemetry::{Metrics, Stage};

use crate::windows::grouped::GroupedEvents;

/// What became of a piece that was given out, told by its ticket.
pub enum Returned {
    /// It is done.
    Done(PieceId, Box<Processed>),
    /// The ticket was dropped: nobody will answer for this piece any more.
    Lost {
        /// Which one.
        piece: PieceId,
        /// A worker died while working on it.
        blamed: bool,
    },
}

/// The duty to answer for a piece. Whoever holds it settles it; if it is dropped instead, because a worker
/// panicked or its mailbox died with it, the partition actor hears that the piece is lost, and whether it
/// was being worked on (it may be the culprit) or only waiting.
pub(crate) struct Ticket {
    home: DerivedActorRef<Returned>,
    piece: PieceId,
    holder: Holder,
    settled: bool,
    metrics: Metrics,
}

/// Who has a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// Nobody has it.
    Nobody,
    /// It is in the queue of this stage.
    Queue(Stage),
    /// A worker has it in hand.
    Worker,
}

impl Ticket {
    pub(crate) fn new(home: DerivedActorRef<Returned>, piece: PieceId, metrics: Metrics) -> Self {
        Self { home, piece, holder: Holder::Nobody, settled: false, metrics }
    }

    pub(crate) fn piece(&self) -> PieceId {
        self.piece
    }

    /// The piece goes into the queue of `stage`.
    pub(crate) fn queue_for(&mut self, stage: Stage) {
        self.move_to(Holder::Queue(stage));
    }

    /// A worker begins with the piece.
    pub(crate) fn take_in_hand(&mut self) {
        self.move_to(Holder::Worker);
    }

    fn move_to(&mut self, holder: Holder) {
        let records = u64::from(self.piece.end - self.piece.first);
        if let Holder::Queue(stage) = self.holder {
            self.metrics.stage(stage).queue().sub(records);
        }
        if let Holder::Queue(stage) = holder {
            self.metrics.stage(stage).queue().add(records);
        }
        self.holder = holder;
    }

    /// The piece is done.
    pub(crate) fn settle(mut self, processed: Processed) {
        self.settled = true;
        // A dead partition actor means that the generation is over.
        let _ = self.home.cast(Returned::Done(self.piece, Box::new(processed)));
    }

    /// Nobody was there to take the piece: it stays with the partition actor, which holds this ticket.
    pub(crate) fn take_back(mut self) -> PieceId {
        self.settled = true;
        self.piece
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let blamed = self.holder == Holder::Worker;
        self.move_to(Holder::Nobody);
        if !self.settled {
            let _ = self.home.cast(Returned::Lost { piece: self.piece, blamed });
        }
    }
}

/// A piece when all is done that can be done out of order.
pub struct Processed {
    /// Its output records.
    pub output: OutputBatch,
    /// Per window actor.
    pub counted: Vec<GroupedEvents>,
    /// What was counted of it.
    pub tally: Tally,
    /// Highest timestamp that may move the watermark.
    pub highest: Option<TimestampMs>,
}
