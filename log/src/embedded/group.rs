//! Reading as the member of a consumer group. The log belongs to one process, so a group has one member, which has all
//! partitions.

use std::{sync::Arc, time::Duration};

use tidegate_core::{NextOffset, PartitionId};

use super::{
    reader::EmbeddedReader,
    rows::{OffsetKey, OffsetRow, Slot},
    store::{Commit, Store},
};
use crate::{
    GroupEvent, GroupReader, Health, LogError, RecordReader, RecordRef, RecordSink, group::not_assigned,
};

/// The member.
pub(super) struct EmbeddedGroupReader {
    store: Arc<Store>,
    topic: String,
    group: String,
    reader: EmbeddedReader,
    /// Partitions that were told of.
    told: u32,
}

impl EmbeddedGroupReader {
    pub(super) fn new(store: Arc<Store>, topic: String, group: String) -> Self {
        let reader = EmbeddedReader::new(Arc::clone(&store), topic.clone());
        Self { store, topic, group, reader, told: 0 }
    }

    fn key(&self, topic: u32, partition: u32) -> OffsetKey {
        OffsetKey { slot: Slot { topic, partition }, group: self.group.clone() }
    }

    /// Partitions that were not told of yet.
    fn assigned(&mut self) -> Result<Option<GroupEvent>, LogError> {
        let view = self.store.view();
        let (id, partitions) = view.topic(&self.topic).map(|topic| (topic.id, topic.partitions))?;
        if partitions <= self.told {
            return Ok(None);
        }
        let committed =
            |partition| view.offsets.get(&self.key(id, partition)).map(|row| NextOffset(row.next));
        let new = (self.told..partitions).map(|partition| (PartitionId(partition), committed(partition)));
        let new = new.collect();
        drop(view);
        self.told = partitions;
        Ok(Some(GroupEvent::Assigned(new)))
    }
}

impl GroupReader for EmbeddedGroupReader {
    fn poll(
        &mut self,
        timeout: Duration,
        max_records: usize,
        sink: &mut dyn RecordSink,
    ) -> Result<GroupEvent, LogError> {
        if let Some(event) = self.assigned()? {
            return Ok(event);
        }
        let records = self.reader.poll(timeout, max_records, &mut WithoutEnds(sink))?;
        Ok(GroupEvent::Records(records))
    }

    fn read_from(&mut self, positions: &[(PartitionId, NextOffset)]) -> Result<(), LogError> {
        if let Some((partition, _)) = positions.iter().find(|(partition, _)| partition.0 >= self.told) {
            return Err(not_assigned(*partition));
        }
        self.reader.add(positions)
    }

    fn release(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn commit(&mut self, positions: &[(PartitionId, NextOffset)]) -> Result<(), LogError> {
        let id = self.store.view().topic(&self.topic)?.id;
        let row = |(partition, next): &(PartitionId, NextOffset)| OffsetRow {
            key: self.key(id, partition.0),
            next: next.0,
            metadata: String::new(),
        };
        let offsets = positions.iter().map(row).collect();
        let writing = self.store.writing();
        let commit = Commit { offsets, ..Commit::default() };
        self.store.commit(&writing, commit).map(drop).map_err(|uncommitted| uncommitted.error)
    }

    fn reached(&self, _partition: PartitionId) -> Option<NextOffset> {
        // There is nothing here that nobody sees.
        None
    }

    fn end_offset(&self, partition: PartitionId) -> Option<NextOffset> {
        self.reader.end_offset(partition)
    }

    fn health(&self) -> Health {
        self.store.health()
    }
}

/// Hands on records alone.
struct WithoutEnds<'a>(&'a mut dyn RecordSink);

impl RecordSink for WithoutEnds<'_> {
    fn record(&mut self, record: RecordRef<'_>, headers: &mut dyn FnMut(&mut Vec<u8>)) {
        self.0.record(record, headers);
    }

    fn end_of_partition(&mut self, _partition: PartitionId, _next: NextOffset) {}
}
