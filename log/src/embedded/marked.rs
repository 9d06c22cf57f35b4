//! Records and marks in one commit.

use std::sync::Arc;

use tidegate_core::PartitionId;

use super::{
    append::{new_records, pack},
    rows::{OffsetKey, OffsetRow, Slot},
    store::{Commit, Store},
};
use crate::{LogError, Mark, MarkedWriter, OutputBatch, Topic};

/// The log belongs to one process: there is nobody to fence.
pub(super) struct EmbeddedMarkedWriter {
    pub(super) store: Arc<Store>,
    /// Names of the topics, by [`Topic`].
    pub(super) topics: [String; 5],
    /// Whose partitions the marks are kept with.
    pub(super) topic: Topic,
}

impl EmbeddedMarkedWriter {
    fn key(&self, group: &str, PartitionId(partition): PartitionId) -> Result<OffsetKey, LogError> {
        let topic = self.store.view().topic(&self.topics[self.topic as usize])?.id;
        Ok(OffsetKey { slot: Slot { topic, partition }, group: group.to_owned() })
    }
}

impl MarkedWriter for EmbeddedMarkedWriter {
    fn take_over(&mut self) -> Result<(), LogError> {
        self.store.db().map(drop)
    }

    fn marks(&mut self, group: &str, partitions: u32) -> Result<Vec<Option<String>>, LogError> {
        let mark = |partition| {
            let key = self.key(group, PartitionId(partition))?;
            Ok(self.store.view().offsets.get(&key).map(|row| row.metadata.clone()))
        };
        (0..partitions).map(mark).collect()
    }

    fn write(&mut self, batch: &OutputBatch, marks: &[Mark]) -> Result<(), LogError> {
        let row = |mark: &Mark| {
            let key = self.key(&mark.group, mark.partition)?;
            Ok(OffsetRow { key, next: 0, metadata: mark.text.clone() })
        };
        let offsets = marks.iter().map(row).collect::<Result<_, LogError>>()?;
        let writing = self.store.writing();
        self.store.db_of(&writing)?;
        let mut appends = std::collections::BTreeMap::new();
        for (topic, records) in new_records(batch) {
            appends.extend(pack(&self.store, &self.topics[topic], &records)?);
        }
        let commit = Commit { appends, offsets, ..Commit::default() };
        self.store.commit(&writing, commit).map(drop).map_err(|uncommitted| uncommitted.error)
    }
}
