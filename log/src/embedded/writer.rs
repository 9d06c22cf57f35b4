//! The epoch's writer: packs records into chunks, and commits them with the offsets.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_core::{NextOffset, PartitionId};

use super::{
    chunk::{ChunkRecord, MAX_RECORD, Packer},
    rows::{OffsetKey, OffsetRow, Slot},
    store::{Commit, Store},
};
use crate::{
    CommitOutcome, CommitPhases, CommittedOffset, EpochWriter, InputProgress, LogError, OutputBatch,
    OutputRecord, Topic, TopicsFacts,
};

/// As much as a broker keeps with an offset.
const MAX_METADATA: usize = 4096;

pub(super) struct EmbeddedWriter {
    store: Arc<Store>,
    /// One writer per id may commit: the one that fenced last.
    id: String,
    group: String,
    /// Numbers of the topics.
    ids: [u32; 5],
    partitions: [u32; 5],
    number: Option<u64>,
    open: BTreeMap<Slot, Packer>,
    is_clean: bool,
}

impl EmbeddedWriter {
    pub(super) fn new(
        store: Arc<Store>,
        id: String,
        group: String,
        topics: &[String; 5],
        facts: &TopicsFacts,
    ) -> Result<Self, LogError> {
        let mut ids = [0; 5];
        for (id, name) in ids.iter_mut().zip(topics) {
            *id = store.view().topic(name)?.id;
        }
        let partitions = Topic::ALL.map(|topic| facts[topic as usize].partitions);
        Ok(Self { store, id, group, ids, partitions, number: None, open: BTreeMap::new(), is_clean: true })
    }

    fn check_owner(&self) -> Result<(), LogError> {
        let current = self.store.view().writers.get(&self.id).copied();
        match self.number {
            Some(number) if current == Some(number) => Ok(()),
            Some(_) => Err(LogError::Fenced("another writer of the embedded log took over".into())),
            None => {
                Err(LogError::Broken { what: "writing", cause: "the writer has not taken over yet".into() })
            }
        }
    }

    fn pack(&mut self, batch: &OutputBatch, record: &OutputRecord) -> Result<(), LogError> {
        let bytes = |span| batch.bytes(span);
        let packed = ChunkRecord {
            timestamp: record.timestamp,
            key: record.key.map(bytes),
            value: record.value.map(bytes),
            headers: bytes(record.headers),
        };
        let topic = record.topic as usize;
        if packed.size() > MAX_RECORD || record.partition >= self.partitions[topic] {
            let cause = format!("a record of {} bytes for partition {}", packed.size(), record.partition);
            return Err(LogError::Broken { what: "writing to the embedded log", cause });
        }
        let slot = Slot { topic: self.ids[topic], partition: record.partition };
        self.open.entry(slot).or_default().push(&packed);
        Ok(())
    }

    fn offsets(&self, progress: &[InputProgress]) -> Result<Vec<OffsetRow>, LogError> {
        let row = |input: &InputProgress| {
            if input.metadata.len() > MAX_METADATA {
                let text =
                    format!("offset metadata of {} bytes; at most {MAX_METADATA}", input.metadata.len());
                return Err(LogError::Misconfigured(text));
            }
            Ok(OffsetRow {
                key: self.offset_key(input.partition),
                next: input.next.0,
                metadata: input.metadata.clone(),
            })
        };
        progress.iter().map(row).collect()
    }

    fn offset_key(&self, partition: PartitionId) -> OffsetKey {
        let topic = self.ids[Topic::Raw as usize];
        OffsetKey { slot: Slot { topic, partition: partition.0 }, group: self.group.clone() }
    }

    fn not_committed(&mut self, error: LogError) -> CommitOutcome {
        self.is_clean = false;
        CommitOutcome::NotCommitted(error)
    }
}

impl EpochWriter for EmbeddedWriter {
    fn fence(&mut self) -> Result<(), LogError> {
        let writing = self.store.writing();
        self.store.db_of(&writing)?;
        let number = self.store.view().writers.get(&self.id).copied().unwrap_or_default() + 1;
        let commit = Commit { writer: Some((self.id.clone(), number)), ..Commit::default() };
        self.store.commit(&writing, commit).map_err(|failed| failed.error)?;
        self.number = Some(number);
        Ok(())
    }

    fn committed(&mut self, partitions: u32) -> Result<Vec<CommittedOffset>, LogError> {
        let view = self.store.view();
        let of = |partition| {
            let partition = PartitionId(partition);
            let row = view.offsets.get(&self.offset_key(partition));
            let committed = row.map(|row| (NextOffset(row.next), row.metadata.clone()));
            CommittedOffset { partition, committed }
        };
        Ok((0..partitions).map(of).collect())
    }

    fn append(&mut self, batch: &OutputBatch) -> Result<(), LogError> {
        let packed = self
            .check_owner()
            .and_then(|()| batch.records.iter().try_for_each(|record| self.pack(batch, record)));
        self.is_clean &= packed.is_ok();
        packed
    }

    fn commit(&mut self, progress: &[InputProgress], _deadline: Duration) -> CommitOutcome {
        let begun = Instant::now();
        let offsets = match self.offsets(progress) {
            Ok(offsets) => offsets,
            Err(error) => return self.not_committed(error),
        };
        let appends = std::mem::take(&mut self.open);
        let appends = appends.into_iter().map(|(slot, packer)| (slot, packer.finish())).collect();
        let store = Arc::clone(&self.store);
        let writing = store.writing();
        let waited = begun.elapsed();
        // Only now: nobody can take over while this writes.
        if let Err(error) = self.check_owner() {
            return self.not_committed(error);
        }
        match store.commit(&writing, Commit { appends, offsets, ..Commit::default() }) {
            Ok(_) => CommitOutcome::Committed(CommitPhases {
                flush: waited,
                offsets: Duration::ZERO,
                end: begun.elapsed() - waited,
            }),
            Err(failed) if failed.is_unknown => {
                self.is_clean = false;
                CommitOutcome::Unknown(failed.error)
            }
            Err(failed) => self.not_committed(failed.error),
        }
    }

    fn abort(&mut self, _deadline: Duration) -> Result<(), LogError> {
        self.open.clear();
        Ok(())
    }

    fn is_clean(&self) -> bool {
        self.is_clean
    }
}
