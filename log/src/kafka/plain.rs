//! A producer without transactions, for bulk: sample traffic.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::error::RDKafkaErrorCode as Code;
use tidegate_core::TimestampMs;

use super::{
    config::KafkaConfig,
    failure::by_code,
    health::{Clients, Context},
    native::{Producer, Record},
};
use crate::{Headers, LogError, Origin};

/// A queue that has no room for so long belongs to a broker that is away.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);

/// Writes records to one topic: idempotent, acknowledged by all replicas, lz4, the Java client's partitioner.
pub struct PlainProducer {
    producer: Producer,
    context: Arc<super::health::ClientHealth>,
}

impl PlainProducer {
    /// A producer for `topic`.
    ///
    /// # Errors
    /// [`LogError::Misconfigured`] if the client refuses its settings; an absent broker shows later.
    pub fn new(config: &KafkaConfig, topic: &str) -> Result<Self, LogError> {
        config.check()?;
        let context = Clients::default().add(false);
        let producer = Producer::new(&config.plain(), Context(Arc::clone(&context)), &[topic])?;
        Ok(Self { producer, context })
    }

    /// Queues a record; waits while the queue is full. Without a partition the key decides (murmur2), without a
    /// key chance. `headers` are encoded by [`push_header`](crate::push_header).
    ///
    /// # Errors
    /// If the client refuses the record, or the broker refused one before.
    pub fn send(
        &mut self,
        partition: Option<u32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[u8],
        timestamp: TimestampMs,
    ) -> Result<(), LogError> {
        self.check()?;
        let partition = partition.map_or(-1, |partition| partition as i32);
        let (headers, origin) = (Headers(headers), Origin::NONE);
        let record = Record { partition, timestamp: timestamp.0, key, value, headers, origin };
        let sent = self.producer.send_until(0, &record, Instant::now() + QUEUE_TIMEOUT);
        sent.map_err(|code| by_code("writing records", code, code.to_string()))
    }

    /// Waits until all records are acknowledged.
    ///
    /// # Errors
    /// If a record was not delivered, or the deadline is over.
    pub fn flush(&mut self, deadline: Duration) -> Result<(), LogError> {
        let flushed = self.producer.flush(deadline);
        self.check()?;
        flushed.map_err(|code| by_code("flushing", code, code.to_string()))
    }

    fn check(&self) -> Result<(), LogError> {
        if self.context.failed_deliveries() == 0 {
            return Ok(());
        }
        let (code, cause) =
            self.context.last_error().unwrap_or((Code::Unknown, "records were not delivered".to_owned()));
        Err(by_code("writing records", code, cause))
    }
}
