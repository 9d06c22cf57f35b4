//! The transactional writer: one epoch is one transaction.

mod refusal;

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::Producer as _,
};
use tidegate_core::{NextOffset, PartitionId};

use super::{
    bring_up,
    config::KafkaConfig,
    extent::{Extent, METADATA_MAX_BYTES, own_text},
    failure::{by_code, classify, is_missing},
    health::{ClientHealth, Clients, Context},
    native::{self, Described, Producer, Question, Record},
    refused::Learnt,
    takeover::{REQUEST_TIMEOUT, Takeover, committed, connect, end_predecessor},
};
use crate::{
    CommitOutcome, CommitPhases, CommittedOffset, EpochWriter, InputProgress, LogError, OutputBatch, Topic,
    TopicsFacts,
};

/// Waiting longer for room in the queue than the broker keeps a silent transaction open makes no sense.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(45);
/// An abort throws the epoch's records away; the flush before it only registers its partitions.
const ABORT_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// librdkafka repeats a request to end a transaction by itself after about 100 ms. The first one may still be
/// under way then, and can end the *next* transaction of the same producer instance: it lacks the defence of
/// KIP-890. After a call that took this long the instance is replaced, which makes the broker refuse stragglers.
const SLOW_END: Duration = Duration::from_millis(70);
/// How long a flush waits before it looks whether a record was refused meanwhile.
const FLUSH_STEP: Duration = Duration::from_millis(100);

/// Writes epochs as transactions of one `transactional.id`.
pub(super) struct KafkaWriter {
    config: Arc<KafkaConfig>,
    topics: TopicsFacts,
    clients: Clients,
    health: Arc<ClientHealth>,
    producer: Producer,
    /// Asks for the committed offsets, and names the group in transactions.
    group: BaseConsumer<Context>,
    group_metadata: Option<ConsumerGroupMetadata>,
    stage: Stage,
    /// The producer must be replaced before the next transaction.
    is_stale: bool,
    /// What is committed for each input partition as far as this writer knows: as it found it, or left it.
    known: BTreeMap<PartitionId, (NextOffset, String)>,
    /// How far the output partitions are written.
    extent: Extent,
    /// Something went wrong in the open epoch, or its commit was tried.
    is_troubled: bool,
    /// Errors that the client had seen when the epoch was opened.
    errors_before: u64,
    /// Of these, records that were not delivered.
    failures_before: u64,
    learnt: Arc<Learnt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not the owner yet.
    New,
    /// Owner, no transaction open.
    Ready,
    /// A transaction is open.
    Open,
    /// Only [`EpochWriter::fence`], with a new producer, can help.
    Broken,
}

impl KafkaWriter {
    pub(super) fn new(
        config: &Arc<KafkaConfig>,
        topics: &TopicsFacts,
        clients: &Clients,
        learnt: &Arc<Learnt>,
    ) -> Result<Self, LogError> {
        let health = clients.add(false);
        let group = BaseConsumer::from_config_and_context(&config.group(), Context::unheard())
            .map_err(|error| classify("kafka client", &error))?;
        Ok(Self {
            producer: producer(config, topics, learnt, &health)?,
            config: Arc::clone(config),
            topics: topics.clone(),
            clients: clients.clone(),
            health,
            group,
            group_metadata: None,
            stage: Stage::New,
            is_stale: false,
            known: BTreeMap::new(),
            extent: Extent::new(topics),
            is_troubled: false,
            errors_before: 0,
            failures_before: 0,
            learnt: Arc::clone(learnt),
        })
    }

    /// A new instance with the same id. The old one ends in the background.
    fn replace_producer(&mut self) -> Result<(), LogError> {
        self.stage = Stage::Broken;
        self.producer = producer(&self.config, &self.topics, &self.learnt, &self.health)?;
        self.stage = Stage::New;
        Ok(())
    }

    /// Notes what became of an attempt to become the owner.
    fn settle(&mut self, outcome: Result<Extent, LogError>) -> Result<(), LogError> {
        let outcome = outcome.map(|extent| self.extent = extent);
        match &outcome {
            Ok(()) => {
                self.stage = Stage::Ready;
                self.is_stale = false;
                self.is_troubled = false;
                self.errors_before = self.health.errors();
            }
            Err(_) => self.stage = Stage::Broken,
        }
        outcome
    }

    fn takeover(&self) -> Takeover<'_> {
        let Self { config, topics, clients, producer, group, .. } = self;
        Takeover { config, topics, clients, producer, group }
    }

    fn open(&mut self) -> Result<(), LogError> {
        match self.stage {
            Stage::Open => return Ok(()),
            Stage::Ready => {}
            Stage::New | Stage::Broken => {
                let cause = "the writer is not the owner; recovery must fence first".into();
                return Err(LogError::Broken { what: "opening an epoch", cause });
            }
        }
        // A partition that lost its leader may miss the markers of the last epoch. It must not become part of the next
        // one before that is known: if that one were rolled back, the last one's records would go with it.
        let is_suspect = self.health.errors() != self.errors_before && !self.takeover().is_clear()?;
        if self.is_stale || is_suspect {
            tracing::debug!(
                is_suspect,
                "the last transaction did not end as it should, the producer is replaced"
            );
            self.replace_producer()?;
            let outcome = self.takeover().run();
            self.settle(outcome)?;
            self.check_still_owner()?;
        }
        self.producer.client().begin_transaction().map_err(|error| classify("opening an epoch", &error))?;
        self.stage = Stage::Open;
        self.is_troubled = false;
        self.errors_before = self.health.errors();
        self.failures_before = self.health.failed_deliveries();
        drop(self.health.take_refused());
        Ok(())
    }

    /// Taking over anew fences everybody else, also a rightful successor. If one has committed since our last
    /// commit, our position is out of date, and what we would write was written already.
    fn check_still_owner(&mut self) -> Result<(), LogError> {
        let Some((PartitionId(last), _)) = self.known.last_key_value() else { return Ok(()) };
        let ours = self.known.clone();
        let outcome = self.committed(last + 1).and_then(|_| {
            if self.known == ours {
                return Ok(());
            }
            Err(LogError::Fenced("another writer has committed since our last commit".into()))
        });
        if outcome.is_err() {
            self.stage = Stage::Broken;
        }
        outcome
    }

    /// Waits while the client's queue is full; the record is not skipped.
    fn send(&self, topic: usize, record: &Record<'_>) -> Result<(), LogError> {
        let mut waiting_since = None;
        loop {
            match self.producer.send(topic, record) {
                Ok(()) => return Ok(()),
                Err(Code::QueueFull) => {
                    let since = *waiting_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > QUEUE_TIMEOUT {
                        let cause = "the queue stays full: the broker does not take records".into();
                        return Err(LogError::Unavailable { what: "writing records", cause });
                    }
                    // A producer that was fenced may never drain.
                    self.check_fatal("writing records")?;
                    thread::sleep(Duration::from_millis(1));
                }
                Err(Code::MessageSizeTooLarge) => return Err(self.too_large(topic, record)),
                Err(code) => {
                    self.check_fatal("writing records")?;
                    return Err(by_code("writing records", code, code.to_string()));
                }
            }
        }
    }

    fn check_fatal(&self, what: &'static str) -> Result<(), LogError> {
        match self.producer.client().client().fatal_error() {
            Some((code, cause)) => match by_code(what, code, cause) {
                LogError::Unavailable { what, cause } => Err(LogError::Broken { what, cause }),
                sorted => Err(sorted),
            },
            None => Ok(()),
        }
    }

    /// A flush that returns in time says nothing about delivery: a fenced producer drops its queue.
    fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        let deadline = Instant::now() + timeout;
        let flushed = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.producer.flush(left.min(FLUSH_STEP)) {
                // Behind a record that was refused nothing more is sent, so the queue never empties.
                Err(Code::OperationTimedOut) if left > FLUSH_STEP && !self.has_failed() => {}
                flushed => break flushed,
            }
        };
        self.check_fatal("flushing")?;
        flushed.map_err(|code| {
            let last = self.health.last_error().map(|(_, reason)| format!(": {reason}")).unwrap_or_default();
            by_code("flushing", code, format!("{code}{last}"))
        })
    }

    fn send_offsets(&mut self, progress: &[InputProgress], deadline: Instant) -> Result<(), LogError> {
        const WHAT: &str = "adding the input offsets";
        let mut progress = progress.to_vec();
        self.extent.write(&mut progress);
        // Built for this call only: a list kept alive would make dropping a client hang.
        let mut list = TopicPartitionList::with_capacity(progress.len());
        for input in &progress {
            let mut element = list.add_partition(self.config.topic(Topic::Raw), input.partition.0 as i32);
            element.set_offset(Offset::Offset(input.next.0)).map_err(|error| classify(WHAT, &error))?;
            element.set_metadata(&input.metadata);
        }
        if self.group_metadata.is_none() {
            self.group_metadata = self.group.group_metadata();
        }
        let Some(group) = &self.group_metadata else {
            return Err(LogError::Broken { what: WHAT, cause: "no group metadata".into() });
        };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.producer.client().send_offsets_to_transaction(&list, group, left) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !left.is_zero() => {
                    tracing::debug!(%error, "adding the input offsets is tried again");
                }
                Err(error) => return Err(classify(WHAT, &error)),
            }
        }
    }

    /// Everything before the request that ends the transaction.
    fn prepare(&mut self, progress: &[InputProgress], deadline: Instant) -> Result<CommitPhases, LogError> {
        // An offset below zero would be left out of the commit without an error.
        if let Some(wrong) =
            progress.iter().find(|input| input.metadata.len() > METADATA_MAX_BYTES || input.next.0 < 0)
        {
            return Err(LogError::Misconfigured(format!(
                "partition {}: offset {} with {} bytes of metadata cannot be committed",
                wrong.partition,
                wrong.next,
                wrong.metadata.len()
            )));
        }
        self.open()?;
        let began = Instant::now();
        let left = deadline.saturating_duration_since(began);
        // The answer comes while the records are written.
        let question = self.ask_about_topics(left)?;
        let flushed = self.flush(left);
        if self.has_failed() {
            return Err(self.failed_delivery());
        }
        flushed?;
        check_topics(&self.topics, &question.answer("checking the topics")?)?;
        self.learn_extent(deadline.saturating_duration_since(Instant::now()))?;
        let flushed = Instant::now();
        if !progress.is_empty() {
            self.send_offsets(progress, deadline)?;
        }
        Ok(CommitPhases { flush: flushed - began, offsets: flushed.elapsed(), end: Duration::ZERO })
    }

    fn ask_about_topics(&self, timeout: Duration) -> Result<Question, LogError> {
        let names = Topic::ALL.map(|topic| self.config.topic(topic));
        Question::ask(self.producer.client().client().native_ptr(), &names, false, timeout)
    }

    fn learn_extent(&mut self, timeout: Duration) -> Result<(), LogError> {
        let written = self.extent.written();
        if written.is_empty() {
            return Ok(());
        }
        let asked: Vec<_> =
            written.iter().map(|(topic, partition)| (self.config.topic(*topic), *partition)).collect();
        let ends = native::ends(self.producer.client().client().native_ptr(), &asked, false, timeout)?;
        self.extent.learn(&written, &ends);
        Ok(())
    }

    /// Sends the request that ends the transaction. From here on nothing may abort.
    fn end(&mut self, mut phases: CommitPhases, deadline: Instant) -> CommitOutcome {
        let began = Instant::now();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.producer.client().commit_transaction(left) {
                Ok(()) => break,
                // The same request goes on; any other call would be a conflict.
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !left.is_zero() => {
                    tracing::debug!(%error, "the commit goes on");
                }
                Err(error) => {
                    self.stage = Stage::Broken;
                    return CommitOutcome::Unknown(classify("committing", &error));
                }
            }
        }
        phases.end = began.elapsed();
        self.is_stale |= phases.end > SLOW_END;
        self.is_troubled = false;
        self.stage = Stage::Ready;
        CommitOutcome::Committed(phases)
    }
}

/// All that the open epoch read and wrote was in these topics only if they are still the same. A topic that was deleted
/// and created anew begins again at offset 0, and nothing else would tell.
fn check_topics(known: &TopicsFacts, now: &[Described]) -> Result<(), LogError> {
    for (topic, (before, now)) in Topic::ALL.iter().zip(known.iter().zip(now)) {
        match (now.error, before.id, now.id) {
            (Some(code), _, _) if is_missing(code) => {
                return Err(LogError::TopicsMissing(vec![before.name.clone()]));
            }
            (None, Some(was), Some(is)) if was != is => {
                let name = before.name.clone();
                return Err(match topic {
                    Topic::Raw | Topic::State => LogError::TopicReplaced(name),
                    // What was in it is gone, and recovery goes on in the new one.
                    _ => LogError::Broken {
                        what: "writing records",
                        cause: format!("topic {name} was created anew"),
                    },
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn producer(
    config: &KafkaConfig,
    topics: &TopicsFacts,
    learnt: &Learnt,
    health: &Arc<ClientHealth>,
) -> Result<Producer, LogError> {
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    Producer::new(&config.writer(topics, learnt.batch()), Context(Arc::clone(health)), &names)
}

impl EpochWriter for KafkaWriter {
    fn fence(&mut self) -> Result<(), LogError> {
        if self.stage != Stage::New {
            self.replace_producer()?;
        }
        let takeover = self.takeover();
        let Takeover { group, producer, config, topics, .. } = takeover;
        let outcome = thread::scope(|scope| {
            let predecessor = scope.spawn(|| end_predecessor(config, topics));
            // The client that asks for the offsets connects meanwhile; if it cannot, asking will say so.
            scope.spawn(|| bring_up(group.client(), config.topic(Topic::Raw), REQUEST_TIMEOUT).is_ok());
            let connected = connect(producer, config);
            let _ = predecessor.join();
            connected.and_then(|()| takeover.run())
        });
        self.settle(outcome)
    }

    fn committed(&mut self, partitions: u32) -> Result<Vec<CommittedOffset>, LogError> {
        let found = committed(&self.group, &self.config, &[(Topic::Raw, partitions)], REQUEST_TIMEOUT)?;
        let own = |(next, metadata): (NextOffset, String)| (next, own_text(&metadata).to_owned());
        let offset = |(partition, (_, committed)): (u32, (Topic, Option<_>))| CommittedOffset {
            partition: PartitionId(partition),
            committed: committed.map(own),
        };
        let committed: Vec<_> = (0..).zip(found).map(offset).collect();
        let known = committed.iter().filter_map(|found| Some((found.partition, found.committed.clone()?)));
        self.known = known.collect();
        Ok(committed)
    }

    fn append(&mut self, batch: &OutputBatch) -> Result<(), LogError> {
        if batch.records.is_empty() {
            return Ok(());
        }
        let appended = self.open().and_then(|()| {
            batch.records.iter().try_for_each(|record| {
                let native = Record::of(batch, record);
                self.extent.note(record.topic, record.partition);
                self.send(record.topic as usize, &native)
            })
        });
        self.is_troubled |= appended.is_err();
        appended.map_err(|error| self.explain(error))
    }

    fn commit(&mut self, progress: &[InputProgress], deadline: Duration) -> CommitOutcome {
        self.group.poll(Duration::ZERO);
        let deadline = Instant::now() + deadline;
        let prepared = self.prepare(progress, deadline);
        // Set again to false only by a commit that is known to have succeeded.
        self.is_troubled = true;
        let outcome = match prepared {
            Ok(phases) => self.end(phases, deadline),
            Err(error) => CommitOutcome::NotCommitted(error),
        };
        if let CommitOutcome::Committed(_) = outcome {
            let left = progress.iter().map(|input| (input.partition, (input.next, input.metadata.clone())));
            self.known.extend(left);
        }
        outcome
    }

    fn abort(&mut self, deadline: Duration) -> Result<(), LogError> {
        if self.stage != Stage::Open {
            return Ok(());
        }
        self.stage = Stage::Broken;
        // Without the flush some partitions may not be part of the transaction yet, and then the broker knows of
        // no transaction and the abort is fatal.
        if !self.has_failed() {
            self.flush(deadline.min(ABORT_FLUSH_TIMEOUT))?;
        }
        let began = Instant::now();
        self.producer.client().abort_transaction(deadline).map_err(|error| classify("aborting", &error))?;
        self.is_stale |= began.elapsed() > SLOW_END;
        self.stage = Stage::Ready;
        Ok(())
    }

    fn is_clean(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Open)
            && !self.is_troubled
            && self.health.errors() == self.errors_before
    }
}
