//! Transactions that the broker ended without writing all of their markers: two brokers, of which one dies with open
//! transactions, is fenced, so that its partitions have no leader while they are ended, and comes back.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
    producer::{BaseProducer, BaseRecord, Producer},
};
use support::{
    Broker, DEADLINE, Harness, Kafka, PARTITIONS, Seen, batch, commit, dump, owner, progress, retry,
};
use tidegate_core::{
    Epoch,
    epoch::{EpochMark, TopicIds},
};
use tidegate_log::{EpochWriter, Log, LogError, Topic};

/// The partition whose leader dies.
const DYING: u32 = 2;

/// Partitions of the internal topics, which are created by hand to choose their leaders.
const INTERNAL: [&str; 2] = ["transaction.state.log.num.partitions=1", "offsets.topic.num.partitions=2"];

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Two brokers; the first has the controller and the coordinator of transactions.
struct Cluster {
    dir: tempfile::TempDir,
    ports: [u16; 3],
    first: Broker,
    second: Option<Broker>,
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port(), free_port()];
        let [one, _, controller] = ports;
        let settings = [
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            format!("listeners=PLAINTEXT://127.0.0.1:{one},CONTROLLER://127.0.0.1:{controller}"),
            "broker.session.timeout.ms=4000".to_owned(),
            INTERNAL[0].to_owned(),
            INTERNAL[1].to_owned(),
        ];
        let first = Broker::start(&dir.path().join("1"), Some(&one.to_string()), &settings);
        let mut cluster = Self { dir, ports, first, second: None };
        cluster.start_second();
        cluster.create("__transaction_state", &[1], &[("cleanup.policy", "compact")]);
        // Groups are spread over two partitions, one on each broker.
        cluster.create("__consumer_offsets", &[1, 2], &[("cleanup.policy", "compact")]);
        cluster
    }

    fn second_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("2")
    }

    fn start_second(&mut self) {
        let [_, two, controller] = self.ports;
        let settings = [
            "process.roles=broker".to_owned(),
            "node.id=2".to_owned(),
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            format!("listeners=PLAINTEXT://127.0.0.1:{two}"),
            "broker.heartbeat.interval.ms=500".to_owned(),
            INTERNAL[0].to_owned(),
            INTERNAL[1].to_owned(),
        ];
        self.second = Some(Broker::start(&self.second_dir(), Some(&two.to_string()), &settings));
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.first.address);
        config
    }

    /// Creates a topic with the leader of each partition.
    fn create(&self, name: &str, leaders: &[i32], settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let replicas: Vec<&[i32]> = leaders.chunks(1).collect();
        let mut topic = NewTopic::new(name, leaders.len() as i32, TopicReplication::Variable(&replicas));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        // The second broker may not be ready to pass a request on to the controller yet.
        let patience = Some(Duration::from_secs(5));
        let options = AdminOptions::new().operation_timeout(patience).request_timeout(patience);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let created = wait(admin.create_topics([&topic], &options));
            match created.map(|mut created| created.remove(0)) {
                Ok(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => return,
                error => assert!(Instant::now() < deadline, "cannot create {name}: {error:?}"),
            }
        }
    }

    /// Topics, group and id of a test, with the group's offsets on the broker that dies or on the other one.
    fn names(&self, test: &str, offsets_die: bool) -> Kafka {
        let mut kafka = Kafka::names(test, self.first.address.clone());
        let wanted = u32::from(offsets_die);
        while java_hash(&kafka.config.group_id) % 2 != wanted {
            // An odd byte changes the parity of the hash.
            kafka.config.group_id.push('y');
        }
        kafka
    }

    /// The test's topics; in those of `dying` one partition is led by the broker that dies.
    fn create_topics(&self, kafka: &Kafka, dying: &[Topic]) {
        for topic in Topic::ALL {
            let leader = |partition| if partition == DYING && dying.contains(&topic) { 2 } else { 1 };
            let leaders: Vec<i32> = (0..PARTITIONS).map(leader).collect();
            let policy = if topic == Topic::State { "compact" } else { "delete" };
            let name = &kafka.config.topics[topic as usize];
            self.create(name, &leaders, &[("cleanup.policy", policy), ("retention.ms", "-1")]);
        }
    }

    /// Waits until the markers are where they can be.
    fn wait_until_ended(&self, kafka: &Kafka) {
        let end = |isolation| {
            let mut config = self.client();
            let consumer: BaseConsumer = config.set("isolation.level", isolation).create().unwrap();
            consumer.fetch_watermarks(&kafka.config.topics[Topic::Processed as usize], 0, DEADLINE).unwrap().1
        };
        let deadline = Instant::now() + DEADLINE;
        while end("read_committed") < end("read_uncommitted") {
            assert!(Instant::now() < deadline, "the transaction is never ended");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_until_leaderless(&self, topic: &str) {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).unwrap();
            if metadata.topics()[0].partitions().iter().any(|partition| partition.leader() < 0) {
                return;
            }
            assert!(Instant::now() < deadline, "the broker that died is never fenced");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What the broker chooses a group's partition by.
fn java_hash(text: &str) -> u32 {
    let hash = text.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    (hash & i32::MAX).cast_unsigned()
}

fn mark(epoch: u64) -> String {
    let mark = EpochMark {
        epoch: Epoch(epoch),
        owner: 1,
        partitions: PARTITIONS,
        highest: None,
        watermark: None,
        topics: TopicIds::default(),
    };
    mark.encode()
}

fn everywhere(value: &str) -> Vec<Seen> {
    (0..PARTITIONS)
        .map(|partition| Seen { key: Some(b"key".to_vec()), ..Seen::new(partition, value) })
        .collect()
}

fn progress_record(epoch: u64) -> Seen {
    Seen { key: Some(b"progress".to_vec()), ..Seen::new(0, epoch.to_string()) }
}

/// Commits epoch 1 as the daemon does: outputs everywhere and a progress record.
fn first_epoch(log: &dyn Log) -> Box<dyn EpochWriter> {
    // A broker may not have heard of the new topics yet.
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = log.topics(DEADLINE) {
        assert!(matches!(error, LogError::TopicsMissing(_)) && Instant::now() < deadline, "{error}");
    }
    let mut writer = owner(log);
    for topic in [Topic::Processed, Topic::State] {
        writer.append(&batch(topic, &everywhere("one"))).unwrap();
    }
    writer.append(&batch(Topic::State, &[progress_record(1)])).unwrap();
    commit(writer.as_mut(), &progress(&[10; 3], &mark(1)));
    writer
}

/// The transaction of epoch 2, made by hand, so that it can be stopped at any point: all of it is at the brokers but the
/// request that ends it.
fn second_epoch(cluster: &Cluster, kafka: &Kafka) -> BaseProducer {
    let committed = raw_metadata(cluster, kafka);
    let mut config = cluster.client();
    config.set("transactional.id", &kafka.config.transactional_id);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    producer.begin_transaction().unwrap();
    let send = |topic: Topic, partition: u32, key: &str, value: &str| {
        let topic = &kafka.config.topics[topic as usize];
        let record = BaseRecord::to(topic).partition(partition as i32).key(key).payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    };
    for partition in 0..PARTITIONS {
        send(Topic::Processed, partition, "key", "two");
        send(Topic::State, partition, "key", "two");
    }
    send(Topic::State, 0, "progress", "2");
    producer.flush(DEADLINE).unwrap();
    let mut offsets = TopicPartitionList::new();
    for (partition, metadata) in committed.into_iter().enumerate() {
        let share = metadata.split_once('|').unwrap().1;
        let share = ends_now(cluster, kafka, share);
        let mut entry = offsets.add_partition(&kafka.config.topics[0], partition as i32);
        entry.set_offset(Offset::Offset(20)).unwrap();
        entry.set_metadata(format!("{}|{share}", mark(2)));
    }
    let group: BaseConsumer = cluster.client().set("group.id", &kafka.config.group_id).create().unwrap();
    let group = group.group_metadata().unwrap();
    producer.send_offsets_to_transaction(&offsets, &group, DEADLINE).unwrap();
    producer
}

fn raw_metadata(cluster: &Cluster, kafka: &Kafka) -> Vec<String> {
    let consumer: BaseConsumer = cluster.client().set("group.id", &kafka.config.group_id).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(&kafka.config.topics[0], 0, PARTITIONS as i32 - 1);
    let committed = consumer.committed_offsets(asked, DEADLINE).unwrap();
    committed.elements().iter().map(|element| element.metadata().to_owned()).collect()
}

/// The share of the metadata that says how far outputs are written, as of now.
fn ends_now(cluster: &Cluster, kafka: &Kafka, share: &str) -> String {
    let mut config = cluster.client();
    let consumer: BaseConsumer = config.set("isolation.level", "read_uncommitted").create().unwrap();
    let word = |word: &str| match word.split_once('=').unwrap() {
        ("topics", _) => word.to_owned(),
        (place, _) => {
            let (letter, partition) = place.split_at(1);
            let topic = match letter {
                "p" => Topic::Processed,
                "a" => Topic::Alerts,
                "d" => Topic::DeadLetters,
                _ => Topic::State,
            };
            let name = &kafka.config.topics[topic as usize];
            let (_, end) = consumer.fetch_watermarks(name, partition.parse().unwrap(), DEADLINE).unwrap();
            format!("{place}={end}")
        }
    };
    share.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Becomes the owner, adds epoch 3 and says what is committed for the first input partition before it.
fn take_over(kafka: &Kafka) -> Epoch {
    let log = kafka.log();
    let mut writer = owner(log.as_ref());
    let committed = retry(|| writer.committed(PARTITIONS));
    let (_, metadata) = committed[0].committed.clone().unwrap();
    writer.append(&batch(Topic::Processed, &everywhere("three"))).unwrap();
    commit(writer.as_mut(), &progress(&[30; 3], &mark(3)));
    retry(|| writer.committed(PARTITIONS));
    EpochMark::decode(&metadata).unwrap().epoch
}

fn assert_outputs(kafka: &Kafka, processed: &[&str], state: &[&str]) {
    let seen = dump(kafka, Topic::Processed);
    for partition in 0..PARTITIONS {
        assert_eq!(seen.values(partition), processed, "{} {partition}", kafka.config.group_id);
    }
    let seen = dump(kafka, Topic::State);
    for partition in 1..PARTITIONS {
        assert_eq!(seen.values(partition), state, "{} {partition}", kafka.config.group_id);
    }
}

#[test]
fn a_transaction_that_the_broker_ended_without_its_markers_comes_neither_twice_nor_in_part() {
    // Asks for the whole test setup before it starts brokers of its own.
    support::address();
    let mut cluster = Cluster::start();
    let outputs = [Topic::Processed, Topic::State];
    // What dies with the broker: a partition of the outputs, or the group's offsets.
    let rolled_back = cluster.names("rolled-back", false);
    let won = cluster.names("won", false);
    let offsets_rolled_back = cluster.names("offsets-rolled-back", true);
    let offsets_won = cluster.names("offsets-won", true);
    let nothing_seen = cluster.names("nothing-seen", true);
    let dying = |kafka: &Kafka, topics: &[Topic]| {
        cluster.create_topics(kafka, topics);
        let log = kafka.log();
        drop(first_epoch(log.as_ref()));
        second_epoch(&cluster, kafka)
    };
    let open =
        [dying(&rolled_back, &outputs), dying(&offsets_rolled_back, &[]), dying(&nothing_seen, &outputs)];
    let ending = [dying(&won, &outputs), dying(&offsets_won, &[])];

    // The decision is answered before the markers are written, and those of the stopped broker never are.
    Broker::signal(&cluster.second_dir(), "-STOP");
    for producer in &ending {
        producer.commit_transaction(DEADLINE).unwrap();
    }
    Broker::signal(&cluster.second_dir(), "-KILL");
    drop(cluster.second.take());
    cluster.wait_until_leaderless(&won.config.topics[Topic::Processed as usize]);

    let epochs = thread::scope(|scope| {
        let all = [&rolled_back, &offsets_rolled_back, &nothing_seen, &won, &offsets_won];
        let successors = all.map(|kafka| scope.spawn(|| take_over(kafka)));
        // While the partitions have no leader, the transactions are ended.
        all.iter().for_each(|kafka| cluster.wait_until_ended(kafka));
        cluster.start_second();
        successors.map(|successor| successor.join().unwrap().0)
    });
    drop(open);
    assert_eq!(epochs, [1, 1, 1, 2, 2], "the last committed epoch is not what the broker decided");
    for kafka in [&rolled_back, &offsets_rolled_back, &nothing_seen] {
        assert_outputs(kafka, &["one", "three"], &["one"]);
    }
    for kafka in [&won, &offsets_won] {
        assert_outputs(kafka, &["one", "two", "three"], &["one", "two"]);
    }
}
