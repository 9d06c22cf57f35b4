//! Which records of a refused batch are to blame: it is halved until each stands alone. The same idea as for records
//! that kill their workers.

use std::{collections::VecDeque, ops::Range};

/// A batch whose destination refuses some of it. Parts are sent in order, one at a time, so that records of one batch
/// never overtake each other.
#[derive(Debug, Clone)]
pub struct Blame {
    parts: VecDeque<Range<usize>>,
    rejected: Vec<usize>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send these records.
    Send(Range<usize>),
    /// All that can be delivered is; these records are refused for good, in order.
    Done {
        /// Indices in the batch.
        rejected: Vec<usize>,
    },
}

impl Blame {
    /// A batch of so many records, of which nothing is sent yet.
    #[must_use]
    pub fn new(records: usize) -> Self {
        let whole = Some(0..records).filter(|whole| !whole.is_empty());
        Self { parts: whole.into_iter().collect(), rejected: Vec::new() }
    }

    /// What to do next; the same until an answer is known.
    #[must_use]
    pub fn next(&self) -> Next {
        match self.parts.front() {
            Some(part) => Next::Send(part.clone()),
            None => Next::Done { rejected: self.rejected.clone() },
        }
    }

    /// The part was delivered.
    pub fn delivered(&mut self) {
        self.parts.pop_front();
    }

    /// The destination refuses the part for a record in it. Halves go one by one; a record alone is rejected.
    pub fn refused(&mut self) {
        let Some(part) = self.parts.pop_front() else { return };
        if part.len() == 1 {
            self.rejected.push(part.start);
            return;
        }
        let middle = part.start + part.len() / 2;
        self.parts.push_front(middle..part.end);
        self.parts.push_front(part.start..middle);
    }

    /// The destination says itself which records of the part it refuses for good, and took the others.
    pub fn refused_these(&mut self, records: &[usize]) {
        self.parts.pop_front();
        self.rejected.extend_from_slice(records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers to a destination that refuses what holds one of `bad`; returns what was delivered, in order, what was
    /// rejected, and the number of calls.
    fn deliver(records: usize, bad: &[usize]) -> (Vec<usize>, Vec<usize>, usize) {
        let mut blame = Blame::new(records);
        let (mut delivered, mut calls) = (Vec::new(), 0);
        loop {
            match blame.next() {
                Next::Done { rejected } => return (delivered, rejected, calls),
                Next::Send(part) => {
                    calls += 1;
                    if bad.iter().any(|bad| part.contains(bad)) {
                        blame.refused();
                    } else {
                        delivered.extend(part);
                        blame.delivered();
                    }
                }
            }
        }
    }

    #[test]
    fn a_batch_that_is_taken_is_sent_once() {
        assert_eq!(deliver(1_000, &[]), ((0..1_000).collect(), vec![], 1));
        assert_eq!(deliver(0, &[]), (vec![], vec![], 0));
    }

    #[test]
    fn every_bad_record_is_found_and_all_others_are_delivered_in_order() {
        let bad = [0, 17, 18, 999];
        let (delivered, rejected, calls) = deliver(1_000, &bad);
        assert_eq!(rejected, bad);
        assert_eq!(delivered, (0..1_000).filter(|record| !bad.contains(record)).collect::<Vec<_>>());
        assert!(calls < 80, "{calls} calls");
    }

    #[test]
    fn a_batch_of_nothing_but_bad_records_ends_too() {
        assert_eq!(deliver(5, &[0, 1, 2, 3, 4]).1, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_destination_that_names_what_it_refuses_spares_the_search() {
        let mut blame = Blame::new(10);
        blame.refused_these(&[3, 7]);
        assert_eq!(blame.next(), Next::Done { rejected: vec![3, 7] });
    }
}
