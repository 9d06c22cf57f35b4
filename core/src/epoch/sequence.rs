//! Order after parallel work: batches leave in the order they came, however their pieces come back; and of a batch that
//! kills its workers the records that do it are found by halving.

use std::{collections::VecDeque, ops::Range};

/// Names a run of records of one batch that was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceId {
    /// Number of the batch, in order per partition.
    pub batch: u64,
    /// First record of the piece.
    pub first: u32,
    /// One past its last record.
    pub end: u32,
}

impl PieceId {
    /// Its records' indices in the batch.
    #[must_use]
    pub fn records(self) -> Range<usize> {
        self.first as usize..self.end as usize
    }
}

/// What to do with a piece that came back lost.
#[derive(Debug, PartialEq, Eq)]
pub enum Retry {
    /// Give these pieces out (again).
    Send(Vec<PieceId>),
    /// The piece is one record that killed its workers: it is poisonous.
    Poison(PieceId),
}

/// The batches of a partition that are being worked on, oldest first. `T` is a batch, `D` what has come of a piece.
#[derive(Debug)]
pub struct Sequence<T, D> {
    first: u64,
    slots: VecDeque<Slot<T, D>>,
}

#[derive(Debug)]
struct Slot<T, D> {
    batch: T,
    pieces: Vec<Piece<D>>,
}

#[derive(Debug)]
struct Piece<D> {
    id: PieceId,
    /// Workers that died over it.
    deaths: u32,
    done: Option<D>,
}

impl<T, D> Default for Sequence<T, D> {
    fn default() -> Self {
        Self { first: 0, slots: VecDeque::new() }
    }
}

impl<T, D> Sequence<T, D> {
    /// Takes in a batch of so many records, and returns the piece to give out: all of it.
    pub fn push(&mut self, batch: T, records: u32) -> PieceId {
        let id = PieceId { batch: self.first + self.slots.len() as u64, first: 0, end: records };
        self.slots.push_back(Slot { batch, pieces: vec![Piece { id, deaths: 0, done: None }] });
        id
    }

    /// Whether nothing is being worked on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The batch of a piece that is still out.
    #[must_use]
    pub fn batch(&self, id: PieceId) -> Option<&T> {
        self.slots.get(self.index(id)?).map(|slot| &slot.batch)
    }

    /// A piece is done. One that is not out (any more) is ignored.
    pub fn done(&mut self, id: PieceId, done: D) {
        if let Some((pieces, at)) = self.find(id) {
            pieces[at].done = Some(done);
        }
    }

    /// A piece is lost: one that was only waiting goes out again as it is; one that a worker died over is
    /// tried once more, then halved until the poisonous record stands alone.
    pub fn lost(&mut self, id: PieceId, is_blamed: bool) -> Retry {
        let Some((pieces, at)) = self.find(id) else { return Retry::Send(Vec::new()) };
        if !is_blamed {
            return Retry::Send(vec![id]);
        }
        pieces[at].deaths += 1;
        if pieces[at].deaths == 1 {
            return Retry::Send(vec![id]);
        }
        if id.end - id.first == 1 {
            return Retry::Poison(id);
        }
        Retry::Send(self.halve(id))
    }

    /// Whether no worker has died over any other piece of this batch, so that a new culprit is met.
    #[must_use]
    pub fn is_first_death(&self, id: PieceId) -> bool {
        let slot = self.index(id).and_then(|index| self.slots.get(index));
        slot.is_some_and(|slot| slot.pieces.len() == 1 && slot.pieces[0].deaths == 0)
    }

    /// The oldest batch and what has come of its pieces in record order, if all of it is done.
    pub fn pop(&mut self) -> Option<(T, Vec<D>)> {
        if !self.slots.front()?.pieces.iter().all(|piece| piece.done.is_some()) {
            return None;
        }
        let slot = self.slots.pop_front()?;
        self.first += 1;
        Some((slot.batch, slot.pieces.into_iter().filter_map(|piece| piece.done).collect()))
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

    fn find(&mut self, id: PieceId) -> Option<(&mut Vec<Piece<D>>, usize)> {
        let index = self.index(id)?;
        let pieces = &mut self.slots.get_mut(index)?.pieces;
        let at = pieces.iter().position(|piece| piece.id == id && piece.done.is_none())?;
        Some((pieces, at))
    }

    fn index(&self, id: PieceId) -> Option<usize> {
        usize::try_from(id.batch.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_leave_in_the_order_they_came() {
        let mut sequence = Sequence::default();
        let ids: Vec<_> = [(1, 'a'), (2, 'b'), (3, 'c')].map(|(len, name)| sequence.push(name, len)).into();
        sequence.done(ids[2], ());
        sequence.done(ids[1], ());
        assert!(sequence.pop().is_none());
        sequence.done(ids[0], ());
        let left: String = std::iter::from_fn(|| sequence.pop()).map(|(batch, _)| batch).collect();
        assert_eq!(left, "abc");
        assert!(sequence.is_empty());
    }

    #[test]
    fn a_piece_that_was_only_waiting_goes_out_again_without_blame() {
        let mut sequence = Sequence::<_, ()>::default();
        let id = sequence.push('a', 8);
        for _ in 0..5 {
            assert_eq!(sequence.lost(id, false), Retry::Send(vec![id]));
        }
        assert!(sequence.is_first_death(id));
    }

    #[test]
    fn halving_finds_every_poisonous_record_and_spares_its_neighbours() {
        let poisonous = [3, 4, 700];
        let mut sequence = Sequence::default();
        let mut out = vec![sequence.push('a', 1000)];
        let (mut poisoned, mut deaths) = (Vec::new(), 0);
        while let Some(id) = out.pop() {
            if !poisonous.iter().any(|record| (id.first..id.end).contains(record)) {
                sequence.done(id, id.end - id.first);
                continue;
            }
            deaths += 1;
            match sequence.lost(id, true) {
                Retry::Send(pieces) => out.extend(pieces),
                Retry::Poison(id) => {
                    poisoned.push(id.first);
                    sequence.done(id, 0);
                }
            }
        }
        poisoned.sort_unstable();
        assert_eq!(poisoned, poisonous);
        assert!(deaths < 40, "{deaths} workers died");
        let (_, pieces) = sequence.pop().expect("all is done");
        assert_eq!(pieces.iter().sum::<u32>(), 997);
    }

    #[test]
    fn what_has_come_of_a_batch_is_in_record_order_though_its_pieces_came_back_otherwise() {
        let mut sequence = Sequence::default();
        let whole = sequence.push('a', 4);
        sequence.lost(whole, true);
        let Retry::Send(halves) = sequence.lost(whole, true) else { panic!("it is halved") };
        for half in halves.into_iter().rev() {
            sequence.done(half, half.first);
        }
        assert_eq!(sequence.pop(), Some(('a', vec![0, 2])));
    }

    #[test]
    fn an_answer_for_a_piece_that_is_not_out_is_ignored() {
        let mut sequence = Sequence::default();
        let id = sequence.push('a', 2);
        sequence.done(id, 2);
        sequence.done(id, 9);
        assert_eq!(sequence.lost(id, true), Retry::Send(Vec::new()));
        assert_eq!(sequence.pop(), Some(('a', vec![2])));
        sequence.done(id, 9);
        assert!(sequence.pop().is_none());
    }
}
