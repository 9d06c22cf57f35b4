//! A model of the log: what a broker does with one input, one group and one transactional id.
//!
//! Records and offsets of an open transaction become visible together or never. A writer that takes over has a higher
//! epoch, ends the open transaction, and from then on its predecessors are refused. Transactions leave a marker behind,
//! which takes an offset.

mod changelog;

use std::{collections::BTreeMap, time::Duration};

pub(crate) use changelog::{Changelog, Row, RowKey};
use tidegate_core::{NextOffset, PartitionId, alert::Alert};

use crate::{input::Record, key::Key};

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogError {
    /// It does not answer, or the call fails.
    Unavailable,
    /// The writer is of the past.
    Fenced,
}

/// One slot of an input partition.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot {
    Record(Record),
    /// The end of somebody's transaction.
    Marker,
}

/// A record that the pipeline writes.
#[derive(Debug, Clone)]
pub(crate) enum Written {
    Processed(PartitionId, i64),
    DeadLetter(PartitionId, i64),
    Alert(Box<Alert>),
    State { group: usize, key: RowKey, row: Option<Row> },
}

/// A committed offset and its metadata.
pub(crate) type Committed = Option<(NextOffset, String)>;

/// The open transaction.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) producer: u64,
    pub(crate) records: Vec<Written>,
    pub(crate) offsets: Vec<(PartitionId, NextOffset, String)>,
    /// Whose offsets they are, for the checks.
    pub(crate) key: Option<Key>,
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) is_up: bool,
    pub(crate) inputs: Vec<Vec<Slot>>,
    pub(crate) committed: Vec<Committed>,
    /// The epoch of the writer that took over last.
    pub(crate) producer: u64,
    pub(crate) open: Option<Transaction>,
    /// The writer whose commit request is still on its way.
    pub(crate) on_its_way: Option<u64>,
    /// Answers to such requests, by writer.
    pub(crate) answers: BTreeMap<u64, Result<(), LogError>>,
    pub(crate) changelog: Changelog,
}

impl Log {
    pub(crate) fn new(partitions: usize, key_groups: u32) -> Self {
        Self {
            is_up: true,
            inputs: vec![Vec::new(); partitions],
            committed: vec![None; partitions],
            producer: 0,
            open: None,
            on_its_way: None,
            answers: BTreeMap::new(),
            changelog: Changelog::new(key_groups as usize),
        }
    }

    pub(crate) fn add_partition(&mut self) {
        self.inputs.push(Vec::new());
        self.committed.push(None);
    }

    pub(crate) fn end(&self, partition: usize) -> NextOffset {
        NextOffset(self.inputs[partition].len() as i64)
    }

    fn check(&self, producer: u64) -> Result<(), LogError> {
        if producer == self.producer { Ok(()) } else { Err(LogError::Fenced) }
    }

    /// A writer takes over.
    pub(crate) fn fence(&mut self, now: Duration) -> u64 {
        self.end_open(false, now);
        self.producer += 1;
        self.producer
    }

    /// The open transaction took too long.
    pub(crate) fn time_out(&mut self, now: Duration) -> bool {
        if self.open.is_none() {
            return false;
        }
        self.fence(now);
        true
    }

    fn transaction(&mut self, producer: u64) -> &mut Transaction {
        self.open.get_or_insert_with(|| Transaction {
            producer,
            records: Vec::new(),
            offsets: Vec::new(),
            key: None,
        })
    }

    pub(crate) fn append(&mut self, producer: u64, record: Written) -> Result<(), LogError> {
        self.check(producer)?;
        if let Written::State { group, key, row } = &record {
            self.changelog.append(*group, key.clone(), row.clone());
        }
        self.transaction(producer).records.push(record);
        Ok(())
    }

    pub(crate) fn send_offsets(
        &mut self,
        producer: u64,
        key: Key,
        offsets: &[(PartitionId, NextOffset, String)],
    ) -> Result<(), LogError> {
        self.check(producer)?;
        let transaction = self.transaction(producer);
        (transaction.offsets, transaction.key) = (offsets.to_vec(), Some(key));
        Ok(())
    }

    /// The commit takes effect.
    pub(crate) fn commit(&mut self, producer: u64, now: Duration) -> Result<Option<Transaction>, LogError> {
        self.check(producer)?;
        Ok(self.end_open(true, now))
    }

    /// The request that was on its way arrives.
    pub(crate) fn arrive(&mut self, now: Duration) -> Option<Transaction> {
        let producer = self.on_its_way.take()?;
        let result = self.commit(producer, now);
        self.answers.insert(producer, result.as_ref().map(|_| ()).map_err(|error| *error));
        result.ok().flatten()
    }

    pub(crate) fn abort(&mut self, producer: u64, now: Duration) -> Result<(), LogError> {
        self.check(producer)?;
        self.end_open(false, now);
        Ok(())
    }

    fn end_open(&mut self, commits: bool, now: Duration) -> Option<Transaction> {
        let ended = self.open.take()?;
        self.changelog.end(commits, now);
        if commits {
            for (partition, next, metadata) in &ended.offsets {
                self.committed[partition.0 as usize] = Some((*next, metadata.clone()));
            }
        }
        Some(ended)
    }
}
