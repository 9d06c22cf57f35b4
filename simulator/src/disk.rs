//! The state directory of a host: the rows of the windows as of an epoch. Writing takes several steps, and whoever dies
//! in between leaves it half written.

use std::{collections::BTreeMap, time::Duration};

use tidegate_core::{Epoch, NextOffset, recovery::StoreFacts};

use crate::{
    log::{Row, RowKey},
    random::Random,
};

/// The rows by key.
pub(crate) type Rows = BTreeMap<RowKey, Row>;
/// Rows to put, or keys to delete.
pub(crate) type RowChanges = Vec<(RowKey, Option<Row>)>;

/// Which epoch a store is of.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) epoch: Epoch,
    pub(crate) reaches: Epoch,
    pub(crate) positions: Vec<NextOffset>,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) rows: Rows,
    pub(crate) base: Option<Base>,
    is_damaged: bool,
    written_at: Duration,
}

impl Disk {
    pub(crate) fn facts(&self, now: Duration) -> StoreFacts {
        match &self.base {
            _ if self.is_damaged => StoreFacts::Damaged("a row is not the one that was written".into()),
            None => StoreFacts::Missing,
            Some(Base { epoch, reaches, .. }) => {
                let age = now.saturating_sub(self.written_at);
                StoreFacts::At { epoch: *epoch, reaches: *reaches, age }
            }
        }
    }

    /// Its last row cannot be read any more.
    pub(crate) fn damage(&mut self) {
        self.is_damaged = self.base.is_some();
        if self.is_damaged {
            self.rows.pop_last();
        }
    }

    /// The highest epoch that a row names.
    pub(crate) fn highest_epoch(&self) -> Option<Epoch> {
        self.rows.values().map(Row::epoch).max()
    }
}

/// Changes on their way to the disk.
#[derive(Debug)]
pub(crate) struct DiskWork {
    pub(crate) epoch: Epoch,
    changes: RowChanges,
    positions: Option<Vec<NextOffset>>,
    /// Many rows take several batches; few are written at once.
    in_batches: bool,
    begun: bool,
}

impl DiskWork {
    /// Epochs to apply, oldest first; the last change of a key counts.
    pub(crate) fn apply(
        epoch: Epoch,
        epochs: Vec<RowChanges>,
        positions: Option<Vec<NextOffset>>,
        random: &mut Random,
    ) -> Self {
        let merged: BTreeMap<RowKey, Option<Row>> = epochs.into_iter().flatten().collect();
        let changes = merged.into_iter().collect();
        Self { epoch, changes, positions, in_batches: random.one_in(2), begun: false }
    }

    /// Makes the content that of `image`.
    pub(crate) fn fill(
        epoch: Epoch,
        image: &Rows,
        positions: Vec<NextOffset>,
        disk: &Disk,
        random: &mut Random,
    ) -> Self {
        let mut changes: RowChanges = image
            .iter()
            .filter(|(key, row)| disk.rows.get(key) != Some(row))
            .map(|(key, row)| (key.clone(), Some(row.clone())))
            .collect();
        let gone = disk.rows.keys().filter(|key| !image.contains_key(key));
        changes.extend(gone.map(|key| (key.clone(), None)));
        Self { epoch, changes, positions: Some(positions), in_batches: random.one_in(2), begun: false }
    }

    /// The next step; returns whether it is done.
    pub(crate) fn step(&mut self, disk: &mut Disk, now: Duration) -> bool {
        disk.written_at = now;
        if self.in_batches && !self.begun {
            self.begun = true;
            if let Some(base) = &mut disk.base {
                base.reaches = self.epoch;
            }
            let half = self.changes.len() / 2;
            write(disk, self.changes.drain(..half));
            return false;
        }
        write(disk, self.changes.drain(..));
        let former = disk.base.take().map(|base| base.positions).unwrap_or_default();
        let positions = self.positions.take().unwrap_or(former);
        disk.base = Some(Base { epoch: self.epoch, reaches: self.epoch, positions });
        true
    }
}

fn write(disk: &mut Disk, changes: impl Iterator<Item = (RowKey, Option<Row>)>) {
    for (key, row) in changes {
        match row {
            Some(row) => disk.rows.insert(key, row),
            None => disk.rows.remove(&key),
        };
    }
}
