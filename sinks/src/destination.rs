//! What a sink asks of the place that it delivers to.

use std::{collections::BTreeSet, future::Future, time::Duration};

use tidegate_core::{NextOffset, PartitionId};

use crate::{Batch, SinkRecord};

/// A partition that the group gave to this sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// The partition.
    pub partition: PartitionId,
    /// Where to read it from, for all that the consumer group and the sink's `start` tell.
    pub from: NextOffset,
    /// Whether `from` is a position that the group has committed; else it is what `start` says.
    pub is_committed: bool,
}

/// Where a sink delivers to. Each courier has one of its own, with its own connection, and makes one call at a time.
///
/// A call that is given up half-way (its future is dropped) must leave the destination usable.
pub trait Destination: Send + 'static {
    /// Whether the destination keeps the positions itself, in one transaction with what is delivered. Such a sink has one
    /// courier.
    const KEEPS_POSITIONS: bool = false;

    /// Whether records are delivered one at a time; else as whole batches.
    const ONE_BY_ONE: bool = false;

    /// How often [`tick`](Self::tick) is asked, if at all.
    const TICK: Option<Duration> = None;

    /// Which records must not overtake each other, where they are delivered one by one.
    #[must_use]
    fn lane(_record: &SinkRecord<'_>) -> u64 {
        0
    }

    /// Takes over partitions that the group gave to this sink, and says where to read each from. Asked only where the
    /// destination keeps the positions.
    fn take_over(
        &mut self,
        assigned: &[Assigned],
    ) -> impl Future<Output = Result<Vec<(PartitionId, NextOffset)>, Failure>> + Send {
        let positions = assigned.iter().map(|assigned| (assigned.partition, assigned.from)).collect();
        async move { Ok(positions) }
    }

    /// Delivers these records of a batch, given by their indices, in ascending order.
    fn deliver(&mut self, batch: &Batch, records: &[usize]) -> impl Future<Output = Outcome> + Send;

    /// Delivers records again that were refused before, whatever the positions are: each counts as delivered if it is there
    /// already.
    fn redeliver(&mut self, batch: &Batch, records: &[usize]) -> impl Future<Output = Outcome> + Send {
        self.deliver(batch, records)
    }

    /// All records before these positions are delivered or dealt with otherwise: keeps that, where the destination keeps
    /// positions and does not know it from what was delivered. Asked after a batch of which some were refused.
    fn keep(&mut self, _positions: &[(PartitionId, NextOffset)]) -> impl Future<Output = Outcome> + Send {
        async { Outcome::Delivered }
    }

    /// What is to be done from time to time although nothing is to be delivered. `assigned` are the partitions that are
    /// this sink's now. Asked every [`TICK`](Self::TICK), between deliveries; what fails is done at the next.
    fn tick(&mut self, _assigned: &[PartitionId]) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is delivered.
    Delivered,
    /// Some of it is refused for good and so nothing is delivered; the destination does not say which record is to blame.
    Refused(String),
    /// The destination has judged each record: those that are not named are delivered.
    Judged {
        /// Refused for good, each with the reason.
        refused: Vec<(usize, String)>,
        /// Not delivered, and worth another try.
        again: Vec<usize>,
        /// Why, if there are any to try again.
        failure: Option<Failure>,
    },
    /// It is not known to be delivered, and may be tried again as it is.
    Failed(Failure),
    /// Somebody else has taken these partitions over; nothing is delivered.
    Replaced(Vec<PartitionId>),
}

/// Which of the records of a delivery that was [judged](Outcome::Judged) are delivered.
pub(crate) fn delivered_of(records: &[usize], refused: &[(usize, String)], again: &[usize]) -> Vec<usize> {
    let undone: BTreeSet<usize> =
        refused.iter().map(|(record, _)| *record).chain(again.iter().copied()).collect();
    records.iter().copied().filter(|record| !undone.contains(record)).collect()
}

/// Why a delivery has to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words, without secrets: it is shown to anybody who can reach the daemon's pages.
    pub cause: String,
    /// How long the destination asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure after which the destination may be asked again at any time.
    #[must_use]
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), retry_after: None }
    }
}
