//! A piece of a batch on its way through the pools, and what becomes of it.

use std::{net::IpAddr, ops::Range, sync::Arc};

use ractor::DerivedActorRef;
use tidegate_core::{
    PartitionId, TimestampMs,
    event::{GeoSlot, Rejection},
    window::CountedEvent,
};
use tidegate_log::{OutputBatch, RecordBatch, Span};
use tidegate_telemetry::{Metrics, Parent, Stage, TraceContext};

use crate::tally::Tally;

/// Names a run of records of one batch that a partition actor gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PieceId {
    /// Number of the batch, in order per partition.
    pub(crate) batch: u64,
    /// First record of the piece.
    pub(crate) first: u32,
    /// One past its last record.
    pub(crate) end: u32,
}

impl PieceId {
    pub(crate) fn records(self) -> Range<usize> {
        self.first as usize..self.end as usize
    }
}

/// What became of a piece that was given out, told by its [`Ticket`].
pub(crate) enum Returned {
    /// It is done.
    Done(PieceId, Box<Processed>),
    /// The ticket was dropped: nobody will answer for this piece any more.
    Lost {
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
    place: Place,
    settled: bool,
    metrics: Metrics,
}

/// Where a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// With nobody.
    Home,
    /// In the queue of this stage.
    Queued(Stage),
    /// A worker has it in hand.
    InHand,
}

impl Ticket {
    pub(crate) fn new(home: DerivedActorRef<Returned>, piece: PieceId, metrics: Metrics) -> Self {
        Self { home, piece, place: Place::Home, settled: false, metrics }
    }

    pub(crate) fn piece(&self) -> PieceId {
        self.piece
    }

    /// The piece goes into the queue of `stage`.
    pub(crate) fn queue_for(&mut self, stage: Stage) {
        self.move_to(Place::Queued(stage));
    }

    /// A worker begins with the piece.
    pub(crate) fn take_in_hand(&mut self) {
        self.move_to(Place::InHand);
    }

    fn move_to(&mut self, place: Place) {
        let records = u64::from(self.piece.end - self.piece.first);
        if let Place::Queued(stage) = self.place {
            self.metrics.stage(stage).queue().sub(records);
        }
        if let Place::Queued(stage) = place {
            self.metrics.stage(stage).queue().add(records);
        }
        self.place = place;
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
        let blamed = self.place == Place::InHand;
        self.move_to(Place::Home);
        if !self.settled {
            let _ = self.home.cast(Returned::Lost { piece: self.piece, blamed });
        }
    }
}

/// Work for the filter pool.
pub(crate) struct Job {
    pub(crate) ticket: Ticket,
    pub(crate) batch: Arc<RecordBatch>,
    pub(crate) trace: Parent,
}

/// What the filter decided about one record.
#[derive(Debug)]
pub(crate) enum Verdict {
    Tombstone,
    Bot,
    /// To the dead letters; index into [`Filtered::rejections`].
    Reject(u32),
    Forward {
        ip: Option<IpAddr>,
        geo: GeoSlot,
    },
}

/// Work for the enrich pool: a piece with a verdict for each of its records.
pub(crate) struct Filtered {
    pub(crate) job: Job,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) rejections: Vec<Rejection>,
    /// Per window actor.
    pub(crate) counted: Vec<CountedEvents>,
    pub(crate) tally: Tally,
    /// Highest timestamp that may move the watermark.
    pub(crate) highest: Option<TimestampMs>,
}

/// A piece when all is done that can be done out of order.
pub(crate) struct Processed {
    pub(crate) output: OutputBatch,
    /// Per window actor.
    pub(crate) counted: Vec<CountedEvents>,
    pub(crate) tally: Tally,
    pub(crate) highest: Option<TimestampMs>,
}

/// Events that rules count, for one window actor: grouped by service, for each rule that counts them, so that a
/// window actor looks a window up once per group and not once per event.
#[derive(Debug, Default)]
pub(crate) struct CountedEvents {
    /// Service names and user ids.
    pub(crate) text: String,
    pub(crate) groups: Vec<Group>,
    pub(crate) events: Vec<Counted>,
    /// Events that somebody traces: their indices and their producers' spans.
    pub(crate) traced: Vec<(u32, TraceContext)>,
}

/// A run of [`CountedEvents::events`] of one service, in arrival order, and a rule that counts them.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) rule: usize,
    pub(crate) service: Span,
    pub(crate) events: Range<u32>,
}

/// One event that a rule counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) timestamp: TimestampMs,
    pub(crate) append_time: TimestampMs,
    pub(crate) offset: i64,
    pub(crate) user_id: Option<Span>,
}

impl CountedEvents {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The text at `span`.
    pub(crate) fn text(&self, span: Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    /// The traced events of `group`: their times and their producers' spans.
    pub(crate) fn traced_of(&self, group: &Group) -> impl Iterator<Item = (TimestampMs, &TraceContext)> {
        let traced = self.traced.iter().filter(|(index, _)| group.events.contains(index));
        traced.map(|(index, context)| (self.events[*index as usize].timestamp, context))
    }

    /// Appends `text` and says where it is.
    pub(crate) fn push_text(&mut self, text: &str) -> Span {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        Span { start, end: self.text.len() as u32 }
    }

    /// The events of `group` as the windows take them.
    pub(crate) fn events_of(
        &self,
        group: &Group,
        partition: PartitionId,
    ) -> impl Iterator<Item = CountedEvent<'_>> + Clone {
        let range = group.events.start as usize..group.events.end as usize;
        self.events[range].iter().map(move |event| CountedEvent {
            timestamp: event.timestamp,
            partition,
            offset: event.offset,
            user_id: event.user_id.map(|span| self.text(span)),
            append_time: event.append_time,
        })
    }
}
