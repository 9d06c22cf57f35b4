//! What a commit writes beside the epoch's data: the offset of each input partition with its mark, the owner record, and
//! the progress record.

use tidegate_core::{
    Epoch, TimestampMs,
    epoch::{EpochMark, TopicIds, barrier::Seal},
    output::own_record,
};
use tidegate_log::{ByteRange, InputProgress, OutputBatch, Topic};
use tidegate_state::{OWNER_KEY, OwnerRecord, PROGRESS_KEY, ProgressRecord, encode_owner, encode_progress};

/// Who commits, and what.
pub(super) struct Commit<'a> {
    pub(super) epoch: Epoch,
    /// Nonce of this process.
    pub(super) owner: u64,
    pub(super) topics: TopicIds,
    pub(super) seals: &'a [Seal],
    pub(super) watermark: Option<TimestampMs>,
}

impl Commit<'_> {
    /// The offset of every partition, idle ones too, each with the mark that names the epoch.
    pub(super) fn offsets(&self) -> Vec<InputProgress> {
        let partitions = self.seals.len() as u32;
        let Self { epoch, owner, topics, watermark, .. } = *self;
        let progress = |seal: &Seal| {
            let highest = seal.highest;
            let mark = EpochMark { epoch, owner, partitions, highest, watermark, topics };
            InputProgress { partition: seal.partition, next: seal.next, metadata: mark.encode() }
        };
        self.seals.iter().map(progress).collect()
    }

    /// Names this process as the owner. `wall`: beside the time of the record, which is the broker's, it tells how far
    /// this host's clock is off.
    pub(super) fn owner_record(&self, record_time: TimestampMs, wall: TimestampMs) -> OutputBatch {
        let owner = OwnerRecord { epoch: self.epoch, nonce: self.owner, started_at_ms: wall };
        state_record(OWNER_KEY, record_time, |arena| encode_owner(&owner, arena))
    }

    /// The same as is committed with the offsets, in case those are lost.
    pub(super) fn progress_record(&self, record_time: TimestampMs) -> OutputBatch {
        let TopicIds { input, state } = self.topics;
        let progress = ProgressRecord {
            epoch: self.epoch,
            owner: self.owner,
            partitions: self.seals.iter().map(|seal| (seal.next, seal.highest)).collect(),
            watermark: self.watermark,
            input,
            state,
        };
        state_record(PROGRESS_KEY, record_time, |arena| encode_progress(&progress, arena))
    }
}

/// A record in partition 0 of the state topic.
fn state_record(key: &[u8], time: TimestampMs, value: impl FnOnce(&mut Vec<u8>)) -> OutputBatch {
    let mut batch = OutputBatch::default();
    let key = ByteRange::push(&mut batch.arena, key);
    value(&mut batch.arena);
    let value = ByteRange { start: key.end, end: batch.arena.len() as u32 };
    batch.records.push(own_record(Topic::State, 0, time, key, Some(value)));
    batch
}
