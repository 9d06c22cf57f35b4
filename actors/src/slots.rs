//! Order after parallel work: batches leave in the order they came, however their pieces come back.

use std::{collections::VecDeque, sync::Arc};

use tidegate_log::RecordBatch;
use tidegate_telemetry::{Parent, Span};

use crate::job::{PieceId, Processed};

/// What to do with a piece that came back lost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Give these pieces out (again).
    Send(Vec<PieceId>),
    /// The piece is one record that killed its workers: it is poisonous.
    Poison(PieceId),
}

/// The batches of a partition that are in the pools, oldest first.
#[derive(Default)]
pub(crate) struct Slots {
    first: u64,
    slots: VecDeque<Slot>,
}

struct Slot {
    batch: Arc<RecordBatch>,
    span: Span,
    pieces: Vec<Piece>,
}

struct Piece {
    id: PieceId,
    /// Workers that died over it.
    deaths: u32,
    done: Option<Processed>,
}

/// A batch of which all is done.
pub(crate) struct Finished {
    pub(crate) batch: Arc<RecordBatch>,
    pub(crate) span: Span,
    /// Its pieces in record order.
    pub(crate) pieces: Vec<Processed>,
}

impl Slots {
    /// Takes a batch and its span in, and returns the piece to give out: all of it.
    pub(crate) fn push(&mut self, batch: Arc<RecordBatch>, span: Span) -> PieceId {
        let id = PieceId {
            batch: self.first + self.slots.len() as u64,
            first: 0,
            end: batch.records.len() as u32,
        };
        self.slots.push_back(Slot { batch, span, pieces: vec![Piece { id, deaths: 0, done: None }] });
        id
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The batch of a piece that is still out, and where its spans belong.
    pub(crate) fn batch(&self, id: PieceId) -> Option<(&Arc<RecordBatch>, Parent)> {
        let index = usize::try_from(id.batch.checked_sub(self.first)?).ok()?;
        self.slots.get(index).map(|slot| (&slot.batch, slot.span.parent()))
    }

    /// A piece is done. One that is not out (any more) is ignored.
    pub(crate) fn done(&mut self, id: PieceId, processed: Processed) {
        if let Some(piece) = self.piece(id) {
            piece.done = Some(processed);
        }
    }

    /// A piece is lost: one that was only waiting goes out again as it is; one that a worker died over is
    /// tried once more, then halved until the poisonous record stands alone.
    pub(crate) fn lost(&mut self, id: PieceId, blamed: bool) -> Retry {
        let Some(piece) = self.piece(id) else { return Retry::Send(Vec::new()) };
        if !blamed {
            return Retry::Send(vec![id]);
        }
        piece.deaths += 1;
        if piece.deaths == 1 {
            return Retry::Send(vec![id]);
        }
        if id.end - id.first == 1 {
            return Retry::Poison(id);
        }
        Retry::Send(self.halve(id))
    }

    /// Whether no worker has died over any other piece of this batch, so that a new culprit is met.
    pub(crate) fn is_first_death(&self, id: PieceId) -> bool {
        let index = id.batch.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let slot = index.and_then(|index| self.slots.get(index));
        slot.is_some_and(|slot| slot.pieces.len() == 1 && slot.pieces[0].deaths == 0)
    }

    /// The oldest batch, if all of it is done.
    pub(crate) fn pop(&mut self) -> Option<Finished> {
        if !self.slots.front()?.pieces.iter().all(|piece| piece.done.is_some()) {
            return None;
        }
        let slot = self.slots.pop_front()?;
        self.first += 1;
        let pieces = slot.pieces.into_iter().filter_map(|piece| piece.done).collect();
        Some(Finished { batch: slot.batch, span: slot.span, pieces })
    }

    /// Splits a piece; halves of a piece that killed twice have one death each on their account.
    fn halve(&mut self, id: PieceId) -> Vec<PieceId> {
        let middle = id.first + (id.end - id.first) / 2;
        let halves = [PieceId { end: middle, ..id }, PieceId { first: middle, ..id }];
        if let Some((pieces, at)) = self.find(id) {
            pieces.splice(at..=at, halves.map(|id| Piece { id, deaths: 1, done: None }));
        }
        halves.to_vec()
    }

    fn piece(&mut self, id: PieceId) -> Option<&mut Piece> {
        self.find(id).map(|(pieces, at)| &mut pieces[at])
    }

    fn find(&mut self, id: PieceId) -> Option<(&mut Vec<Piece>, usize)> {
        let index = usize::try_from(id.batch.checked_sub(self.first)?).ok()?;
        let pieces = &mut self.slots.get_mut(index)?.pieces;
        let at = pieces.iter().position(|piece| piece.id == id && piece.done.is_none())?;
        Some((pieces, at))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{PartitionId, TimestampMs};
    use tidegate_log::{OutputBatch, RecordMeta};

    use super::*;
    use crate::tally::Tally;

    fn batch(records: usize) -> Arc<RecordBatch> {
        let record = RecordMeta {
            offset: 0,
            timestamp: TimestampMs(0),
            key: None,
            value: None,
            headers: tidegate_log::Span::EMPTY,
        };
        Arc::new(RecordBatch { partition: PartitionId(0), arena: Vec::new(), records: vec![record; records] })
    }

    fn processed(forwarded: u64) -> Processed {
        Processed {
            output: OutputBatch::default(),
            counted: Vec::new(),
            tally: Tally { forwarded, ..Tally::default() },
            highest: None,
        }
    }

    #[test]
    fn batches_leave_in_the_order_they_came() {
        let mut slots = Slots::default();
        let ids: Vec<_> = (1..4).map(|records| slots.push(batch(records), Span::default())).collect();
        slots.done(ids[2], processed(3));
        slots.done(ids[1], processed(2));
        assert!(slots.pop().is_none());
        slots.done(ids[0], processed(1));
        let sizes: Vec<_> = std::iter::from_fn(|| slots.pop()).map(|f| f.batch.records.len()).collect();
        assert_eq!(sizes, [1, 2, 3]);
        assert!(slots.is_empty());
    }

    #[test]
    fn a_piece_that_was_only_waiting_goes_out_again_without_blame() {
        let mut slots = Slots::default();
        let id = slots.push(batch(8), Span::default());
        for _ in 0..5 {
            assert_eq!(slots.lost(id, false), Retry::Send(vec![id]));
        }
    }

    #[test]
    fn halving_finds_every_poisonous_record_and_spares_its_neighbours() {
        let poisonous = [3, 4, 700];
        let mut slots = Slots::default();
        let mut out = vec![slots.push(batch(1000), Span::default())];
        let (mut poisoned, mut deaths) = (Vec::new(), 0);
        while let Some(id) = out.pop() {
            if !poisonous.iter().any(|record| (id.first..id.end).contains(record)) {
                slots.done(id, processed(u64::from(id.end - id.first)));
                continue;
            }
            deaths += 1;
            match slots.lost(id, true) {
                Retry::Send(pieces) => out.extend(pieces),
                Retry::Poison(id) => {
                    poisoned.push(id.first);
                    slots.done(id, processed(0));
                }
            }
        }
        poisoned.sort_unstable();
        assert_eq!(poisoned, poisonous);
        assert!(deaths < 40, "{deaths} workers died");
        let finished = slots.pop().expect("all is done");
        assert_eq!(finished.pieces.iter().map(|piece| piece.tally.forwarded).sum::<u64>(), 997);
    }

    #[test]
    fn an_answer_for_a_piece_that_is_not_out_is_ignored() {
        let mut slots = Slots::default();
        let id = slots.push(batch(2), Span::default());
        slots.done(id, processed(2));
        slots.done(id, processed(9));
        assert_eq!(slots.lost(id, true), Retry::Send(Vec::new()));
        assert_eq!(slots.pop().map(|f| f.pieces[0].tally.forwarded), Some(2));
        slots.done(id, processed(9));
        assert!(slots.pop().is_none());
    }
}
