//! Plain Kafka clients: what another application or an operator would use.

use std::{
    collections::HashSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, Headers as _, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};

use super::wait::PATIENCE;

const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Headers by name, in their order.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
    /// The record's Kafka timestamp.
    pub timestamp: i64,
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
    pub timestamp: i64,
}

impl Record {
    /// The value of the one header of this name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        let value = found.next()?.1.as_deref()?;
        assert!(found.next().is_none(), "header {name} is there twice: {:?}", self.headers);
        Some(std::str::from_utf8(value).unwrap())
    }
}

/// A cluster.
#[derive(Clone)]
pub struct Kafka {
    pub bootstrap: String,
    /// For questions about topics.
    asker: Arc<OnceLock<BaseConsumer>>,
}

impl Kafka {
    /// No cluster at all.
    pub fn nowhere() -> Self {
        Self { bootstrap: "127.0.0.1:1".into(), asker: Arc::default() }
    }

    /// The broker for the tests.
    ///
    /// # Panics
    /// Without one.
    pub fn from_env() -> Self {
        match std::env::var("TIDEGATE_TEST_KAFKA") {
            Ok(bootstrap) if !bootstrap.is_empty() => Self::at(bootstrap),
            _ => panic!("TIDEGATE_TEST_KAFKA is not set: run `cargo xtask test`"),
        }
    }

    /// A cluster that may be up or not.
    pub fn at(bootstrap: String) -> Self {
        Self { bootstrap, asker: Arc::default() }
    }

    fn asker(&self) -> &BaseConsumer {
        self.asker.get_or_init(|| self.consumer("unused", "read_uncommitted"))
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("reconnect.backoff.max.ms", "500");
        config
    }

    fn consumer(&self, group: &str, isolation: &str) -> BaseConsumer {
        let mut config = self.client();
        config.set("group.id", group).set("isolation.level", isolation).set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "true").set("auto.offset.reset", "error");
        config.set("fetch.wait.max.ms", "20").set("fetch.message.max.bytes", "8000000");
        config.create().unwrap()
    }

    /// A producer that writes each record exactly once, whatever the broker does meanwhile.
    pub fn producer(&self) -> Producer {
        self.producer_of(&mut self.client())
    }

    fn producer_of(&self, config: &mut ClientConfig) -> Producer {
        config.set("enable.idempotence", "true").set("linger.ms", "5").set("message.max.bytes", "4000000");
        let failed = Arc::new(AtomicU64::new(0));
        let inner = config.create_with_context(Deliveries(Arc::clone(&failed))).unwrap();
        Producer { inner, failed }
    }

    /// Writes records in a transaction that is rolled back: nobody reads them, but they take up offsets.
    pub fn write_rolled_back<'a>(&self, topic: &str, inputs: impl IntoIterator<Item = &'a Input>) {
        let mut config = self.client();
        let producer = self.producer_of(config.set("transactional.id", format!("{topic}-rolled-back")));
        producer.inner.init_transactions(CALL_TIMEOUT).unwrap();
        producer.inner.begin_transaction().unwrap();
        producer.write(topic, inputs);
        producer.inner.abort_transaction(CALL_TIMEOUT).unwrap();
    }

    /// Partitions of a topic that exists.
    pub fn partitions(&self, topic: &str) -> i32 {
        let metadata = self.asker().fetch_metadata(Some(topic), CALL_TIMEOUT).unwrap();
        let count = metadata.topics()[0].partitions().len() as i32;
        assert!(count > 0, "there is no topic {topic}");
        count
    }

    /// Whether a topic exists.
    pub fn has_topic(&self, topic: &str) -> bool {
        let metadata = self.asker().fetch_metadata(None, CALL_TIMEOUT).unwrap();
        metadata.topics().iter().any(|known| known.name() == topic)
    }

    /// The high watermarks of a topic's partitions.
    pub fn end_offsets(&self, topic: &str) -> Vec<i64> {
        (0..self.partitions(topic))
            .map(|partition| self.asker().fetch_watermarks(topic, partition, CALL_TIMEOUT).unwrap().1)
            .collect()
    }

    /// All records that a `read_committed` consumer sees, by partition and offset.
    pub fn dump(&self, topic: &str) -> Vec<Record> {
        self.read(topic, "read_committed")
    }

    /// How many records of a topic belong to transactions that were rolled back (or are still open).
    pub fn rolled_back(&self, topic: &str) -> usize {
        self.read(topic, "read_uncommitted").len() - self.dump(topic).len()
    }

    fn read(&self, topic: &str, isolation: &str) -> Vec<Record> {
        let consumer = self.consumer("unused", isolation);
        let mut open: HashSet<i32> = (0..self.partitions(topic)).collect();
        let mut positions = TopicPartitionList::new();
        for &partition in &open {
            positions.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&positions).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut records = Vec::new();
        while !open.is_empty() {
            assert!(Instant::now() < deadline, "cannot read {topic} to its end");
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => records.push(record(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => _ = open.remove(&partition),
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                ))) => {}
                Some(Err(error)) => panic!("reading {topic}: {error}"),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// What `group` has committed for a topic, by partition: offset and metadata.
    pub fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<(i64, String)>> {
        let watch = self.committed_watch(group, topic, partitions);
        super::wait::until("the committed offsets", || watch.committed())
    }

    /// Asks for committed offsets again and again over one connection.
    pub fn committed_watch(&self, group: &str, topic: &str, partitions: i32) -> CommittedWatch {
        // A stable answer would wait for the open transaction.
        let consumer = self.consumer(group, "read_uncommitted");
        CommittedWatch { consumer, topic: topic.to_owned(), partitions }
    }

    /// Sets the committed offsets of a group that nobody is in.
    pub fn set_committed(&self, group: &str, topic: &str, offsets: &[(i32, i64, String)]) {
        let consumer = self.consumer(group, "read_uncommitted");
        let mut list = TopicPartitionList::new();
        for (partition, offset, metadata) in offsets {
            let mut element = list.add_partition(topic, *partition);
            element.set_offset(Offset::Offset(*offset)).unwrap();
            element.set_metadata(metadata);
        }
        consumer.commit(&list, CommitMode::Sync).unwrap();
    }

    /// Forgets a group with all its committed offsets.
    pub fn delete_group(&self, group: &str) {
        let results = self.admin(|admin, options| block_on(admin.delete_groups(&[group], options)));
        results.unwrap().into_iter().for_each(|result| _ = result.unwrap());
    }

    /// Deletes the records before `offset`, as retention would.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        self.admin(|admin, options| block_on(admin.delete_records(&list, options))).unwrap();
    }

    /// Replaces the whole configuration of a topic.
    pub fn configure_topic(&self, topic: &str, settings: &[(&str, &str)]) {
        let mut config = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (key, value) in settings {
            config = config.set(key, value);
        }
        let results = self.admin(|admin, options| block_on(admin.alter_configs([&config], options)));
        results.unwrap().into_iter().for_each(|result| _ = result.unwrap());
    }

    /// Deletes topics, as far as they exist.
    pub fn delete_topics(&self, topics: &[&str]) {
        // What is not there need not be deleted, and a broker that is gone takes its topics along.
        let _ = self.admin(|admin, options| block_on(admin.delete_topics(topics, options)));
    }

    fn admin<T>(&self, call: impl FnOnce(&AdminClient<DefaultClientContext>, &AdminOptions) -> T) -> T {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        call(
            &admin,
            &AdminOptions::new().operation_timeout(Some(CALL_TIMEOUT)).request_timeout(Some(CALL_TIMEOUT)),
        )
    }
}

/// See [`Kafka::committed_watch`].
pub struct CommittedWatch {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl CommittedWatch {
    /// The committed offsets by partition, 0 where there is none; `None` while the broker does not answer.
    pub fn offsets(&self) -> Option<Vec<i64>> {
        Some(
            self.committed()?
                .into_iter()
                .map(|committed| committed.map_or(0, |(offset, _)| offset))
                .collect(),
        )
    }

    fn committed(&self) -> Option<Vec<Option<(i64, String)>>> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&self.topic, 0, self.partitions - 1);
        let answer = self.consumer.committed_offsets(asked, CALL_TIMEOUT).ok()?;
        let one = |partition| {
            let element = answer.find_partition(&self.topic, partition)?;
            element.error().ok()?;
            Some(match element.offset() {
                Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
                _ => None,
            })
        };
        (0..self.partitions).map(one).collect()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn record(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
        // -1 is Kafka's word for none
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
    }
}

struct Deliveries(Arc<AtomicU64>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("the test's producer failed: {error}");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes records.
pub struct Producer {
    inner: ThreadedProducer<Deliveries>,
    failed: Arc<AtomicU64>,
}

impl Producer {
    /// Queues a record, waiting while the queue is full.
    pub fn send(&self, topic: &str, input: &Input) {
        let mut record =
            BaseRecord::<[u8], [u8]>::to(topic).partition(input.partition).timestamp(input.timestamp);
        if let Some(key) = &input.key {
            record = record.key(key);
        }
        if let Some(value) = &input.value {
            record = record.payload(value);
        }
        if !input.headers.is_empty() {
            let with = |all: OwnedHeaders, (key, value): &(String, Option<Vec<u8>>)| {
                all.insert(Header { key, value: value.as_ref() })
            };
            record = record.headers(input.headers.iter().fold(OwnedHeaders::new(), with));
        }
        let deadline = Instant::now() + PATIENCE;
        while let Err((error, refused)) = self.inner.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            assert!(full && Instant::now() < deadline, "the test cannot write: {error}");
            thread::sleep(Duration::from_millis(1));
            record = refused;
        }
    }

    /// Returns when all records are in the log.
    pub fn flush(&self) {
        self.inner.flush(PATIENCE).unwrap();
        assert_eq!(self.failed.load(Ordering::Relaxed), 0, "some of the test's records were not written");
    }

    /// Writes records and waits until they are in the log.
    pub fn write<'a>(&self, topic: &str, inputs: impl IntoIterator<Item = &'a Input>) {
        inputs.into_iter().for_each(|input| self.send(topic, input));
        self.flush();
    }
}
