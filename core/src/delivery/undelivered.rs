//! What of a batch is still to be delivered. A batch that is refused is halved until the record to blame stands alone: the
//! same idea as for records that kill their workers.

use std::collections::VecDeque;

/// Records of a batch, by their index, that are not delivered yet. Parts are sent in order, one at a time, so that records
/// of one batch never overtake each other.
#[derive(Debug, Clone)]
pub struct Undelivered {
    parts: VecDeque<Vec<usize>>,
}

impl Undelivered {
    /// None of these is delivered yet.
    #[must_use]
    pub fn new(records: Vec<usize>) -> Self {
        let whole = Some(records).filter(|records| !records.is_empty());
        Self { parts: whole.into_iter().collect() }
    }

    /// What to send next; `None` once all is delivered or dealt with. The same until an answer is known.
    #[must_use]
    pub fn next(&self) -> Option<&[usize]> {
        self.parts.front().map(Vec::as_slice)
    }

    /// The part was delivered, or dealt with otherwise.
    pub fn settled(&mut self) {
        self.parts.pop_front();
    }

    /// The destination refuses the part for a record in it. Halves go one by one; a record that was alone is returned: it
    /// is the one to blame, and to be dealt with before anything else is sent.
    pub fn refused(&mut self) -> Option<usize> {
        let mut part = self.parts.pop_front()?;
        if let [record] = part[..] {
            return Some(record);
        }
        let second = part.split_off(part.len() / 2);
        self.parts.push_front(second);
        self.parts.push_front(part);
        None
    }

    /// Of the part these are to be sent again; the others are delivered or dealt with.
    pub fn again(&mut self, records: Vec<usize>) {
        self.parts.pop_front();
        if !records.is_empty() {
            self.parts.push_front(records);
        }
    }

    /// Only these are still this sink's to deliver.
    pub fn retain(&mut self, mut is_ours: impl FnMut(usize) -> bool) {
        for part in &mut self.parts {
            part.retain(|record| is_ours(*record));
        }
        self.parts.retain(|part| !part.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers to a destination that refuses what holds one of `bad`; returns what was delivered, in order, what was
    /// refused, and the number of calls.
    fn deliver(records: usize, bad: &[usize]) -> (Vec<usize>, Vec<usize>, usize) {
        let mut undelivered = Undelivered::new((0..records).collect());
        let (mut delivered, mut refused, mut calls) = (Vec::new(), Vec::new(), 0);
        while let Some(part) = undelivered.next() {
            calls += 1;
            if bad.iter().any(|bad| part.contains(bad)) {
                refused.extend(undelivered.refused());
            } else {
                delivered.extend_from_slice(part);
                undelivered.settled();
            }
        }
        (delivered, refused, calls)
    }

    #[test]
    fn a_batch_that_is_taken_is_sent_once() {
        assert_eq!(deliver(1_000, &[]), ((0..1_000).collect(), vec![], 1));
        assert_eq!(deliver(0, &[]), (vec![], vec![], 0));
    }

    #[test]
    fn every_bad_record_is_found_and_all_others_are_delivered_in_order() {
        let bad = [0, 17, 18, 999];
        let (delivered, refused, calls) = deliver(1_000, &bad);
        assert_eq!(refused, bad);
        assert_eq!(delivered, (0..1_000).filter(|record| !bad.contains(record)).collect::<Vec<_>>());
        assert!(calls < 80, "{calls} calls");
    }

    #[test]
    fn a_batch_of_nothing_but_bad_records_ends_too() {
        assert_eq!(deliver(5, &[0, 1, 2, 3, 4]).1, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_is_to_be_sent_again_goes_before_the_rest() {
        let mut undelivered = Undelivered::new((0..4).collect());
        assert_eq!(undelivered.refused(), None);
        undelivered.again(vec![1]);
        assert_eq!(undelivered.next(), Some(&[1][..]));
        undelivered.settled();
        assert_eq!(undelivered.next(), Some(&[2, 3][..]));
    }

    #[test]
    fn what_is_somebody_elses_is_sent_no_more() {
        let mut undelivered = Undelivered::new((0..6).collect());
        undelivered.retain(|record| record % 2 == 1);
        assert_eq!(undelivered.next(), Some(&[1, 3, 5][..]));
        undelivered.retain(|_| false);
        assert_eq!(undelivered.next(), None);
    }
}
