//! Records and marks in one transaction.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::Producer as _,
};

use super::{
    config::KafkaConfig,
    failure::{by_code, classify},
    health::Context,
    native::{Producer, Record},
    takeover::{REQUEST_TIMEOUT, committed},
};
use crate::{LogError, Mark, MarkedWriter, OutputBatch, Topic, TopicsFacts};

/// How long a take-over, and the end of a transaction, may take.
const TIMEOUT: Duration = Duration::from_secs(60);
const WHAT: &str = "writing records with marks";

/// A producer with a transactional id of its own.
pub(super) struct KafkaMarkedWriter {
    config: Arc<KafkaConfig>,
    /// Whose partitions the marks are kept with.
    topic: Topic,
    producer: Producer,
    /// Nobody else writes: all marks are decided.
    has_taken_over: bool,
}

impl KafkaMarkedWriter {
    /// A writer whose transactional id is the pipeline's with `id` behind it.
    pub(super) fn new(
        config: &KafkaConfig,
        topic: Topic,
        id: &str,
        topics: &TopicsFacts,
    ) -> Result<Self, LogError> {
        let mut config = config.clone();
        config.transactional_id = format!("{}.{id}", config.transactional_id);
        let names = Topic::ALL.map(|topic| config.topic(topic));
        // Unlike the pipeline this one writes to the input.
        let most_batch_bytes = topics[Topic::Raw as usize].max_message_bytes;
        let producer = Producer::new(&config.writer(topics, most_batch_bytes), Context::unheard(), &names)?;
        Ok(Self { config: Arc::new(config), topic, producer, has_taken_over: false })
    }

    /// A client that stands for a group, without being a member.
    fn group(&self, group: &str) -> Result<BaseConsumer<Context>, LogError> {
        let mut config = (*self.config).clone();
        group.clone_into(&mut config.group_id);
        // Who only looks does not wait for the transaction of one that was killed.
        let client = if self.has_taken_over { config.group() } else { config.undecided_group() };
        BaseConsumer::from_config_and_context(&client, Context::unheard())
            .map_err(|error| classify("kafka client", &error))
    }

    fn send(&self, batch: &OutputBatch, deadline: Instant) -> Result<(), LogError> {
        batch.records.iter().try_for_each(|record| {
            let sent = self.producer.send_until(record.topic as usize, &Record::of(batch, record), deadline);
            sent.map_err(|code| by_code(WHAT, code, code.to_string()))
        })
    }

    fn mark(&self, marks: &[Mark], deadline: Instant) -> Result<(), LogError> {
        let mut by_group: BTreeMap<&str, Vec<&Mark>> = BTreeMap::new();
        for mark in marks {
            by_group.entry(&mark.group).or_default().push(mark);
        }
        for (group, marks) in by_group {
            let mut list = TopicPartitionList::with_capacity(marks.len());
            for mark in marks {
                let mut element = list.add_partition(self.config.topic(self.topic), mark.partition.0 as i32);
                // The text is what counts; an offset has to be there.
                element.set_offset(Offset::Offset(0)).map_err(|error| classify(WHAT, &error))?;
                element.set_metadata(&mark.text);
            }
            let consumer = self.group(group)?;
            let no_group = || LogError::Broken { what: WHAT, cause: "no group metadata".into() };
            let metadata = consumer.group_metadata().ok_or_else(no_group)?;
            retried(deadline, |left| {
                self.producer.client().send_offsets_to_transaction(&list, &metadata, left)
            })?;
        }
        Ok(())
    }
}

/// Goes on with a request of the transaction for as long as the client says that this is right.
fn retried(
    deadline: Instant,
    mut request: impl FnMut(Duration) -> Result<(), KafkaError>,
) -> Result<(), LogError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match request(left) {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && !left.is_zero() => {}
            Err(error) => return Err(classify(WHAT, &error)),
        }
    }
}

impl MarkedWriter for KafkaMarkedWriter {
    fn take_over(&mut self) -> Result<(), LogError> {
        let client = self.producer.client();
        retried(Instant::now() + TIMEOUT, |left| client.init_transactions(left))?;
        self.has_taken_over = true;
        Ok(())
    }

    fn marks(&mut self, group: &str, partitions: u32) -> Result<Vec<Option<String>>, LogError> {
        let group = self.group(group)?;
        let found = committed(&group, &self.config, &[(self.topic, partitions)], REQUEST_TIMEOUT)?;
        Ok(found.into_iter().map(|(_, committed)| committed.map(|(_, text)| text)).collect())
    }

    fn write(&mut self, batch: &OutputBatch, marks: &[Mark]) -> Result<(), LogError> {
        let deadline = Instant::now() + TIMEOUT;
        let client = self.producer.client();
        client.begin_transaction().map_err(|error| classify(WHAT, &error))?;
        self.send(batch, deadline)?;
        self.mark(marks, deadline)?;
        // Flushes first; a record that was refused fails it.
        retried(deadline, |left| client.commit_transaction(left))
    }
}
