//! Apache Kafka: epochs are transactions.
//!
//! One [`KafkaLog`] makes the clients: a writer ([`EpochWriter`]), which is a transactional producer and a small
//! consumer that asks for the committed offsets; a reader ([`RecordReader`]), which is a consumer with its
//! partitions assigned by hand; and short-lived ones for everything else.

mod admin;
mod appender;
mod changelog;
mod config;
mod extent;
mod failure;
mod group;
mod health;
mod marked;
mod native;
mod offline;
mod plain;
mod probe;
mod range;
mod reader;
mod refused;
mod takeover;
mod writer;

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    client::Client,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
    metadata::Metadata,
};
use tidegate_core::NextOffset;

use self::{
    admin::Limits,
    appender::KafkaAppender,
    failure::{classify, code, is_missing},
    group::KafkaGroupReader,
    health::{Clients, Context},
    marked::KafkaMarkedWriter,
    reader::KafkaReader,
    refused::Learnt,
    writer::KafkaWriter,
};
pub use self::{
    admin::{BrokerFacts, Permission, apply, broker_facts, permissions, plan},
    config::{EpochOf, KafkaConfig},
    offline::objections,
    plain::PlainProducer,
};
use crate::{
    Appender, ChangelogRecord, EpochWriter, GroupReader, Health, Log, LogError, MarkedWriter, OffsetRange,
    RecordReader, Topic, TopicFacts, TopicsFacts,
};

/// A log on Apache Kafka.
pub struct KafkaLog {
    config: Arc<KafkaConfig>,
    clients: Clients,
    /// Sizes that topics refused whose limits may not be asked for.
    learnt: Arc<Learnt>,
    /// What the last inquiry of this object met; counts while no reader or writer knows better.
    inquiry: Mutex<Health>,
}

impl KafkaLog {
    /// Checks the settings; nothing is connected yet.
    ///
    /// # Errors
    /// [`LogError::Misconfigured`] for properties that librdkafka does not know or refuses, that would break
    /// exactly-once, or that need TLS in a build without it.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        config.check()?;
        // librdkafka's own checks are made when a client is.
        inquirer(&config, false)?;
        Ok(Self {
            config: Arc::new(config),
            clients: Clients::default(),
            learnt: Arc::default(),
            inquiry: Mutex::new(Health::Connecting),
        })
    }

    fn note<T>(&self, outcome: Result<T, LogError>) -> Result<T, LogError> {
        let health = match &outcome {
            Ok(_) => Health::Up,
            Err(error @ (LogError::Unavailable { .. } | LogError::NotPermitted { .. })) => {
                Health::Down(error.to_string())
            }
            // The broker answered, only not what was hoped for.
            Err(_) => Health::Up,
        };
        *self.inquiry.lock().unwrap_or_else(PoisonError::into_inner) = health;
        outcome
    }

    /// The topics as the brokers describe them, all that are missing told at once.
    fn describe(&self, timeout: Duration) -> Result<[native::Described; 5], LogError> {
        const WHAT: &str = "asking for metadata";
        let consumer = inquirer(&self.config, false)?;
        let client = consumer.client().native_ptr();
        let names = Topic::ALL.map(|topic| self.config.topic(topic));
        let described = native::Question::ask(client, &names, false, timeout)?
            .answer(WHAT)
            .map_err(|error| with_cause(&self.config, &consumer, error))?;
        end_in_background(consumer);
        let missing: Vec<String> = described
            .iter()
            .filter(|topic| topic.error.is_some_and(is_missing))
            .map(|topic| topic.name.clone())
            .collect();
        if !missing.is_empty() {
            return Err(LogError::TopicsMissing(missing));
        }
        if let Some((name, code)) = described.iter().find_map(|topic| Some((&topic.name, topic.error?))) {
            return Err(failure::by_code(WHAT, code, format!("topic {name}: {code}")));
        }
        described.try_into().map_err(|_| {
            let cause = "the answer has not as many topics as the question".into();
            LogError::Unavailable { what: WHAT, cause }
        })
    }

    /// The largest record that a topic takes and the client sends.
    fn size_limit(&self, topic: Topic, limits: &Limits) -> usize {
        let learnt = if limits.are_known { usize::MAX } else { self.learnt.limit(topic) };
        limits.max_message_bytes.min(learnt).min(self.config.message_max_bytes().unwrap_or(usize::MAX))
    }

    fn partition_count(
        &self,
        consumer: &BaseConsumer<Context>,
        topic: Topic,
        timeout: Duration,
    ) -> Result<u32, LogError> {
        let name = self.config.topic(topic);
        partitions(&metadata(&self.config, consumer, Some(name), timeout)?, name)?
            .map(|replicas| replicas.len() as u32)
            .ok_or_else(|| LogError::TopicsMissing(vec![name.to_owned()]))
    }
}

impl Log for KafkaLog {
    fn topics(&self, timeout: Duration) -> Result<TopicsFacts, LogError> {
        // Each client needs its own connection: they are opened at the same time.
        let (described, limits) = thread::scope(|scope| {
            let limits = scope.spawn(|| admin::limits(&self.config, timeout));
            let described = self.describe(timeout);
            let panicked =
                || Err(LogError::Broken { what: "topic limits", cause: "the thread panicked".into() });
            (described, limits.join().unwrap_or_else(|_| panicked()))
        });
        let described = self.note(described)?;
        let limits = self.note(limits)?;
        Ok(Topic::ALL.map(|topic| {
            let (described, limits) = (&described[topic as usize], &limits[topic as usize]);
            TopicFacts {
                name: described.name.clone(),
                id: described.id,
                partitions: described.leaders.len() as u32,
                max_message_bytes: self.size_limit(topic, limits),
                limits: limits.others,
            }
        }))
    }

    fn writer(&self, topics: &TopicsFacts) -> Result<Box<dyn EpochWriter>, LogError> {
        Ok(Box::new(KafkaWriter::new(&self.config, topics, &self.clients, &self.learnt)?))
    }

    fn reader(&self, topic: Topic) -> Result<Box<dyn RecordReader>, LogError> {
        let reader = self.note(KafkaReader::connect(&self.config, topic, &self.clients))?;
        Ok(Box::new(reader))
    }

    fn group_reader(&self, topic: Topic, group: &str) -> Result<Box<dyn GroupReader>, LogError> {
        Ok(Box::new(KafkaGroupReader::connect(&self.config, topic, group, &self.clients)?))
    }

    fn appender(&self) -> Result<Box<dyn Appender>, LogError> {
        Ok(Box::new(KafkaAppender::new(&self.config, &self.clients)?))
    }

    fn marked_writer(
        &self,
        topic: Topic,
        id: &str,
        topics: &TopicsFacts,
    ) -> Result<Box<dyn MarkedWriter>, LogError> {
        Ok(Box::new(KafkaMarkedWriter::new(&self.config, topic, id, topics)?))
    }

    fn offsets(&self, topic: Topic, stable: bool, timeout: Duration) -> Result<Vec<OffsetRange>, LogError> {
        let asked = (|| {
            let consumer = inquirer(&self.config, stable)?;
            let count = self.partition_count(&consumer, topic, timeout)?;
            let name = self.config.topic(topic);
            let begins = list_offsets(&consumer, name, count, Offset::Beginning, timeout)?;
            let ends = list_offsets(&consumer, name, count, Offset::End, timeout)?;
            end_in_background(consumer);
            Ok(begins.into_iter().zip(ends).map(|(begin, end)| OffsetRange { begin, end }).collect())
        })();
        self.note(asked)
    }

    fn read_changelog(
        &self,
        from: &[NextOffset],
        stable: bool,
        timeout: Duration,
        each: &mut dyn FnMut(ChangelogRecord<'_>),
    ) -> Result<Vec<NextOffset>, LogError> {
        let deadline = Instant::now() + timeout;
        let ranges = self.offsets(Topic::State, stable, timeout)?;
        changelog::read(&self.config, &self.clients, &ranges, from, deadline, each)
    }

    fn health(&self) -> Health {
        let inquiry = self.inquiry.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.clients.health(inquiry)
    }
}

/// A consumer for questions: unlike a producer's, its questions about topics never create one.
fn inquirer(config: &KafkaConfig, stable: bool) -> Result<BaseConsumer<Context>, LogError> {
    BaseConsumer::from_config_and_context(&config.inquiry(stable), Context::unheard())
        .map_err(|error| classify("kafka client", &error))
}

/// Brings up a connection that lasts. The first answer comes from a bootstrap address, whose connection librdkafka
/// drops as soon as it knows the brokers by their numbers; to one of those the second goes. Without a connection
/// that is up, what comes next would wait for a fixed timer of 500 ms.
fn bring_up(client: &Client<Context>, topic: &str, timeout: Duration) -> KafkaResult<()> {
    client.fetch_metadata(Some(topic), timeout)?;
    client.fetch_metadata(Some(topic), timeout)?;
    Ok(())
}

/// Ending a client takes up to 100 ms, which nobody needs to wait for.
fn end_in_background<T: Send + 'static>(client: T) {
    thread::spawn(move || drop(client));
}

fn metadata(
    config: &KafkaConfig,
    consumer: &BaseConsumer<Context>,
    topic: Option<&str>,
    timeout: Duration,
) -> Result<Metadata, LogError> {
    const WHAT: &str = "asking for metadata";
    consumer
        .fetch_metadata(topic, timeout)
        .map_err(|error| with_cause(config, consumer, classify(WHAT, &error)))
}

/// What stands behind a time-out is known to the error callback only, behind some lines of log: serves it. Where no
/// broker answers, says who does.
fn with_cause(config: &KafkaConfig, consumer: &BaseConsumer<Context>, error: LogError) -> LogError {
    for _ in 0..16 {
        consumer.poll(Duration::ZERO);
    }
    let error = match (error, consumer.context().0.last_error()) {
        (LogError::Unavailable { what, .. }, Some((code, cause))) => failure::by_code(what, code, cause),
        (sorted, _) => sorted,
    };
    probe::explain(config, error)
}

/// Replica counts of a topic's partitions; `None` if it does not exist.
fn partitions(metadata: &Metadata, name: &str) -> Result<Option<Vec<usize>>, LogError> {
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
    match topic.error().map(code) {
        None => Ok(Some(topic.partitions().iter().map(|partition| partition.replicas().len()).collect())),
        Some(code) if is_missing(code) => Ok(None),
        Some(code) => Err(failure::by_code("asking for metadata", code, format!("topic {name}: {code}"))),
    }
}

/// One end of every partition of a topic: with a client that reads committed records only, the end is the last
/// stable offset.
fn list_offsets(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partitions: u32,
    which: Offset,
    timeout: Duration,
) -> Result<Vec<NextOffset>, LogError> {
    const WHAT: &str = "asking for offsets";
    let sorted = |error| classify(WHAT, &error);
    let mut list = TopicPartitionList::with_capacity(partitions as usize);
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition as i32, which).map_err(sorted)?;
    }
    // The protocol's timestamps for the ends are the numbers of these two offsets: one request a broker.
    let list = consumer.offsets_for_times(list, timeout).map_err(sorted)?;
    let mut offsets = Vec::with_capacity(partitions as usize);
    for (partition, offset, _, code) in native::committed(&list) {
        if code != rdkafka::error::RDKafkaErrorCode::NoError || offset < 0 {
            return Err(failure::by_code(WHAT, code, format!("partition {partition}: {code}")));
        }
        offsets.push(NextOffset(offset));
    }
    Ok(offsets)
}
