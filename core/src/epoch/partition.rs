//! One input partition on its way through the epochs: its order, its position, its event time.
//!
//! A cut waits for nothing: what is still being worked on will belong to the next epoch. Only the last cut of a drain
//! waits until all is passed on.

use crate::{
    Epoch, NextOffset, PartitionId, TimestampMs,
    epoch::{
        barrier::{Cut, Seal},
        sequence::{PieceId, Retry, Sequence},
    },
    time::{
        idleness::{IdleLimits, Idleness},
        watermark::{PartitionClock, PartitionMark},
    },
};

/// The state of one input partition. `T` is a batch of records, `D` what has come of a piece of one.
#[derive(Debug)]
pub struct PartitionFlow<T, D> {
    partition: PartitionId,
    epoch: Epoch,
    next: NextOffset,
    clock: PartitionClock,
    max_disorder_ms: i64,
    idleness: Idleness,
    sequence: Sequence<Batch<T>, Done<D>>,
    /// Where the partition ends, if all that came before is the last there was.
    end: Option<NextOffset>,
    /// The last cut of a drain, until all is passed on.
    draining: Option<Cut>,
}

#[derive(Debug)]
struct Batch<T> {
    item: T,
    next: NextOffset,
}

/// What has come of a piece.
#[derive(Debug)]
pub struct Done<D> {
    /// Highest timestamp that may move the watermark.
    pub highest: Option<TimestampMs>,
    /// The rest of it.
    pub result: D,
}

/// A batch that is whole and has its turn.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed<T, D> {
    /// The epoch that it belongs to.
    pub epoch: Epoch,
    /// The batch.
    pub batch: T,
    /// What has come of its pieces, in record order.
    pub pieces: Vec<D>,
}

/// Where a partition goes on.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Input partition.
    pub partition: PartitionId,
    /// The epoch that is open first.
    pub epoch: Epoch,
    /// The next offset to read.
    pub next: NextOffset,
    /// Highest timestamp seen before.
    pub highest: Option<TimestampMs>,
    /// Reading of the monotonic clock, in milliseconds.
    pub now_ms: i64,
    /// How far behind the highest timestamp an event may come, in milliseconds.
    pub max_disorder_ms: i64,
    /// When silence means something.
    pub idle: IdleLimits,
}

impl<T, D> PartitionFlow<T, D> {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(start: Start) -> Self {
        Self {
            partition: start.partition,
            epoch: start.epoch,
            next: start.next,
            clock: PartitionClock::restore(start.highest),
            max_disorder_ms: start.max_disorder_ms,
            idleness: Idleness::new(start.idle, start.now_ms),
            sequence: Sequence::default(),
            end: None,
            draining: None,
        }
    }

    /// The input partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The next records came, up to `next`; returns the piece to give out.
    pub fn take(&mut self, item: T, records: u32, next: NextOffset, now_ms: i64) -> PieceId {
        self.end = None;
        self.idleness.records(now_ms);
        self.sequence.push(Batch { item, next }, records)
    }

    /// All that came so far is the last there is; behind it, up to `next`, are no records.
    pub fn at_end(&mut self, next: NextOffset) {
        self.end = Some(next);
    }

    /// The batch of a piece that is out.
    #[must_use]
    pub fn batch(&self, piece: PieceId) -> Option<&T> {
        self.sequence.batch(piece).map(|batch| &batch.item)
    }

    /// A piece is done; see [`pass_on`](Self::pass_on).
    pub fn done(&mut self, piece: PieceId, done: Done<D>) {
        self.sequence.done(piece, done);
    }

    /// A piece is lost; see [`Sequence::lost`].
    pub fn lost(&mut self, piece: PieceId, is_blamed: bool) -> Retry {
        self.sequence.lost(piece, is_blamed)
    }

    /// Whether a new culprit is met; see [`Sequence::is_first_death`].
    #[must_use]
    pub fn is_first_death(&self, piece: PieceId) -> bool {
        self.sequence.is_first_death(piece)
    }

    /// The next batch in order, if it is whole. It belongs to the open epoch.
    pub fn pass_on(&mut self) -> Option<Passed<T, D>> {
        let (batch, pieces) = self.sequence.pop()?;
        self.next = batch.next;
        let taken = pieces.into_iter().map(|Done { highest, result }| {
            if let Some(highest) = highest {
                self.clock.observe(highest);
            }
            result
        });
        let pieces = taken.collect();
        Some(Passed { epoch: self.epoch, batch: batch.item, pieces })
    }

    /// An epoch is cut: the seal to send behind all that was passed on. `None` if it is the last cut of a drain and
    /// something is still out: then [`drained`](Self::drained) has it later.
    pub fn cut(&mut self, cut: Cut) -> Option<Seal> {
        if cut.drain && !self.sequence.is_empty() {
            self.draining = Some(cut);
            return None;
        }
        Some(self.seal(cut))
    }

    /// The seal of a drain, once all is passed on.
    pub fn drained(&mut self) -> Option<Seal> {
        if !self.sequence.is_empty() {
            return None;
        }
        let cut = self.draining.take()?;
        Some(self.seal(cut))
    }

    fn seal(&mut self, cut: Cut) -> Seal {
        let end = self.end.filter(|_| self.sequence.is_empty());
        // Past the control records behind the last record.
        self.next = self.next.max(end.unwrap_or(self.next));
        let idle = self.idleness.at_cut(cut.at_ms(), cut.log_is_up, end.is_some());
        let mark = PartitionMark { watermark: self.clock.watermark(self.max_disorder_ms), idle };
        self.epoch = cut.epoch.next();
        Seal { cut, partition: self.partition, next: self.next, mark, highest: self.clock.highest() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    type Flow = PartitionFlow<&'static str, u32>;

    fn flow() -> Flow {
        Flow::new(Start {
            partition: PartitionId(3),
            epoch: Epoch(7),
            next: NextOffset(100),
            highest: Some(TimestampMs(1_000)),
            now_ms: 0,
            max_disorder_ms: 400,
            idle: IdleLimits { idle_after_ms: 10_000, interval_ms: 10_000 },
        })
    }

    fn cut(epoch: u64, at_s: u64) -> Cut {
        Cut { epoch: Epoch(epoch), at: Duration::from_secs(at_s), log_is_up: true, drain: false }
    }

    fn drain(epoch: u64) -> Cut {
        Cut { drain: true, ..cut(epoch, 1) }
    }

    fn done(highest: Option<i64>, result: u32) -> Done<u32> {
        Done { highest: highest.map(TimestampMs), result }
    }

    #[test]
    fn what_is_still_out_at_a_cut_belongs_to_the_next_epoch() {
        let mut flow = flow();
        let a = flow.take("a", 2, NextOffset(102), 1);
        let b = flow.take("b", 1, NextOffset(103), 2);
        flow.done(a, done(None, 1));
        assert_eq!(flow.pass_on().unwrap(), Passed { epoch: Epoch(7), batch: "a", pieces: vec![1] });
        let seal = flow.cut(cut(7, 1)).unwrap();
        assert_eq!((seal.cut.epoch, seal.next), (Epoch(7), NextOffset(102)));
        flow.done(b, done(None, 2));
        assert_eq!(flow.pass_on().unwrap(), Passed { epoch: Epoch(8), batch: "b", pieces: vec![2] });
        assert_eq!(flow.cut(cut(8, 2)).unwrap().next, NextOffset(103));
    }

    #[test]
    fn event_time_moves_with_what_is_passed_on_and_not_with_what_came_back_early() {
        let mut flow = flow();
        let a = flow.take("a", 1, NextOffset(101), 1);
        let b = flow.take("b", 1, NextOffset(102), 1);
        flow.done(b, done(Some(9_000), 0));
        assert!(flow.pass_on().is_none());
        let seal = flow.cut(cut(7, 1)).unwrap();
        assert_eq!((seal.highest, seal.mark.watermark), (Some(TimestampMs(1_000)), Some(TimestampMs(600))));
        flow.done(a, done(Some(500), 0));
        while flow.pass_on().is_some() {}
        let seal = flow.cut(cut(8, 2)).unwrap();
        assert_eq!((seal.highest, seal.mark.watermark), (Some(TimestampMs(9_000)), Some(TimestampMs(8_600))));
    }

    #[test]
    fn the_last_cut_of_a_drain_waits_until_all_is_passed_on() {
        let mut flow = flow();
        let a = flow.take("a", 1, NextOffset(101), 1);
        assert_eq!(flow.cut(drain(7)), None);
        assert_eq!(flow.drained(), None);
        flow.done(a, done(None, 1));
        assert_eq!(flow.drained(), None, "it is done, but not passed on");
        assert_eq!(flow.pass_on().unwrap().epoch, Epoch(7));
        assert_eq!(flow.drained().unwrap().next, NextOffset(101));
        assert_eq!(flow.drained(), None, "one seal is enough");
    }

    #[test]
    fn a_drain_of_a_partition_with_nothing_out_is_sealed_at_once() {
        assert_eq!(flow().cut(drain(7)).unwrap().next, NextOffset(100));
    }

    #[test]
    fn at_its_end_the_position_is_past_what_is_no_record_but_only_when_all_before_is_passed_on() {
        let mut flow = flow();
        let a = flow.take("a", 1, NextOffset(101), 1);
        flow.at_end(NextOffset(105));
        assert_eq!(flow.cut(cut(7, 1)).unwrap().next, NextOffset(100));
        flow.done(a, done(None, 1));
        flow.pass_on();
        assert_eq!(flow.cut(cut(8, 2)).unwrap().next, NextOffset(105));
    }

    #[test]
    fn records_behind_the_end_make_it_an_end_no_more() {
        let mut flow = flow();
        flow.at_end(NextOffset(105));
        let a = flow.take("a", 1, NextOffset(106), 1);
        flow.done(a, done(None, 1));
        flow.pass_on();
        let seal = flow.cut(cut(7, 30)).unwrap();
        assert_eq!((seal.next, seal.mark.idle), (NextOffset(106), false));
    }

    #[test]
    fn a_silent_partition_at_its_end_is_idle_and_one_that_is_not_read_to_its_end_never_is() {
        let (mut ended, mut open) = (flow(), flow());
        ended.at_end(NextOffset(100));
        assert!(ended.cut(cut(7, 11)).unwrap().mark.idle);
        assert!(!open.cut(cut(7, 11)).unwrap().mark.idle);
    }
}
