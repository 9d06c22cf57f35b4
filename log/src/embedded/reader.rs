//! Reading: chunks of one partition in pages, the pipeline's reader on top of that.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tidegate_core::{NextOffset, PartitionId};
use tidegate_host::sled::{CALL_LIMIT, call};

use super::{
    chunk::{Chunk, StoredRecord},
    rows::{self, Slot},
    store::Store,
    verify,
};
use crate::{Health, LogError, RecordReader, RecordRef, RecordSink};

/// Read at once from one partition.
const PAGE_BYTES: usize = 1 << 20;
pub(super) const PAGE_CHUNKS: usize = 400;

/// Chunks from the one that has offset `from`, or the next one: at most `most`, and about [`PAGE_BYTES`].
///
/// `from` must be between begin and end of the partition, and before the end.
pub(super) fn load(
    store: &Store,
    slot: Slot,
    compacted: bool,
    from: i64,
    end: i64,
    most: usize,
) -> Result<VecDeque<Chunk>, LogError> {
    let db = store.db()?;
    let cleaning = store.cleaning.read().unwrap_or_else(PoisonError::into_inner);
    let loaded = call(CALL_LIMIT, move || {
        let mut page = VecDeque::new();
        let (mut bytes, mut next) = (0, from);
        let start = verify::last_base(&db, slot, from)?.unwrap_or(from);
        for row in db.range(rows::chunk_key(slot, start, 0)..rows::chunk_key(slot, end, 0)) {
            let (key, value) = row?;
            // The other parts follow from the first.
            let Some((base, 0)) = rows::read_chunk_key(&key) else { continue };
            let chunk = match verify::join_parts(&db, slot, base, &value)? {
                Ok(chunk) => chunk,
                Err(cause) => return Ok(Err(cause)),
            };
            if chunk.end <= next {
                // Compaction left nothing there.
                continue;
            }
            if !compacted && chunk.base > next {
                break;
            }
            next = chunk.end;
            bytes += chunk.size();
            page.push_back(chunk);
            if bytes >= PAGE_BYTES || page.len() == most {
                break;
            }
        }
        Ok(Ok(page))
    });
    drop(cleaning);
    let page = loaded.map_err(|fault| store.fail(&fault))?.map_err(|cause| store.damaged(cause))?;
    if page.is_empty() && !compacted {
        let begin = store.view().partition(slot).map_or(0, |row| row.begin);
        if from < begin {
            return Err(out_of_range(slot.partition, from, begin, end));
        }
        return Err(
            store.damaged(format!("records from offset {from} of partition {} are missing", slot.partition))
        );
    }
    Ok(page)
}

pub(super) fn out_of_range(partition: u32, offset: i64, begin: i64, end: i64) -> LogError {
    LogError::OffsetOutOfRange { partition, offset, cause: format!("the log has {begin} to {end}") }
}

/// Reads one partition record by record.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) slot: Slot,
    compacted: bool,
    /// The next offset.
    pub(super) next: i64,
    page: VecDeque<Chunk>,
    /// The end that was told last.
    told: Option<i64>,
}

impl Cursor {
    pub(super) fn new(slot: Slot, compacted: bool, next: i64) -> Self {
        Self { slot, compacted, next, page: VecDeque::new(), told: None }
    }

    /// Hands on up to `most` records before `end`, and returns how many.
    pub(super) fn read(
        &mut self,
        store: &Store,
        end: i64,
        most: usize,
        each: &mut dyn FnMut(StoredRecord<'_>),
    ) -> Result<usize, LogError> {
        let mut read = 0;
        while read < most && self.next < end {
            let Some(chunk) = self.page.front_mut() else {
                self.page = load(store, self.slot, self.compacted, self.next, end, PAGE_CHUNKS)?;
                if self.page.is_empty() {
                    self.next = end;
                }
                continue;
            };
            let upcoming = chunk.next_offset().filter(|offset| *offset < end);
            match upcoming {
                Some(offset) => {
                    if let Some(record) = chunk.next()
                        && offset >= self.next
                    {
                        each(record);
                        read += 1;
                        self.next = offset + 1;
                    }
                }
                None => {
                    self.next = self.next.max(chunk.end.min(end));
                    self.page.pop_front();
                }
            }
        }
        Ok(read)
    }
}

/// A reader of some partitions of a topic.
pub(super) struct EmbeddedReader {
    store: Arc<Store>,
    topic: String,
    cursors: Vec<Cursor>,
    /// Which partition is first in the next poll.
    turn: usize,
}

impl EmbeddedReader {
    pub(super) fn new(store: Arc<Store>, topic: String) -> Self {
        Self { store, topic, cursors: Vec::new(), turn: 0 }
    }

    /// Reads these partitions too, or from other positions than before.
    pub(super) fn add(&mut self, positions: &[(PartitionId, NextOffset)]) -> Result<(), LogError> {
        for (partition, next) in positions {
            let (slot, compacted) = self.slot(*partition)?;
            self.cursors.retain(|cursor| cursor.slot != slot);
            self.cursors.push(Cursor::new(slot, compacted, next.0));
        }
        Ok(())
    }

    fn slot(&self, partition: PartitionId) -> Result<(Slot, bool), LogError> {
        let view = self.store.view();
        let topic = view.topic(&self.topic)?;
        Ok((Slot { topic: topic.id, partition: partition.0 }, topic.compacted))
    }
}

impl RecordReader for EmbeddedReader {
    fn assign(&mut self, positions: &[(PartitionId, NextOffset)]) -> Result<(), LogError> {
        let cursor = |(partition, next): &(PartitionId, NextOffset)| {
            let (slot, compacted) = self.slot(*partition)?;
            Ok(Cursor::new(slot, compacted, next.0))
        };
        self.cursors = positions.iter().map(cursor).collect::<Result<_, LogError>>()?;
        Ok(())
    }

    fn poll(
        &mut self,
        timeout: Duration,
        max_records: usize,
        sink: &mut dyn RecordSink,
    ) -> Result<usize, LogError> {
        if max_records == 0 {
            // Nothing to attend to.
            std::thread::sleep(timeout);
            return Ok(0);
        }
        let read = self.read(max_records, sink)?;
        if read > 0 {
            return Ok(read);
        }
        let view = self.store.view();
        let has_news = |cursor: &Cursor| view.partition(cursor.slot).is_some_and(|row| row.end > cursor.next);
        if !self.cursors.iter().any(has_news) {
            self.store.wait(view, timeout);
        } else {
            drop(view);
        }
        self.read(max_records, sink)
    }

    fn end_offset(&self, partition: PartitionId) -> Option<NextOffset> {
        let (slot, _) = self.slot(partition).ok()?;
        Some(NextOffset(self.store.view().partition(slot)?.end))
    }

    fn health(&self) -> Health {
        self.store.health()
    }
}

impl EmbeddedReader {
    fn read(&mut self, max_records: usize, sink: &mut dyn RecordSink) -> Result<usize, LogError> {
        let mut read = 0;
        let count = self.cursors.len();
        for index in (0..count).map(|index| (index + self.turn) % count) {
            let cursor = &mut self.cursors[index];
            let Some(row) = self.store.view().partition(cursor.slot) else { continue };
            let partition = PartitionId(cursor.slot.partition);
            if cursor.next < row.begin || cursor.next > row.end {
                return Err(out_of_range(partition.0, cursor.next, row.begin, row.end));
            }
            let each = &mut |record: StoredRecord<'_>| {
                let found = RecordRef {
                    partition,
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key,
                    value: record.value,
                };
                sink.record(found, &mut |arena| arena.extend_from_slice(record.headers));
            };
            read += cursor.read(&self.store, row.end, max_records - read, each)?;
            if cursor.next == row.end && cursor.told != Some(row.end) {
                cursor.told = Some(row.end);
                sink.end_of_partition(partition, NextOffset(row.end));
            }
            if read == max_records {
                self.turn = (index + 1) % count;
                break;
            }
        }
        Ok(read)
    }
}
