//! The delivery loop on an embedded log, with a destination in the test's hands.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tempfile::TempDir;
use tidegate_config::{Destination as Kind, Sink, Start, Webhook, WebhookFormat};
use tidegate_core::{
    NextOffset, SinkId, TimestampMs,
    dead_letter::{self, last_header},
    delivery::BatchLimits,
    event::FieldPaths,
};
use tidegate_log::{
    Headers, Log, Topic, TopicSpec,
    embedded::{EmbeddedConfig, EmbeddedLog, EmbeddedStore, NewRecord, ReadRecord},
};
use tidegate_telemetry::{Journal, Labels, Metrics, SinkState};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::{
    Batch, Destination, Failure, Outcome, SinkParts, SinkRecord,
    reader::{ReaderCommand, ReaderEvent, ReaderHandle, Reading},
    start::start_with,
};

const NAMES: [&str; 5] = ["raw", "processed", "alerts", "dead", "state"];
const PARTITIONS: u32 = 3;
const ID: SinkId = SinkId(0);
/// Only so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the destination says to a record.
#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Take,
    Refuse,
    Fail,
}

type Judge = dyn FnMut(&str) -> Verdict + Send;

/// A destination: what it says to each value, and what it took.
#[derive(Clone)]
struct Fake<const ONE_BY_ONE: bool> {
    judge: Arc<Mutex<Judge>>,
    taken: Arc<Mutex<Vec<(u32, String)>>>,
}

impl<const ONE_BY_ONE: bool> Fake<ONE_BY_ONE> {
    fn new(judge: impl FnMut(&str) -> Verdict + Send + 'static) -> Self {
        Self { judge: Arc::new(Mutex::new(judge)), taken: Arc::default() }
    }

    fn taken(&self) -> Vec<(u32, String)> {
        self.taken.lock().unwrap().clone()
    }

    /// What it took of a partition, in order.
    fn of(&self, partition: u32) -> Vec<String> {
        self.taken().into_iter().filter(|(of, _)| *of == partition).map(|(_, value)| value).collect()
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap()
}

impl<const ONE_BY_ONE: bool> Destination for Fake<ONE_BY_ONE> {
    const ONE_BY_ONE: bool = ONE_BY_ONE;

    fn lane(record: &SinkRecord<'_>) -> u64 {
        u64::from(record.partition.0)
    }

    async fn deliver(&mut self, batch: &Batch, records: &[usize]) -> Outcome {
        let values: Vec<_> = records
            .iter()
            .map(|record| (batch.record(*record).partition.0, text(batch.record(*record).value)))
            .collect();
        let verdicts: Vec<_> = {
            let mut judge = self.judge.lock().unwrap();
            values.iter().map(|(_, value)| judge(value)).collect()
        };
        if verdicts.contains(&Verdict::Fail) {
            return Outcome::Failed(Failure::new("away"));
        }
        if verdicts.contains(&Verdict::Refuse) {
            return Outcome::Refused("it does not fit".into());
        }
        self.taken.lock().unwrap().extend(values);
        Outcome::Delivered
    }
}

/// Supervises the sink, and does nothing about its end.
struct Parent;

impl Actor for Parent {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _myself: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        _event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

struct Bench {
    store: EmbeddedStore,
    log: Arc<dyn Log>,
    metrics: Metrics,
    journal: Journal,
    settings: Sink,
    parent: ActorCell,
    _dir: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), 1 << 30).unwrap();
        let spec = |name: &str| TopicSpec {
            name: name.into(),
            partitions: PARTITIONS,
            replication_factor: 1,
            retention_ms: Some(1 << 40),
            compacted: false,
        };
        store.apply(&NAMES.map(spec), false).unwrap();
        let config = EmbeddedConfig {
            group_id: "group".into(),
            writer_id: "writer".into(),
            topics: NAMES.map(str::to_owned),
        };
        let log = Arc::new(EmbeddedLog::new(store.clone(), config));
        let metrics = Metrics::new(&Labels { sinks: vec!["sink".into()], ..Labels::default() }).unwrap();
        let parent = Actor::spawn(None, Parent, ()).await.unwrap().0.get_cell();
        Self { store, log, metrics, journal: Journal::default(), settings: settings(), parent, _dir: dir }
    }

    async fn start<D: Destination + Clone>(&self, destination: &D) -> ActorCell {
        let parts = SinkParts {
            id: ID,
            settings: self.settings.clone(),
            log: Arc::clone(&self.log),
            topic_name: NAMES[self.settings.topic as usize].into(),
            group_id: "group".into(),
            paths: FieldPaths::default(),
            metrics: self.metrics.clone(),
            journal: self.journal.clone(),
        };
        start_with(parts, vec![destination.clone(); 2], self.parent.clone()).await.unwrap()
    }

    fn append(&self, topic: Topic, values: impl IntoIterator<Item = (u32, String)>) {
        let record = |(partition, value): (u32, String)| NewRecord {
            partition: Some(partition),
            timestamp: TimestampMs(1_760_000_000_000),
            key: Some(b"key".to_vec()),
            value: Some(value.into_bytes()),
            headers: Vec::new(),
        };
        self.store.append(NAMES[topic as usize], values.into_iter().map(record).collect()).unwrap();
    }

    fn all(&self, topic: Topic) -> Vec<ReadRecord> {
        let read = |partition| {
            let page = self.store.read(NAMES[topic as usize], partition, NextOffset(0), 10_000, 1 << 30);
            page.unwrap().unwrap().records
        };
        (0..PARTITIONS).flat_map(read).collect()
    }

    fn lag(&self, topic: Topic) -> u64 {
        self.store.lag(NAMES[topic as usize], "group.sink.sink")
    }

    async fn stop(&self, sink: ActorCell) {
        crate::shut_down(&sink);
        until("it ends", || self.metrics.sink(ID).state().0 == SinkState::Stopped).await;
    }
}

fn settings() -> Sink {
    Sink {
        name: "sink".into(),
        topic: Topic::Processed,
        start: Start::Earliest,
        limits: BatchLimits { records: 50, bytes: 1 << 20, linger: Duration::from_millis(5) },
        in_flight_bytes: 1 << 20,
        give_up_after: None,
        // Not looked at here.
        destination: Kind::Webhook(Webhook {
            url: Default::default(),
            format: WebhookFormat::Json,
            headers: Vec::new(),
            secret: Default::default(),
            timeout: PATIENCE,
            concurrency: 1,
            phases: Vec::new(),
            rules: Vec::new(),
            ca: None,
        }),
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Values of so many records, spread over the partitions.
fn values(range: std::ops::Range<usize>) -> Vec<(u32, String)> {
    range.map(|n| (n as u32 % PARTITIONS, n.to_string())).collect()
}

fn by_partition(all: &[(u32, String)]) -> BTreeMap<u32, Vec<String>> {
    let mut map: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (partition, value) in all {
        map.entry(*partition).or_default().push(value.clone());
    }
    map
}

#[tokio::test(flavor = "multi_thread")]
async fn all_records_are_delivered_in_order_and_the_next_run_goes_on_behind_them() {
    let bench = Bench::new().await;
    let fake = Fake::<false>::new(|_| Verdict::Take);
    bench.append(Topic::Processed, values(0..500));
    let sink = bench.start(&fake).await;
    until("all are delivered", || fake.taken().len() >= 500).await;
    bench.stop(sink).await;
    assert_eq!(by_partition(&fake.taken()), by_partition(&values(0..500)));
    assert_eq!(bench.lag(Topic::Processed), 0);
    bench.append(Topic::Processed, values(500..600));
    let sink = bench.start(&fake).await;
    until("the others are too", || fake.taken().len() >= 600).await;
    bench.stop(sink).await;
    assert_eq!(by_partition(&fake.taken()), by_partition(&values(0..600)));
    assert_eq!(bench.metrics.sink(ID).delivered.get(), 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_starts_at_the_end_does_so_once() {
    let mut bench = Bench::new().await;
    bench.settings.start = Start::Latest;
    let fake = Fake::<false>::new(|_| Verdict::Take);
    bench.append(Topic::Processed, values(0..9));
    let sink = bench.start(&fake).await;
    until("the beginning is kept", || bench.lag(Topic::Processed) == 0).await;
    bench.stop(sink).await;
    bench.append(Topic::Processed, values(9..12));
    let sink = bench.start(&fake).await;
    until("what came since is delivered", || fake.taken().len() == 3).await;
    bench.stop(sink).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_refused_go_to_the_dead_letters_and_the_rest_of_their_batch_is_delivered() {
    let bench = Bench::new().await;
    let fake = Fake::<false>::new(|value| {
        if value.parse::<usize>().unwrap().is_multiple_of(100) { Verdict::Refuse } else { Verdict::Take }
    });
    bench.append(Topic::Processed, values(0..500));
    let sink = bench.start(&fake).await;
    until("all are dealt with", || bench.lag(Topic::Processed) == 0).await;
    bench.stop(sink).await;
    let is_good = |(_, value): &(u32, String)| !value.parse::<usize>().unwrap().is_multiple_of(100);
    let good: Vec<_> = values(0..500).into_iter().filter(is_good).collect();
    assert_eq!(by_partition(&fake.taken()), by_partition(&good));
    let letters = bench.all(Topic::DeadLetters);
    let mut bad: Vec<_> = letters.iter().map(|letter| text(letter.value.as_deref())).collect();
    bad.sort();
    assert_eq!(bad, ["0", "100", "200", "300", "400"]);
    let headers = Headers(&letters[0].headers);
    let header = |name| text(last_header(headers, name));
    assert_eq!(
        [dead_letter::REASON, dead_letter::SINK, dead_letter::TOPIC, dead_letter::DETAIL].map(header),
        ["sink_rejected", "sink", "processed", "it does not fit"]
    );
    assert_eq!(bench.metrics.sink(ID).rejected.get(), 5);
    let samples = bench.journal.dead_letters("sink_rejected");
    let mut shown: Vec<_> = samples.iter().map(|sample| text(Some(&sample.value))).collect();
    shown.sort();
    assert_eq!(shown, bad);
    assert!(samples.iter().all(|sample| sample.sink.as_deref() == Some("sink")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_away_is_tried_until_it_is_back_and_nothing_is_lost() {
    let bench = Bench::new().await;
    let away = Arc::new(Mutex::new(true));
    let is_away = Arc::clone(&away);
    let fake =
        Fake::<false>::new(move |_| if *is_away.lock().unwrap() { Verdict::Fail } else { Verdict::Take });
    bench.append(Topic::Processed, values(0..200));
    let sink = bench.start(&fake).await;
    let meter = || bench.metrics.sink(ID);
    until("it is degraded", || meter().state() == (SinkState::Degraded, Some("away".into()))).await;
    until("it tries again", || meter().retries.get() >= 2).await;
    *away.lock().unwrap() = false;
    until("all are delivered", || fake.taken().len() == 200).await;
    until("it works", || meter().state().0 == SinkState::Running).await;
    bench.stop(sink).await;
    assert_eq!(by_partition(&fake.taken()), by_partition(&values(0..200)));
    assert!(bench.all(Topic::DeadLetters).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_becomes_a_dead_letter() {
    let mut bench = Bench::new().await;
    bench.settings.give_up_after = Some(Duration::from_millis(300));
    let fake = Fake::<true>::new(|value| if value == "4" { Verdict::Fail } else { Verdict::Take });
    bench.append(Topic::Processed, values(0..9));
    let sink = bench.start(&fake).await;
    until("all are dealt with", || bench.lag(Topic::Processed) == 0).await;
    bench.stop(sink).await;
    assert_eq!(fake.taken().len(), 8);
    assert_eq!(bench.all(Topic::DeadLetters).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_by_one_a_record_that_fails_holds_up_its_own_lane_alone() {
    let bench = Bench::new().await;
    let fails = Arc::new(Mutex::new(true));
    let does_fail = Arc::clone(&fails);
    let fake = Fake::<true>::new(move |value| {
        if value == "1" && *does_fail.lock().unwrap() { Verdict::Fail } else { Verdict::Take }
    });
    bench.append(Topic::Processed, values(0..300));
    let sink = bench.start(&fake).await;
    until("the others are delivered", || fake.of(0).len() == 100 && fake.of(2).len() == 100).await;
    assert!(fake.of(1).is_empty());
    *fails.lock().unwrap() = false;
    until("it is delivered too", || fake.of(1).len() == 100).await;
    bench.stop(sink).await;
    assert_eq!(by_partition(&fake.taken()), by_partition(&values(0..300)));
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_waits_while_the_budget_is_used_up() {
    let bench = Bench::new().await;
    let padded = |(partition, value)| (partition, format!("{value}{}", "x".repeat(1000)));
    bench.append(Topic::Processed, values(0..200).into_iter().map(padded));
    let (told, mut events) = mpsc::channel(1_000);
    let limits = BatchLimits { records: 10, bytes: 1 << 20, linger: Duration::ZERO };
    let (topic, group, start) = (Topic::Processed, "probe".into(), Start::Earliest);
    let budget_bytes = 50_000;
    let reading = Reading { topic, group, start, limits, in_flight_bytes: budget_bytes };
    let tell = move |event| told.blocking_send(event).unwrap_or_default();
    let reader = ReaderHandle::spawn(Arc::clone(&bench.log), reading, tell).unwrap();
    let (mut held, mut records) = (Vec::new(), 0);
    while records < 200 {
        match timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            ReaderEvent::Assigned(assigned) => {
                let from = assigned.iter().map(|assigned| (assigned.partition, assigned.from));
                reader.tell(ReaderCommand::ReadFrom(from.collect()));
            }
            ReaderEvent::Read(source) => {
                records += source.batch.len();
                held.push(source);
                let bytes: usize = held.iter().map(|source| source.batch.size_bytes()).sum();
                assert!(bytes < budget_bytes + 10 * 1_200, "{bytes} bytes in flight");
            }
            // Once a second. What did not come until then waits for room.
            ReaderEvent::Report(_) => held.clear(),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_of_dead_letters_does_not_eat_what_it_rejected_itself() {
    let mut bench = Bench::new().await;
    bench.settings.topic = Topic::DeadLetters;
    let fake = Fake::<false>::new(|value| if value == "7" { Verdict::Refuse } else { Verdict::Take });
    bench.append(Topic::DeadLetters, values(0..30));
    let sink = bench.start(&fake).await;
    until("its own dead letter is passed over too", || {
        bench.lag(Topic::DeadLetters) == 0 && bench.all(Topic::DeadLetters).len() == 31
    })
    .await;
    bench.stop(sink).await;
    assert_eq!((fake.taken().len(), bench.metrics.sink(ID).rejected.get()), (29, 1));
}
