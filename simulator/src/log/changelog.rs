//! The compacted topic of the window state.

use std::{collections::BTreeMap, time::Duration};

use tidegate_core::{
    Epoch, NextOffset,
    window::{WindowKey, WindowState},
};

/// Deletions older than this are removed by the cleaner, as Kafka's `delete.retention.ms` says.
const KEEP_DELETIONS: Duration = Duration::from_secs(24 * 60 * 60);

/// The key of a row of state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKey {
    /// Who owns the id.
    Owner,
    /// What the last epoch had read.
    Progress,
    Window(WindowKey),
}

/// A row of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    Owner { epoch: Epoch, nonce: u64 },
    Progress { epoch: Epoch },
    Window { epoch: Epoch, state: WindowState },
}

impl Row {
    pub(crate) fn epoch(&self) -> Epoch {
        match self {
            Self::Owner { epoch, .. } | Self::Progress { epoch } | Self::Window { epoch, .. } => *epoch,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Pending,
    Committed(Duration),
    /// Aborted, cleaned away, or a marker.
    Nothing,
}

type Slot = (Entry, RowKey, Option<Row>);

#[derive(Debug)]
pub(crate) struct Changelog {
    partitions: Vec<Vec<Slot>>,
    /// Where the open transaction has records.
    pending: Vec<(usize, usize)>,
}

impl Changelog {
    pub(super) fn new(partitions: usize) -> Self {
        Self { partitions: vec![Vec::new(); partitions], pending: Vec::new() }
    }

    pub(super) fn append(&mut self, group: usize, key: RowKey, row: Option<Row>) {
        self.pending.push((group, self.partitions[group].len()));
        self.partitions[group].push((Entry::Pending, key, row));
    }

    pub(super) fn end(&mut self, commits: bool, now: Duration) {
        let state = if commits { Entry::Committed(now) } else { Entry::Nothing };
        for &(group, at) in &self.pending {
            self.partitions[group][at].0 = state;
        }
        for (group, slots) in self.partitions.iter_mut().enumerate() {
            if self.pending.iter().any(|(of, _)| *of == group) {
                slots.push((Entry::Nothing, RowKey::Owner, None));
            }
        }
        self.pending.clear();
    }

    /// How far each partition can be read: up to the first record of an open transaction.
    pub(crate) fn ends(&self) -> Vec<NextOffset> {
        let end = |(group, slots): (usize, &Vec<Slot>)| {
            let first = self.pending.iter().filter(|(of, _)| *of == group).map(|(_, at)| *at).min();
            NextOffset(first.unwrap_or(slots.len()) as i64)
        };
        self.partitions.iter().enumerate().map(end).collect()
    }

    /// Hands over the committed records of all partitions from these positions on; none means from the beginning.
    pub(crate) fn read(
        &self,
        from: &[NextOffset],
        mut each: impl FnMut(&RowKey, Option<&Row>),
    ) -> Vec<NextOffset> {
        let ends = self.ends();
        for (group, end) in ends.iter().enumerate() {
            let from = from.get(group).map_or(0, |next| next.0 as usize);
            for (entry, key, row) in self.partitions[group].iter().take(end.0 as usize).skip(from) {
                if let Entry::Committed(_) = entry {
                    each(key, row.as_ref());
                }
            }
        }
        ends
    }

    /// Keeps the last record of each key, and no old deletion.
    pub(crate) fn clean(&mut self, now: Duration) {
        for slots in &mut self.partitions {
            let mut last = BTreeMap::new();
            for (at, (entry, key, _)) in slots.iter().enumerate() {
                if let Entry::Committed(_) = entry {
                    last.insert(key.clone(), at);
                }
            }
            for (at, (entry, key, row)) in slots.iter_mut().enumerate() {
                let Entry::Committed(since) = *entry else { continue };
                let is_last = last.get(key) == Some(&at);
                if !is_last || row.is_none() && now.saturating_sub(since) > KEEP_DELETIONS {
                    *entry = Entry::Nothing;
                }
            }
        }
    }
}
