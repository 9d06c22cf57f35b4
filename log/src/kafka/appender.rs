//! A producer without transactions for records that belong to no epoch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::{
    config::KafkaConfig,
    failure::by_code,
    health::{ClientHealth, Clients, Context},
    native::{Producer, Record},
};
use crate::{Appender, LogError, OutputBatch, Topic};

/// How long one append may take.
const TIMEOUT: Duration = Duration::from_secs(30);
const WHAT: &str = "writing records";

/// Writes to any of the topics: idempotent, acknowledged by all replicas.
pub(super) struct KafkaAppender {
    config: Arc<KafkaConfig>,
    clients: Clients,
    /// Taken by an append that fails: what is left in its queue must not be written later.
    producer: Option<(Producer, Arc<ClientHealth>)>,
}

impl KafkaAppender {
    pub(super) fn new(config: &Arc<KafkaConfig>, clients: &Clients) -> Result<Self, LogError> {
        let (config, clients) = (Arc::clone(config), clients.clone());
        let mut appender = Self { config, clients, producer: None };
        appender.producer = Some(appender.connect()?);
        Ok(appender)
    }

    fn connect(&self) -> Result<(Producer, Arc<ClientHealth>), LogError> {
        let health = self.clients.add(false);
        let names = Topic::ALL.map(|topic| self.config.topic(topic));
        let producer = Producer::new(&self.config.plain(), Context(Arc::clone(&health)), &names)?;
        Ok((producer, health))
    }
}

impl Appender for KafkaAppender {
    fn append(&mut self, batch: &OutputBatch) -> Result<(), LogError> {
        let (producer, health) = match self.producer.take() {
            Some(connected) => connected,
            None => self.connect()?,
        };
        let deadline = Instant::now() + TIMEOUT;
        for record in &batch.records {
            let sent = producer.send_until(record.topic as usize, &Record::of(batch, record), deadline);
            sent.map_err(|code| by_code(WHAT, code, code.to_string()))?;
        }
        let flushed = producer.flush(deadline.saturating_duration_since(Instant::now()));
        if health.failed_deliveries() > 0 {
            let (code, cause) =
                health.last_error().unwrap_or((Code::Unknown, "records were not delivered".to_owned()));
            return Err(by_code(WHAT, code, cause));
        }
        flushed.map_err(|code| by_code(WHAT, code, code.to_string()))?;
        self.producer = Some((producer, health));
        Ok(())
    }
}
