//! Clients of the programs written by hand: tuned as the product's are, and made in parallel as there.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList,
    client::Client,
    consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata},
    producer::Producer as _,
};
use serde_json::{Value, json};
use tidegate_config::Settings;

use crate::{
    Error,
    compare::Spread,
    native::{Input, Output, Record},
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Where a record goes; the number is the topic's place among the output's handles.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Topic {
    Processed,
    Alerts,
}

/// A reader of all that is in the input now, and a writer of transactions.
pub(crate) struct Clients {
    pub(crate) input: Input,
    pub(crate) progress: Progress,
    pub(crate) writer: Writer,
}

/// Connects both clients at the same time.
pub(crate) fn connect(settings: &Settings) -> Result<Clients, Error> {
    let (input, output) = thread::scope(|scope| {
        let output = scope.spawn(|| output(settings));
        (input(settings), output.join().unwrap_or_else(|_| Err("the writer panicked".into())))
    });
    let (input, progress) = input?;
    let group = input.consumer().group_metadata().ok_or("no group metadata")?;
    let raw = settings.topics.raw.name.clone();
    let writer = Writer { output: output?, group, raw, is_open: false, commits_ms: Vec::new() };
    Ok(Clients { input, progress, writer })
}

fn client(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.kafka.bootstrap_servers);
    config
}

fn input(settings: &Settings) -> Result<(Input, Progress), Error> {
    let mut config = client(settings);
    config
        .set("group.id", &settings.kafka.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", "65536")
        // With the default of 1 s reading stops and goes.
        .set("fetch.queue.backoff.ms", "5");
    let consumer: BaseConsumer = config.create()?;
    let raw = &settings.topics.raw;
    bring_up(consumer.client(), &raw.name)?;
    let mut progress = Progress::default();
    for partition in 0..raw.partitions as i32 {
        let (begin, end) = consumer.fetch_watermarks(&raw.name, partition, TIMEOUT)?;
        progress.next.push(begin);
        progress.end.push(end);
    }
    let input = Input::new(consumer, &raw.name, raw.partitions as i32)?;
    input.consumer().assign(&offsets(&raw.name, &progress.next)?)?;
    Ok((input, progress))
}

fn output(settings: &Settings) -> Result<Output, Error> {
    let mut config = client(settings);
    config
        .set("transactional.id", &settings.kafka.transactional_id)
        .set("compression.type", "lz4")
        .set("linger.ms", "50")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "10000")
        // A commit waits for what is queued.
        .set("queue.buffering.max.messages", "50000")
        // librdkafka fails a commit by itself if a delivery failed.
        .set("delivery.report.only.error", "true");
    let topics = [settings.topics.processed.name.as_str(), settings.topics.alerts.name.as_str()];
    let output = Output::new(config.create()?, &topics)?;
    bring_up(output.producer().client(), topics[0])?;
    output.producer().init_transactions(TIMEOUT)?;
    Ok(output)
}

/// Without a connection that is up, what comes next would wait for a timer of 500 ms; the one to a bootstrap
/// address is dropped after the first answer.
fn bring_up<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<(), Error> {
    client.fetch_metadata(Some(topic), TIMEOUT)?;
    client.fetch_metadata(Some(topic), TIMEOUT)?;
    Ok(())
}

fn offsets(topic: &str, offsets: &[i64]) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets.iter().enumerate() {
        list.add_partition_offset(topic, partition as i32, Offset::Offset(*offset))?;
    }
    Ok(list)
}

/// How far each input partition is read, and how far it is to be.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    next: Vec<i64>,
    end: Vec<i64>,
}

impl Progress {
    /// Takes a record, unless it came after the program's start.
    pub(crate) fn takes(&mut self, record: &Record<'_>) -> bool {
        let partition = record.partition as usize;
        let is_before_end = record.offset < self.end[partition];
        if is_before_end {
            self.next[partition] = record.offset + 1;
        }
        is_before_end
    }

    /// The input has no gaps at its end: `tidegate generate` writes it without transactions.
    pub(crate) fn is_done(&self) -> bool {
        self.next.iter().zip(&self.end).all(|(next, end)| next >= end)
    }

    /// The next offset of each partition.
    pub(crate) fn next(&self) -> &[i64] {
        &self.next
    }
}

/// Writes transactions.
pub(crate) struct Writer {
    output: Output,
    group: ConsumerGroupMetadata,
    raw: String,
    is_open: bool,
    commits_ms: Vec<f64>,
}

impl Writer {
    /// Adds a record to the open transaction, or to a new one.
    pub(crate) fn send(&mut self, topic: Topic, record: &Record<'_>) -> Result<(), Error> {
        self.open()?;
        self.output.send(topic as usize, record)
    }

    /// Commits what was sent, and that the input is processed up to these offsets.
    pub(crate) fn commit(&mut self, next: &[i64]) -> Result<(), Error> {
        let began = Instant::now();
        self.open()?;
        self.output.flush(TIMEOUT)?;
        let producer = self.output.producer();
        producer.send_offsets_to_transaction(&offsets(&self.raw, next)?, &self.group, TIMEOUT)?;
        producer.commit_transaction(TIMEOUT)?;
        self.is_open = false;
        self.commits_ms.push(began.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }

    fn open(&mut self) -> Result<(), Error> {
        if !self.is_open {
            self.output.producer().begin_transaction()?;
            self.is_open = true;
        }
        Ok(())
    }

    /// What the program has to say of itself.
    pub(crate) fn figures(&self, records: u64, began: Instant) -> Figures {
        Figures {
            records,
            seconds: began.elapsed().as_secs_f64(),
            commits: self.commits_ms.len(),
            commit_ms: Spread::of(self.commits_ms.iter().copied()),
        }
    }
}

/// A program's own figures.
pub(crate) struct Figures {
    records: u64,
    seconds: f64,
    commits: usize,
    commit_ms: Option<Spread>,
}

impl Figures {
    pub(crate) fn json(&self) -> Value {
        json!({
            "records": self.records,
            "seconds": self.seconds,
            "commits": self.commits,
            "commit_ms": self.commit_ms.map(Spread::json),
        })
    }
}
