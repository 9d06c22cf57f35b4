//! Input records whose output a topic refused, and what is done with them the next time.

use std::collections::BTreeMap;

use crate::{NextOffset, PartitionId};

/// Records that are remembered; what is refused beyond that is refused, and remembered, once more later.
const MAX_RECORDS: usize = 100_000;

/// What is done with a record whose output was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It goes to the dead letters.
    DeadLetter,
    /// The dead letters refused it too: it goes there without all that a topic could dislike.
    BareDeadLetter,
}

/// The records that were refused and are not behind us yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedRecords {
    records: BTreeMap<(PartitionId, i64), (Remedy, String)>,
}

impl RefusedRecords {
    /// Whether nothing was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What to do with the record at `offset`, and why.
    #[must_use]
    pub fn remedy(&self, partition: PartitionId, offset: i64) -> Option<(Remedy, &str)> {
        if self.records.is_empty() {
            return None;
        }
        self.records.get(&(partition, offset)).map(|(remedy, cause)| (*remedy, cause.as_str()))
    }

    /// Takes note of a record that was refused, by the dead letters or by another topic.
    pub fn add(&mut self, partition: PartitionId, offset: i64, by_dead_letters: bool, cause: &str) {
        let remedy = if by_dead_letters { Remedy::BareDeadLetter } else { Remedy::DeadLetter };
        if let Some((known, _)) = self.records.get_mut(&(partition, offset)) {
            if by_dead_letters {
                *known = remedy;
            }
        } else if self.records.len() < MAX_RECORDS {
            self.records.insert((partition, offset), (remedy, cause.to_owned()));
        }
    }

    /// Forgets records that are committed: before `next`, by partition.
    pub fn forget(&mut self, next: &[NextOffset]) {
        self.records.retain(|(partition, offset), _| {
            next.get(partition.0 as usize).is_none_or(|next| *offset >= next.0)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(1);

    #[test]
    fn a_refused_record_becomes_a_dead_letter_and_a_bare_one_if_the_dead_letters_refuse_it_too() {
        let mut refused = RefusedRecords::default();
        refused.add(P, 7, false, "too old");
        assert_eq!(refused.remedy(P, 7), Some((Remedy::DeadLetter, "too old")));
        refused.add(P, 7, true, "still too old");
        assert_eq!(refused.remedy(P, 7), Some((Remedy::BareDeadLetter, "too old")));
        refused.add(P, 7, false, "too old");
        assert_eq!(refused.remedy(P, 7), Some((Remedy::BareDeadLetter, "too old")));
        assert_eq!((refused.remedy(P, 8), refused.remedy(PartitionId(0), 7)), (None, None));
    }

    #[test]
    fn a_record_that_is_no_event_and_refused_by_the_dead_letters_is_bare_at_once() {
        let mut refused = RefusedRecords::default();
        refused.add(P, 7, true, "too old");
        assert_eq!(refused.remedy(P, 7), Some((Remedy::BareDeadLetter, "too old")));
    }

    #[test]
    fn what_is_committed_is_forgotten() {
        let mut refused = RefusedRecords::default();
        refused.add(P, 7, false, "a");
        refused.add(P, 8, false, "b");
        refused.forget(&[NextOffset(100), NextOffset(8)]);
        assert_eq!((refused.remedy(P, 7), refused.remedy(P, 8).is_some()), (None, true));
        refused.forget(&[NextOffset(0), NextOffset(9)]);
        assert!(refused.is_empty());
    }
}
