//! Reading the input: a consumer with partitions assigned by hand.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use tidegate_core::{NextOffset, PartitionId, TimestampMs};

use super::{
    bring_up,
    config::KafkaConfig,
    end_in_background,
    failure::{by_code, classify, is_missing, is_passing},
    health::{ClientHealth, Clients, Context},
    native::{FetchQueue, Fetched},
};
use crate::{Health, LogError, RecordReader, RecordRef, RecordSink, Topic};

/// Which records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Those of committed transactions.
    Committed,
    /// All.
    Uncommitted,
}

/// How long a new client may take to find the broker before the caller hears of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A seek is a message to librdkafka's own thread and takes less than a millisecond.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads one topic of fixed partitions.
pub(super) struct KafkaReader {
    config: Arc<KafkaConfig>,
    topic: Topic,
    isolation: Isolation,
    health: Arc<ClientHealth>,
    state: State,
}

enum State {
    /// Connected, nothing assigned.
    Idle(BaseConsumer<Context>),
    /// Reads these partitions.
    Reading(FetchQueue, Vec<u32>),
    /// Could not be rebuilt.
    Gone,
}

impl KafkaReader {
    pub(super) fn connect(
        config: &Arc<KafkaConfig>,
        topic: Topic,
        clients: &Clients,
    ) -> Result<Self, LogError> {
        Self::connect_as(config, topic, Isolation::Committed, clients)
    }

    /// A reader of all records, or of committed ones.
    pub(super) fn connect_as(
        config: &Arc<KafkaConfig>,
        topic: Topic,
        isolation: Isolation,
        clients: &Clients,
    ) -> Result<Self, LogError> {
        let health = clients.add(true);
        let consumer = connect(config, topic, isolation, &health)?;
        Ok(Self { config: Arc::clone(config), topic, isolation, health, state: State::Idle(consumer) })
    }

    /// The first offset of a partition that is still there; before anything is assigned.
    pub(super) fn begin(&self, partition: u32, timeout: Duration) -> Result<NextOffset, LogError> {
        let State::Idle(consumer) = &self.state else {
            return Err(LogError::Broken { what: "kafka reader", cause: "it reads already".into() });
        };
        let (begin, _) = consumer
            .fetch_watermarks(self.config.topic(self.topic), partition as i32, timeout)
            .map_err(|error| classify("asking for offsets", &error))?;
        Ok(NextOffset(begin))
    }

    /// Goes to new positions on the same connection; what was fetched before is out of date by librdkafka's
    /// versions and is not delivered. Fails when the client cannot: then it is replaced.
    fn seek(queue: &FetchQueue, list: TopicPartitionList) -> Result<(), KafkaError> {
        let sought = queue.consumer().seek_partitions(list, SEEK_TIMEOUT)?;
        sought.elements().iter().try_for_each(|element| element.error())
    }

    fn start(&mut self, partitions: Vec<u32>, list: &TopicPartitionList) -> Result<(), LogError> {
        let consumer = match std::mem::replace(&mut self.state, State::Gone) {
            State::Idle(consumer) => consumer,
            State::Reading(queue, _) => {
                end_in_background(queue);
                connect(&self.config, self.topic, self.isolation, &self.health)?
            }
            State::Gone => connect(&self.config, self.topic, self.isolation, &self.health)?,
        };
        let queue = FetchQueue::new(consumer, self.config.topic(self.topic), partitions.iter().copied())?;
        queue.consumer().assign(list).map_err(|error| classify("assigning partitions", &error))?;
        self.state = State::Reading(queue, partitions);
        Ok(())
    }

    fn error(&self, partition: i32, offset: i64, code: Code, cause: String) -> LogError {
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation | Code::NoOffset => {
                LogError::OffsetOutOfRange { partition: partition as u32, offset, cause }
            }
            code if is_missing(code) => {
                LogError::TopicsMissing(vec![self.config.topic(self.topic).to_owned()])
            }
            code => by_code("reading records", code, cause),
        }
    }
}

fn connect(
    config: &KafkaConfig,
    topic: Topic,
    isolation: Isolation,
    health: &Arc<ClientHealth>,
) -> Result<BaseConsumer<Context>, LogError> {
    let mut client = config.reader(topic);
    if isolation == Isolation::Uncommitted {
        client.set("isolation.level", "read_uncommitted");
    }
    let consumer = BaseConsumer::from_config_and_context(&client, Context(Arc::clone(health)))
        .map_err(|error| classify("kafka reader", &error))?;
    bring_up(consumer.client(), config.topic(topic), CONNECT_TIMEOUT)
        .map_err(|error| classify("connecting the reader", &error))?;
    Ok(consumer)
}

impl RecordReader for KafkaReader {
    fn assign(&mut self, positions: &[(PartitionId, NextOffset)]) -> Result<(), LogError> {
        let mut partitions: Vec<u32> = positions.iter().map(|(partition, _)| partition.0).collect();
        partitions.sort_unstable();
        // A list kept beyond this call would make dropping the client hang.
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, next) in positions {
            list.add_partition_offset(
                self.config.topic(self.topic),
                partition.0 as i32,
                Offset::Offset(next.0),
            )
            .map_err(|error| classify("assigning partitions", &error))?;
        }
        if let State::Reading(queue, assigned) = &self.state
            && *assigned == partitions
        {
            match Self::seek(queue, list.clone()) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(%error, "seek failed, the reader connects anew"),
            }
        }
        self.start(partitions, &list)
    }

    fn poll(
        &mut self,
        timeout: Duration,
        max_records: usize,
        sink: &mut dyn RecordSink,
    ) -> Result<usize, LogError> {
        // Logs, statistics and global errors are served here; with nothing to read it is also the wait.
        let (main, wait) = match &self.state {
            State::Idle(consumer) => (consumer, timeout),
            State::Reading(queue, _) if max_records == 0 => (queue.consumer(), timeout),
            State::Reading(queue, _) => (queue.consumer(), Duration::ZERO),
            State::Gone => {
                let cause = "it lost its client; assign again".into();
                return Err(LogError::Broken { what: "kafka reader", cause });
            }
        };
        let mut lasting = match main.poll(wait) {
            Some(Err(error)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                (!is_passing(code)).then(|| self.error(-1, -1, code, error.to_string()))
            }
            Some(Ok(_)) => {
                let cause = "a record came in the wrong queue".into();
                Some(LogError::Broken { what: "kafka reader", cause })
            }
            None => None,
        };
        let mut failed = None;
        let mut records = 0;
        if let State::Reading(queue, _) = &mut self.state {
            queue.fetch(timeout, max_records, &mut |fetched| match fetched {
                Fetched::Record { partition, offset, timestamp, key, value, headers } => {
                    records += 1;
                    let (partition, timestamp) = (PartitionId(partition), TimestampMs(timestamp));
                    let record = RecordRef { partition, offset, timestamp, key, value };
                    sink.record(record, &mut |arena| headers.write(arena));
                }
                Fetched::EndOfPartition { partition, offset } => {
                    sink.end_of_partition(PartitionId(partition), NextOffset(offset));
                }
                Fetched::Error { code, .. } if is_passing(code) => {}
                Fetched::Error { partition, offset, code, cause } => {
                    failed.get_or_insert((partition, offset, code, cause));
                }
            });
        }
        if let Some((partition, offset, code, cause)) = failed {
            lasting = Some(self.error(partition, offset, code, cause));
        }
        lasting.map_or(Ok(records), Err)
    }

    fn end_offset(&self, partition: PartitionId) -> Option<NextOffset> {
        match &self.state {
            State::Reading(queue, _) => queue.high_watermark(partition.0).map(NextOffset),
            State::Idle(_) | State::Gone => None,
        }
    }

    fn health(&self) -> Health {
        self.health.health()
    }
}
