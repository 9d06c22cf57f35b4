//! Alignment: where the data of all partitions come together, an epoch is whole once every partition has sealed it.

use crate::{Epoch, PartitionId};

/// Which partitions have sealed the open epoch. A partition sends its seal behind its data of the epoch and before
/// that of the next, and no epoch is cut before the one before it is done; so what comes belongs to the open epoch or,
/// from a partition that has sealed, to the next. Anything else is a fault of the protocol.
#[derive(Debug)]
pub struct Alignment<S> {
    epoch: Epoch,
    seals: Vec<Option<S>>,
    missing: usize,
}

/// When data has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is of the open epoch.
    Now,
    /// It is of the next epoch, and waits for it.
    Early,
}

/// What the protocol does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("epoch {of} of partition {partition} came while epoch {open} is open and {} by that partition",
    if *is_sealed { "sealed" } else { "not sealed" })]
pub struct OutOfTurn {
    /// The epoch of what came.
    pub of: Epoch,
    /// Where it came from.
    pub partition: PartitionId,
    /// The epoch that is open.
    pub open: Epoch,
    /// The partition has sealed the open epoch.
    pub is_sealed: bool,
}

impl<S> Alignment<S> {
    /// Nothing has come of `epoch` yet.
    #[must_use]
    pub fn new(epoch: Epoch, partitions: usize) -> Self {
        Self { epoch, seals: (0..partitions).map(|_| None).collect(), missing: partitions }
    }

    /// The epoch that is open.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When data of an epoch from a partition has its turn.
    ///
    /// # Errors
    /// [`OutOfTurn`] if it is neither of the open epoch before the partition's seal nor of the next behind it.
    pub fn turn(&self, of: Epoch, partition: PartitionId) -> Result<Turn, OutOfTurn> {
        match self.is_sealed(partition) {
            Some(false) if of == self.epoch => Ok(Turn::Now),
            Some(true) if of == self.epoch.next() => Ok(Turn::Early),
            is_sealed => Err(self.out_of_turn(of, partition, is_sealed)),
        }
    }

    /// A partition seals the open epoch; returns whether all have.
    ///
    /// # Errors
    /// [`OutOfTurn`] if the seal is of another epoch, or the partition has sealed it before.
    pub fn seal(&mut self, of: Epoch, partition: PartitionId, seal: S) -> Result<bool, OutOfTurn> {
        match self.is_sealed(partition) {
            Some(false) if of == self.epoch => {
                self.seals[partition.0 as usize] = Some(seal);
                self.missing -= 1;
                Ok(self.is_aligned())
            }
            is_sealed => Err(self.out_of_turn(of, partition, is_sealed)),
        }
    }

    /// Whether all partitions have sealed the open epoch.
    #[must_use]
    pub fn is_aligned(&self) -> bool {
        self.missing == 0
    }

    /// Opens the next epoch and hands over the seals of the one before, by partition; `None` if some are missing.
    pub fn open_next(&mut self) -> Option<Vec<S>> {
        if !self.is_aligned() {
            return None;
        }
        self.epoch = self.epoch.next();
        self.missing = self.seals.len();
        self.seals.iter_mut().map(Option::take).collect()
    }

    fn is_sealed(&self, partition: PartitionId) -> Option<bool> {
        self.seals.get(partition.0 as usize).map(Option::is_some)
    }

    fn out_of_turn(&self, of: Epoch, partition: PartitionId, is_sealed: Option<bool>) -> OutOfTurn {
        OutOfTurn { of, partition, open: self.epoch, is_sealed: is_sealed.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: PartitionId = PartitionId(0);
    const B: PartitionId = PartitionId(1);

    fn open() -> Alignment<char> {
        Alignment::new(Epoch(7), 2)
    }

    #[test]
    fn an_epoch_is_whole_when_every_partition_has_sealed_it() {
        let mut alignment = open();
        assert_eq!(alignment.open_next(), None);
        assert!(!alignment.seal(Epoch(7), B, 'b').unwrap());
        assert_eq!(alignment.open_next(), None);
        assert!(alignment.seal(Epoch(7), A, 'a').unwrap());
        assert_eq!(alignment.open_next(), Some(vec!['a', 'b']));
        assert_eq!((alignment.epoch(), alignment.is_aligned()), (Epoch(8), false));
    }

    #[test]
    fn data_of_the_next_epoch_waits_and_only_behind_its_partitions_seal() {
        let mut alignment = open();
        assert_eq!(alignment.turn(Epoch(7), A), Ok(Turn::Now));
        assert!(alignment.turn(Epoch(8), A).is_err());
        alignment.seal(Epoch(7), A, 'a').unwrap();
        assert_eq!(alignment.turn(Epoch(8), A), Ok(Turn::Early));
        assert_eq!(alignment.turn(Epoch(7), B), Ok(Turn::Now));
        alignment.seal(Epoch(7), B, 'b').unwrap();
        alignment.open_next().unwrap();
        assert_eq!(alignment.turn(Epoch(8), A), Ok(Turn::Now));
    }

    #[test]
    fn data_behind_the_seal_of_its_own_epoch_is_a_fault() {
        let mut alignment = open();
        alignment.seal(Epoch(7), A, 'a').unwrap();
        let fault = alignment.turn(Epoch(7), A).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "epoch 7 of partition 0 came while epoch 7 is open and sealed by that partition"
        );
    }

    #[test]
    fn an_epoch_that_is_neither_open_nor_next_is_a_fault() {
        let mut alignment = open();
        alignment.seal(Epoch(7), A, 'a').unwrap();
        for of in [0, 6, 9] {
            for partition in [A, B] {
                assert!(alignment.turn(Epoch(of), partition).is_err(), "{of}");
                assert!(alignment.seal(Epoch(of), partition, 'x').is_err(), "{of}");
            }
        }
    }

    #[test]
    fn a_second_seal_and_a_partition_that_is_not_there_are_faults() {
        let mut alignment = open();
        alignment.seal(Epoch(7), A, 'a').unwrap();
        assert!(alignment.seal(Epoch(7), A, 'x').is_err());
        assert!(alignment.seal(Epoch(7), PartitionId(2), 'x').is_err());
        assert!(alignment.turn(Epoch(7), PartitionId(2)).is_err());
        assert!(alignment.seal(Epoch(7), B, 'b').unwrap());
        assert_eq!(alignment.open_next(), Some(vec!['a', 'b']));
    }
}
