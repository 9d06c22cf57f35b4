//! Events that cross a threshold, and the alerts that come of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Sender},
    },
    thread::{self, sleep},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::DeliveryResult,
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};
use serde_json::Value;

use crate::{
    Error,
    compare::site::{RAW_TOPIC, Site, Workshop},
};

/// Of the default rule.
pub(super) const THRESHOLD: usize = 50;
/// How long before the event that crosses the others come.
const AHEAD: Duration = Duration::from_secs(1);
/// Between two crossings, at least and in the middle: long enough for many to meet a checkpoint that was cut
/// by the clock, and at random, so that its phase plays no part.
const MIN_GAP: Duration = Duration::from_millis(50);
const MEAN_GAP: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_secs(30);
/// Deliveries of all other events are of no interest.
const UNMEASURED: usize = usize::MAX;

/// What has come of the events that cross, by number.
type Acknowledged = Mutex<BTreeMap<usize, Result<Instant, String>>>;

/// Notes when the broker has acknowledged the events that cross.
#[derive(Default)]
struct Acks(Arc<Acknowledged>);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(_) => Ok(Instant::now()),
            Err((error, _)) => Err(error.to_string()),
        };
        if number != UNMEASURED || outcome.is_err() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number, outcome);
        }
    }
}

/// Clients that are connected.
pub(super) struct Probes {
    /// Beginning of the names of the services.
    prefix: String,
    producer: ThreadedProducer<Acks>,
    acknowledged: Arc<Acknowledged>,
    alerts: BaseConsumer,
}

impl Probes {
    pub(super) fn connect(workshop: &Workshop, site: &Site) -> Result<Self, Error> {
        let acknowledged = Arc::<Acknowledged>::default();
        let producer: ThreadedProducer<Acks> = ClientConfig::new()
            .set("bootstrap.servers", &workshop.kafka)
            .set("linger.ms", "0")
            .create_with_context(Acks(Arc::clone(&acknowledged)))?;
        producer.client().fetch_metadata(Some(RAW_TOPIC), TIMEOUT)?;
        let alerts: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &workshop.kafka)
            .set("group.id", "tidegate-bench-alerts")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()?;
        let topic = site.topic("alerts");
        let metadata = alerts.fetch_metadata(Some(&topic), TIMEOUT)?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(&topic, partition as i32, Offset::Beginning)?;
        }
        alerts.assign(&list)?;
        Ok(Self { prefix: format!("{}-", site.name), producer, acknowledged, alerts })
    }

    /// Has `count` services cross the threshold; returns the times from acknowledgement to alert.
    pub(super) fn measure(self, count: usize) -> Result<Vec<Duration>, Error> {
        let (sender, crossed) = mpsc::channel();
        let is_over = AtomicBool::new(false);
        let Self { prefix, producer, acknowledged, alerts } = self;
        thread::scope(|scope| {
            let reader = scope.spawn(|| read(&alerts, &prefix, &sender, &is_over));
            let sent = send(&producer, &prefix, count).and_then(|()| Ok(producer.flush(TIMEOUT)?));
            let mut arrived = BTreeMap::new();
            let deadline = Instant::now() + TIMEOUT;
            let all = sent.and_then(|()| {
                while arrived.len() < count {
                    let (number, at) = crossed
                        .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                        .map_err(|_| format!("{} alerts of {count} came", arrived.len()))?;
                    if arrived.insert(number, at).is_some() {
                        return Err(format!("the alert of {prefix}{number} came twice").into());
                    }
                }
                Ok(())
            });
            is_over.store(true, Ordering::Relaxed);
            reader.join().unwrap_or_else(|_| Err("the reader of alerts panicked".into()))?;
            all?;
            pair(&acknowledged, &arrived)
        })
    }
}

fn pair(acknowledged: &Acknowledged, arrived: &BTreeMap<usize, Instant>) -> Result<Vec<Duration>, Error> {
    let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = acknowledged.values().find_map(|outcome| outcome.as_ref().err()) {
        return Err(format!("a probe was not written: {error}").into());
    }
    let times = acknowledged.iter().filter_map(|(number, outcome)| {
        // An alert may be there before our thread has heard of the acknowledgement: no time at all.
        Some(arrived.get(number)?.saturating_duration_since(*outcome.as_ref().ok()?))
    });
    Ok(times.collect())
}

/// Sends the events of each service: all but one, then a second later the one that crosses.
fn send(producer: &ThreadedProducer<Acks>, prefix: &str, count: usize) -> Result<(), Error> {
    let mut steps: Vec<(Duration, usize, bool)> = Vec::with_capacity(2 * count);
    let mut due = AHEAD;
    for number in 0..count {
        due += MIN_GAP + 2 * (MEAN_GAP - MIN_GAP).mul_f64(spread(number));
        steps.push((due - AHEAD, number, false));
        steps.push((due, number, true));
    }
    steps.sort();
    let began = Instant::now();
    let mut timestamps_ms = vec![0; count];
    for (due, number, crosses) in steps {
        sleep(due.saturating_sub(began.elapsed()));
        let timestamp_ms = &mut timestamps_ms[number];
        if crosses {
            event(producer, &format!("{prefix}{number}"), THRESHOLD, number, *timestamp_ms)?;
        } else {
            // One time for all, so that they are in the same window.
            *timestamp_ms = now_ms()?;
            for user in 0..THRESHOLD {
                event(producer, &format!("{prefix}{number}"), user, UNMEASURED, *timestamp_ms)?;
            }
        }
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "event time of live traffic is the wall clock")]
fn now_ms() -> Result<i64, Error> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

fn event(
    producer: &ThreadedProducer<Acks>,
    service: &str,
    user: usize,
    number: usize,
    timestamp_ms: i64,
) -> Result<(), Error> {
    let key = format!("probe-user-{user}");
    let value = format!(
        "{{\"user_id\":\"{key}\",\"event_type\":\"error\",\"timestamp\":{timestamp_ms},\"service_name\":\"{service}\",\
         \"payload\":{{\"ip\":\"24.1.2.{user}\",\"user_agent\":\"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0\"}}}}"
    );
    let record = BaseRecord::with_opaque_to(RAW_TOPIC, number).key(&key).payload(&value);
    producer.send(record).map_err(|(error, _)| error.into())
}

/// From 0 to 1, looking random, and the same in every run (a golden-ratio sequence has no period that could
/// meet the checkpoints').
fn spread(number: usize) -> f64 {
    (number as f64 * 0.618_033_988_75).fract()
}

/// Hands on the number of each of our services whose alert has crossed, and when it came.
fn read(
    alerts: &BaseConsumer,
    prefix: &str,
    crossed: &Sender<(usize, Instant)>,
    is_over: &AtomicBool,
) -> Result<(), Error> {
    while !is_over.load(Ordering::Relaxed) {
        let Some(message) = alerts.poll(Duration::from_millis(50)) else { continue };
        let at = Instant::now();
        let alert: Value = serde_json::from_slice(message?.payload().unwrap_or_default())?;
        let service = alert["service"].as_str().and_then(|service| service.strip_prefix(prefix));
        if let Some(number) = service.and_then(|number| number.parse().ok())
            && alert["phase"] == "crossed"
        {
            // Nobody listens any more once enough have come.
            let _ = crossed.send((number, at));
        }
    }
    Ok(())
}
