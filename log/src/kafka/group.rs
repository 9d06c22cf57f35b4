//! Reading as a member of a consumer group.
//!
//! librdkafka says what the group decided while it is polled, and waits for an answer. The answer is given later, by
//! whoever reads: with positions for what is assigned, and once what was revoked is dealt with. The protocol is the
//! cooperative one, so that partitions which stay are read on meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use tidegate_core::{NextOffset, PartitionId, TimestampMs};

use super::{
    config::KafkaConfig,
    end_in_background,
    failure::{by_code, classify, is_missing, is_passing},
    health::{ClientHealth, Clients, Context, Rebalance},
    native::{FetchQueue, Fetched, committed},
};
use crate::{GroupEvent, GroupReader, Health, LogError, RecordRef, RecordSink, Topic, group::not_assigned};

const COMMITTED_TIMEOUT: Duration = Duration::from_secs(5);
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);
const READING: &str = "reading as a member of a group";

/// A member of a group.
pub(super) struct KafkaGroupReader {
    topic: String,
    health: Arc<ClientHealth>,
    /// `None` only while it is being dropped.
    queue: Option<FetchQueue>,
    /// Assigned, and told where to read.
    reading: BTreeSet<u32>,
    /// Assigned, and not told yet.
    waiting: BTreeSet<u32>,
    /// Given up with the next release.
    leaving: BTreeSet<u32>,
    /// Behind the last record that was handed over, or where reading began.
    handed: BTreeMap<u32, i64>,
    /// No record before this is still to be handed over.
    reached: BTreeMap<u32, i64>,
}

impl KafkaGroupReader {
    pub(super) fn connect(
        config: &KafkaConfig,
        topic: Topic,
        group: &str,
        clients: &Clients,
    ) -> Result<Self, LogError> {
        let health = clients.add(true);
        let name = config.topic(topic).to_owned();
        let client = config.member(topic, group);
        let consumer = BaseConsumer::from_config_and_context(&client, Context(Arc::clone(&health)))
            .map_err(|error| classify(READING, &error))?;
        consumer.subscribe(&[&name]).map_err(|error| classify(READING, &error))?;
        let queue = Some(FetchQueue::new(consumer, &name, std::iter::empty())?);
        let (reading, waiting, leaving) = Default::default();
        let (handed, reached) = Default::default();
        Ok(Self { topic: name, health, queue, reading, waiting, leaving, handed, reached })
    }

    fn queue(&self) -> Result<&FetchQueue, LogError> {
        let gone = || LogError::Broken { what: READING, cause: "it has left the group".into() };
        self.queue.as_ref().ok_or_else(gone)
    }

    fn list(&self, partitions: &BTreeSet<u32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition as i32);
        }
        list
    }

    /// What the group decided, if there is news.
    fn rebalanced(&mut self) -> Result<Option<GroupEvent>, LogError> {
        match self.health.next_rebalance() {
            None => Ok(None),
            Some(Rebalance::Assigned(partitions)) => match self.assigned(&partitions) {
                Ok(event) => Ok(Some(event)),
                Err(error) => {
                    // It waits for an answer, and is looked at again.
                    self.health.put_back(Rebalance::Assigned(partitions));
                    Err(error)
                }
            },
            Some(Rebalance::Revoked(partitions)) => {
                let lost = self.queue()?.consumer().assignment_lost();
                for partition in &partitions {
                    self.reading.remove(partition);
                    self.waiting.remove(partition);
                    self.leaving.insert(*partition);
                }
                let partitions = partitions.into_iter().map(PartitionId).collect();
                Ok(Some(if lost { GroupEvent::Lost(partitions) } else { GroupEvent::Revoked(partitions) }))
            }
        }
    }

    fn assigned(&mut self, partitions: &[u32]) -> Result<GroupEvent, LogError> {
        let new: BTreeSet<u32> = partitions.iter().copied().collect();
        let queue = self.queue()?;
        if new.is_empty() {
            let nothing = TopicPartitionList::new();
            queue.consumer().incremental_assign(&nothing).map_err(|error| classify(READING, &error))?;
            return Ok(GroupEvent::Assigned(Vec::new()));
        }
        let found = queue
            .consumer()
            .committed_offsets(self.list(&new), COMMITTED_TIMEOUT)
            .map_err(|error| classify("asking for the group's positions", &error))?;
        let mut positions = Vec::with_capacity(new.len());
        for (partition, offset, _, code) in committed(&found) {
            if code != Code::NoError {
                return Err(by_code("asking for the group's positions", code, code.to_string()));
            }
            // Negative: none is committed.
            positions.push((PartitionId(partition as u32), (offset >= 0).then_some(NextOffset(offset))));
        }
        self.waiting.extend(new);
        Ok(GroupEvent::Assigned(positions))
    }

    fn error(&self, partition: i32, offset: i64, code: Code, cause: String) -> LogError {
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation | Code::NoOffset => {
                LogError::OffsetOutOfRange { partition: partition as u32, offset, cause }
            }
            code if is_missing(code) => LogError::TopicsMissing(vec![self.topic.clone()]),
            code => by_code(READING, code, cause),
        }
    }
}

impl GroupReader for KafkaGroupReader {
    fn poll(
        &mut self,
        timeout: Duration,
        max_records: usize,
        sink: &mut dyn RecordSink,
    ) -> Result<GroupEvent, LogError> {
        let is_reading = max_records > 0 && !self.reading.is_empty();
        let wait = if is_reading { Duration::ZERO } else { timeout };
        match self.queue()?.consumer().poll(wait) {
            Some(Err(error)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                if !is_passing(code) {
                    return Err(self.error(-1, -1, code, error.to_string()));
                }
            }
            Some(Ok(_)) => {
                let cause = "a record came in the wrong queue".into();
                return Err(LogError::Broken { what: READING, cause });
            }
            None => {}
        }
        if let Some(event) = self.rebalanced()? {
            return Ok(event);
        }
        let (mut records, mut failed) = (0, None);
        if is_reading && let Some(queue) = &mut self.queue {
            let (reading, handed) = (&self.reading, &mut self.handed);
            queue.fetch(timeout, max_records, &mut |fetched| match fetched {
                Fetched::Record { partition, offset, timestamp, key, value, headers } => {
                    // What was fetched before a partition was revoked is no business of ours.
                    if reading.contains(&partition) {
                        records += 1;
                        handed.insert(partition, offset + 1);
                        let (partition, timestamp) = (PartitionId(partition), TimestampMs(timestamp));
                        let record = RecordRef { partition, offset, timestamp, key, value };
                        sink.record(record, &mut |arena| headers.write(arena));
                    }
                }
                // It is not asked for, see the client's settings.
                Fetched::EndOfPartition { .. } => {}
                Fetched::Error { code, .. } if is_passing(code) => {}
                Fetched::Error { partition, offset, code, cause } => {
                    failed.get_or_insert((partition, offset, code, cause));
                }
            });
            if records == 0 && failed.is_none() {
                // The queue is empty: what had been fetched is handed over.
                let fetched = |partition: &u32| Some((*partition, self.health.fetched_to(*partition)?));
                self.reached.extend(reading.iter().filter_map(fetched));
            }
        }
        match failed {
            Some((partition, offset, code, cause)) => Err(self.error(partition, offset, code, cause)),
            None => Ok(GroupEvent::Records(records)),
        }
    }

    fn read_from(&mut self, positions: &[(PartitionId, NextOffset)]) -> Result<(), LogError> {
        let refused = |error: KafkaError| classify("assigning partitions", &error);
        let (mut assigned, mut sought) = (TopicPartitionList::new(), TopicPartitionList::new());
        for (PartitionId(partition), NextOffset(next)) in positions {
            let list = match (self.waiting.contains(partition), self.reading.contains(partition)) {
                (true, _) => &mut assigned,
                (false, true) => &mut sought,
                (false, false) => return Err(not_assigned(PartitionId(*partition))),
            };
            list.add_partition_offset(&self.topic, *partition as i32, Offset::Offset(*next))
                .map_err(refused)?;
        }
        let queue = self.queue()?;
        if assigned.count() > 0 {
            for (PartitionId(partition), _) in positions {
                queue.forward(*partition)?;
            }
            queue.consumer().incremental_assign(&assigned).map_err(refused)?;
        }
        if sought.count() > 0 {
            let sought = queue.consumer().seek_partitions(sought, SEEK_TIMEOUT).map_err(refused)?;
            sought.elements().iter().try_for_each(|element| element.error()).map_err(refused)?;
        }
        for (PartitionId(partition), NextOffset(next)) in positions {
            self.waiting.remove(partition);
            self.reading.insert(*partition);
            self.handed.insert(*partition, *next);
            self.reached.remove(partition);
            self.health.forget_fetched(*partition);
        }
        Ok(())
    }

    fn release(&mut self) -> Result<(), LogError> {
        let list = self.list(&self.leaving);
        if list.count() > 0 {
            let released = self.queue()?.consumer().incremental_unassign(&list);
            released.map_err(|error| classify("giving partitions up", &error))?;
            self.leaving.clear();
        }
        Ok(())
    }

    fn commit(&mut self, positions: &[(PartitionId, NextOffset)]) -> Result<(), LogError> {
        let refused = |error: KafkaError| match error.rdkafka_error_code() {
            Some(code @ (Code::IllegalGeneration | Code::UnknownMemberId | Code::FencedInstanceId)) => {
                LogError::Fenced(format!("the group went on without this member: {code}"))
            }
            Some(code @ Code::RebalanceInProgress) => {
                LogError::Unavailable { what: "committing positions", cause: code.to_string() }
            }
            _ => classify("committing positions", &error),
        };
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, next) in positions {
            list.add_partition_offset(&self.topic, partition.0 as i32, Offset::Offset(next.0))
                .map_err(refused)?;
        }
        self.queue()?.consumer().commit(&list, CommitMode::Sync).map_err(refused)
    }

    fn end_offset(&self, partition: PartitionId) -> Option<NextOffset> {
        let end = self.queue.as_ref()?.high_watermark(partition.0)?;
        let is_reached = self.reached.get(&partition.0).is_some_and(|reached| *reached >= end);
        let handed = self.handed.get(&partition.0).copied().filter(|_| is_reached);
        Some(NextOffset(handed.unwrap_or(end)))
    }

    fn health(&self) -> Health {
        self.health.health()
    }
}

impl Drop for KafkaGroupReader {
    fn drop(&mut self) {
        // Nobody answers the group any more; its last word is answered where it comes.
        self.health.leave_group();
        let (waiting, leaving) = (self.list(&self.waiting), self.list(&self.leaving));
        let Some(queue) = self.queue.take() else { return };
        let consumer = queue.consumer();
        // Leaving waits for every answer that is still due.
        let mut answers = Vec::new();
        if waiting.count() > 0 {
            answers.push(consumer.incremental_assign(&waiting));
        }
        if leaving.count() > 0 {
            answers.push(consumer.incremental_unassign(&leaving));
        }
        while let Some(rebalance) = self.health.next_rebalance() {
            let list = |partitions: Vec<u32>| self.list(&partitions.into_iter().collect());
            answers.push(match rebalance {
                Rebalance::Assigned(partitions) => consumer.incremental_assign(&list(partitions)),
                Rebalance::Revoked(partitions) => consumer.incremental_unassign(&list(partitions)),
            });
        }
        for error in answers.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "an answer to the group on leaving");
        }
        end_in_background(queue);
    }
}
