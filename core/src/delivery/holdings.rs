//! Which partitions are a sink's, and whether something read of one still is: a partition may have gone and come back
//! meanwhile, and is then read again from where it was kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::PartitionId;

/// The partitions that a sink has, each with the number of the assignment that brought it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(BTreeMap<PartitionId, u64>);

impl Held {
    /// Whether the sink has a partition.
    #[must_use]
    pub fn has(&self, partition: PartitionId) -> bool {
        self.0.contains_key(&partition)
    }

    /// Whether the sink has had a partition ever since the assignment of this number.
    #[must_use]
    pub fn has_since(&self, partition: PartitionId, assignment: u64) -> bool {
        self.0.get(&partition).is_some_and(|brought_by| *brought_by <= assignment)
    }

    /// All of them.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.0.keys().copied()
    }
}

/// What a sink has, and had.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    held: Held,
    /// The last assignment that brought each partition, also of those that are gone.
    brought_by: BTreeMap<PartitionId, u64>,
    last: u64,
}

impl Holdings {
    /// The group gives partitions to the sink.
    pub fn assigned(&mut self, partitions: impl IntoIterator<Item = PartitionId>) {
        self.last += 1;
        for partition in partitions {
            self.held.0.insert(partition, self.last);
            self.brought_by.insert(partition, self.last);
        }
    }

    /// Partitions are somebody else's, or soon will be.
    pub fn gone(&mut self, partitions: &BTreeSet<PartitionId>) {
        self.held.0.retain(|partition, _| !partitions.contains(partition));
    }

    /// What it has.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Number of the last assignment: what is read now bears it.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether a delivery of what was read under this number still counts: the partition did not come back since. It may
    /// be on its way to somebody else, who is told of the delivery by the position that is kept.
    #[must_use]
    pub fn counts(&self, partition: PartitionId, assignment: u64) -> bool {
        self.brought_by.get(&partition).is_some_and(|brought_by| *brought_by <= assignment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(1);
    const Q: PartitionId = PartitionId(2);

    #[test]
    fn what_was_read_of_a_partition_counts_until_the_partition_comes_back() {
        let mut holdings = Holdings::default();
        holdings.assigned([P, Q]);
        let read = holdings.last();
        assert!(holdings.held().has_since(P, read) && holdings.counts(P, read));
        holdings.gone(&[P].into());
        assert!(!holdings.held().has(P), "nothing more of it is begun");
        assert!(holdings.counts(P, read), "but what was under way is delivered");
        holdings.assigned([P]);
        assert!(!holdings.held().has_since(P, read) && !holdings.counts(P, read));
        assert!(holdings.held().has_since(Q, read), "others are not touched");
    }
}
