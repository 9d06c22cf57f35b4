//! Alignment: where the data of all partitions come together, an epoch is whole once every partition has sealed it.

use std::mem;

use crate::{Epoch, PartitionId};

/// Which partitions have sealed the open epoch, and the data of the next that waits for it. A partition sends its seal
/// behind its data of the epoch and before that of the next, and no epoch is cut before the one before it is done; so
/// what comes belongs to the open epoch or, from a partition that has sealed, to the next. Anything else is a fault of
/// the protocol. `S` is what a partition seals with, `E` data.
#[derive(Debug)]
pub struct Alignment<S, E> {
    epoch: Epoch,
    seals: Vec<Option<S>>,
    missing: usize,
    early: Vec<E>,
}

/// An epoch that all partitions have sealed.
#[derive(Debug, PartialEq, Eq)]
pub struct Aligned<S, E> {
    /// The epoch.
    pub epoch: Epoch,
    /// By partition.
    pub seals: Vec<S>,
    /// Data of the next epoch, which is open now, in the order it came.
    pub early: Vec<E>,
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

impl<S, E> Alignment<S, E> {
    /// Nothing has come of `epoch` yet.
    #[must_use]
    pub fn new(epoch: Epoch, partitions: usize) -> Self {
        let seals = (0..partitions).map(|_| None).collect();
        Self { epoch, seals, missing: partitions, early: Vec::new() }
    }

    /// The epoch that is open.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Data of an epoch came from a partition: it comes back if it is of the open epoch, and waits if it is of the next.
    ///
    /// # Errors
    /// [`OutOfTurn`] if it is neither of the open epoch before the partition's seal nor of the next behind it.
    pub fn admit(&mut self, of: Epoch, partition: PartitionId, data: E) -> Result<Option<E>, OutOfTurn> {
        match self.is_sealed(partition) {
            Some(false) if of == self.epoch => Ok(Some(data)),
            Some(true) if of == self.epoch.next() => {
                self.early.push(data);
                Ok(None)
            }
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

    /// Opens the next epoch and hands over the one before; `None` if some partitions have not sealed it.
    pub fn open_next(&mut self) -> Option<Aligned<S, E>> {
        if !self.is_aligned() {
            return None;
        }
        let epoch = self.epoch;
        self.epoch = epoch.next();
        self.missing = self.seals.len();
        let seals = self.seals.iter_mut().map(Option::take).collect::<Option<_>>()?;
        Some(Aligned { epoch, seals, early: mem::take(&mut self.early) })
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

    fn open() -> Alignment<char, &'static str> {
        Alignment::new(Epoch(7), 2)
    }

    fn aligned(epoch: u64, seals: [char; 2], early: &[&'static str]) -> Aligned<char, &'static str> {
        Aligned { epoch: Epoch(epoch), seals: seals.into(), early: early.to_vec() }
    }

    #[test]
    fn an_epoch_is_whole_when_every_partition_has_sealed_it() {
        let mut alignment = open();
        assert_eq!(alignment.open_next(), None);
        assert!(!alignment.seal(Epoch(7), B, 'b').unwrap());
        assert_eq!(alignment.open_next(), None);
        assert!(alignment.seal(Epoch(7), A, 'a').unwrap());
        assert_eq!(alignment.open_next(), Some(aligned(7, ['a', 'b'], &[])));
        assert_eq!((alignment.epoch(), alignment.is_aligned()), (Epoch(8), false));
    }

    #[test]
    fn data_of_the_next_epoch_waits_and_only_behind_its_partitions_seal() {
        let mut alignment = open();
        assert_eq!(alignment.admit(Epoch(7), A, "now"), Ok(Some("now")));
        assert!(alignment.admit(Epoch(8), A, "too early").is_err());
        alignment.seal(Epoch(7), A, 'a').unwrap();
        assert_eq!(alignment.admit(Epoch(8), A, "first"), Ok(None));
        assert_eq!(alignment.admit(Epoch(7), B, "still now"), Ok(Some("still now")));
        assert_eq!(alignment.admit(Epoch(8), A, "second"), Ok(None));
        alignment.seal(Epoch(7), B, 'b').unwrap();
        assert_eq!(alignment.open_next(), Some(aligned(7, ['a', 'b'], &["first", "second"])));
        assert_eq!(alignment.admit(Epoch(8), A, "third"), Ok(Some("third")));
    }

    #[test]
    fn what_waited_comes_once() {
        let mut alignment = open();
        alignment.seal(Epoch(7), A, 'a').unwrap();
        alignment.admit(Epoch(8), A, "early").unwrap();
        alignment.seal(Epoch(7), B, 'b').unwrap();
        alignment.open_next().unwrap();
        alignment.seal(Epoch(8), A, 'c').unwrap();
        alignment.seal(Epoch(8), B, 'd').unwrap();
        assert_eq!(alignment.open_next(), Some(aligned(8, ['c', 'd'], &[])));
    }

    #[test]
    fn data_behind_the_seal_of_its_own_epoch_is_a_fault() {
        let mut alignment = open();
        alignment.seal(Epoch(7), A, 'a').unwrap();
        let fault = alignment.admit(Epoch(7), A, "late").unwrap_err();
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
                assert!(alignment.admit(Epoch(of), partition, "x").is_err(), "{of}");
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
        assert!(alignment.admit(Epoch(7), PartitionId(2), "x").is_err());
        assert!(alignment.seal(Epoch(7), B, 'b').unwrap());
        assert_eq!(alignment.open_next(), Some(aligned(7, ['a', 'b'], &[])));
    }
}
