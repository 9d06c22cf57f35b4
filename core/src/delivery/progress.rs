//! How far a sink has come in each partition: what is delivered for good, whatever was delivered meanwhile out of order.

use std::collections::BTreeMap;

use crate::{NextOffset, PartitionId};

/// Positions of the partitions that a sink reads.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    partitions: BTreeMap<PartitionId, Partition>,
}

#[derive(Debug, Clone)]
struct Partition {
    /// All before it is delivered.
    delivered: NextOffset,
    /// What is on its way or delivered, by its first offset: where it ends, and whether it is delivered.
    pieces: BTreeMap<NextOffset, (NextOffset, bool)>,
    /// As it was kept last.
    kept: NextOffset,
}

impl Progress {
    /// A partition is read from `next` on.
    pub fn assigned(&mut self, partition: PartitionId, next: NextOffset) {
        let new = Partition { delivered: next, pieces: BTreeMap::new(), kept: next };
        self.partitions.insert(partition, new);
    }

    /// A partition is another member's now; what comes back for it later counts no more.
    pub fn revoked(&mut self, partition: PartitionId) {
        self.partitions.remove(&partition);
    }

    /// Whether a partition is read.
    #[must_use]
    pub fn has(&self, partition: PartitionId) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// Records from `first` up to `next` of a partition are on their way.
    pub fn sent(&mut self, partition: PartitionId, first: NextOffset, next: NextOffset) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.pieces.insert(first, (next, false));
        }
    }

    /// The records from `first` on that were sent at once are delivered, or dealt with.
    pub fn delivered(&mut self, partition: PartitionId, first: NextOffset) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        if let Some((_, is_delivered)) = state.pieces.get_mut(&first) {
            *is_delivered = true;
        }
        while let Some(entry) = state.pieces.first_entry()
            && let (next, true) = *entry.get()
        {
            state.delivered = next;
            entry.remove();
        }
    }

    /// Up to where all of a partition is delivered.
    #[must_use]
    pub fn position(&self, partition: PartitionId) -> Option<NextOffset> {
        self.partitions.get(&partition).map(|state| state.delivered)
    }

    /// Positions that moved since they were last kept.
    #[must_use]
    pub fn to_keep(&self) -> Vec<(PartitionId, NextOffset)> {
        let moved = self.partitions.iter().filter(|(_, state)| state.delivered != state.kept);
        moved.map(|(partition, state)| (*partition, state.delivered)).collect()
    }

    /// These positions are kept.
    pub fn kept(&mut self, positions: &[(PartitionId, NextOffset)]) {
        for (partition, next) in positions {
            if let Some(state) = self.partitions.get_mut(partition) {
                state.kept = *next;
            }
        }
    }

    /// Whether nothing of a partition is on its way.
    #[must_use]
    pub fn is_settled(&self, partition: PartitionId) -> bool {
        self.partitions.get(&partition).is_none_or(|state| state.pieces.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(3);

    fn at(offset: i64) -> NextOffset {
        NextOffset(offset)
    }

    /// Reads from 10 on; 10 to 14, 15 to 19 and 20 to 24 are on their way.
    fn three_on_their_way() -> Progress {
        let mut progress = Progress::default();
        progress.assigned(P, at(10));
        for first in [10, 15, 20] {
            progress.sent(P, at(first), at(first + 5));
        }
        progress
    }

    #[test]
    fn a_position_moves_to_where_all_before_it_is_delivered() {
        let mut progress = three_on_their_way();
        progress.delivered(P, at(15));
        assert_eq!(progress.position(P), Some(at(10)));
        progress.delivered(P, at(10));
        assert_eq!(progress.position(P), Some(at(20)));
        assert!(!progress.is_settled(P));
        progress.delivered(P, at(20));
        assert_eq!((progress.position(P), progress.is_settled(P)), (Some(at(25)), true));
    }

    #[test]
    fn a_position_is_to_be_kept_once_it_moved() {
        let mut progress = three_on_their_way();
        assert_eq!(progress.to_keep(), []);
        progress.delivered(P, at(10));
        assert_eq!(progress.to_keep(), [(P, at(15))]);
        progress.kept(&[(P, at(15))]);
        assert_eq!(progress.to_keep(), []);
    }

    #[test]
    fn what_comes_back_for_a_partition_that_is_gone_counts_no_more() {
        let mut progress = three_on_their_way();
        progress.revoked(P);
        progress.delivered(P, at(10));
        assert_eq!((progress.position(P), progress.to_keep()), (None, vec![]));
        progress.assigned(P, at(12));
        progress.delivered(P, at(10));
        assert_eq!(progress.position(P), Some(at(12)));
    }
}
