//! When committed output reaches a consumer.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use crate::Error;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Records that come this soon after one whose time was kept belong to the same fetch.
const RESOLUTION: Duration = Duration::from_millis(1);

/// A `read_committed` consumer that reads a topic and keeps the times at which records came.
pub(super) struct Arrivals {
    times: Arc<Mutex<Vec<Instant>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Arrivals {
    pub(super) fn watch(kafka: &str, topic: &str) -> Result<Self, Error> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", kafka)
            .set("group.id", "tidegate-bench-arrivals")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.queue.backoff.ms", "5")
            .create()?;
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition as i32, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let (times, is_over) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (kept, over) = (Arc::clone(&times), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            let mut last: Option<Instant> = None;
            while !over.load(Ordering::Relaxed) {
                let came = matches!(consumer.poll(Duration::from_millis(50)), Some(Ok(_)));
                let now = Instant::now();
                if came && last.is_none_or(|last| now - last > RESOLUTION) {
                    last = Some(now);
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(now);
                }
            }
        });
        Ok(Self { times, is_over, thread: Some(thread) })
    }

    /// Waits for the first record that comes after this moment.
    pub(super) fn first_after(&self, moment: Instant, timeout: Duration) -> Result<Instant, Error> {
        let deadline = moment + timeout;
        loop {
            let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            let next = times.partition_point(|time| *time <= moment);
            if let Some(time) = times.get(next) {
                return Ok(*time);
            }
            drop(times);
            if Instant::now() > deadline {
                return Err(format!("no output came within {timeout:?}").into());
            }
            sleep(RESOLUTION);
        }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
