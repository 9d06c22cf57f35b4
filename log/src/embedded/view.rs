//! What is committed.

use std::{collections::BTreeMap, time::Instant};

use sled::Db;

use super::rows::{OffsetKey, OffsetRow, PartitionRow, Slot, TopicRow};
use crate::LogError;

/// Most rows of one sled batch; beyond that it blocks all of sled for long and takes memory out of proportion.
pub(super) const BATCH_ROWS: usize = 500;

/// What is committed, as everybody sees it.
#[derive(Default)]
pub(super) struct View {
    /// `None` while the database is out of use.
    pub(super) db: Option<Db>,
    /// Why it is.
    pub(super) trouble: Option<LogError>,
    pub(super) tried: Option<Instant>,
    pub(super) commits: u64,
    pub(super) topics: BTreeMap<String, TopicRow>,
    pub(super) partitions: BTreeMap<Slot, PartitionRow>,
    pub(super) offsets: BTreeMap<OffsetKey, OffsetRow>,
    /// The writer of each id that may commit.
    pub(super) writers: BTreeMap<String, u64>,
}

impl View {
    /// Why the database is out of use.
    pub(super) fn trouble(&self) -> LogError {
        let unknown = || LogError::Unavailable { what: "embedded log", cause: "out of use".into() };
        self.trouble.as_ref().map_or_else(unknown, LogError::again)
    }

    /// The topic of a name.
    pub(super) fn topic(&self, name: &str) -> Result<&TopicRow, LogError> {
        self.topics.get(name).ok_or_else(|| LogError::TopicsMissing(vec![name.to_owned()]))
    }

    /// The row of a partition.
    pub(super) fn partition(&self, slot: Slot) -> Option<PartitionRow> {
        self.partitions.get(&slot).copied()
    }
}
