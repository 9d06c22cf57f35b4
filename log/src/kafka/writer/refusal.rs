//! Why records of an epoch were not delivered.

use std::{
    slice, thread,
    time::{Duration, Instant},
};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::KafkaWriter;
use crate::{
    LogError,
    kafka::{
        failure::by_code,
        native::Record,
        refused::{Undelivered, judge},
    },
};

/// The report of a record that was refused comes in a thread of its own.
const REPORT_TIMEOUT: Duration = Duration::from_millis(200);

impl KafkaWriter {
    /// A record of the open epoch was not delivered.
    pub(super) fn has_failed(&self) -> bool {
        self.health.failed_deliveries() > self.failures_before
    }

    /// A record that the client itself refuses.
    pub(super) fn too_large(&self, topic: usize, record: &Record<'_>) -> LogError {
        let size_bytes = [record.key, record.value].into_iter().flatten().map(<[u8]>::len).sum();
        let report = Undelivered {
            topic: self.topics[topic].name.clone(),
            partition: record.partition,
            code: Code::MessageSizeTooLarge,
            origin: record.origin,
            has_key: record.key.is_some(),
            size_bytes,
            words: format!("{size_bytes} bytes are more than `message.max.bytes`"),
        };
        let unclear = || by_code("writing records", report.code, report.words.clone());
        judge(slice::from_ref(&report), &self.topics)
            .map_or_else(unclear, |refused| LogError::Refused(Box::new(refused)))
    }

    /// The client takes no more records when one was refused; the report tells why, and comes a moment later.
    pub(super) fn explain(&self, error: LogError) -> LogError {
        let deadline = Instant::now() + REPORT_TIMEOUT;
        if matches!(error, LogError::Broken { .. }) {
            while !self.has_failed() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
        }
        if self.has_failed() && error.is_transient() { self.refusal().unwrap_or(error) } else { error }
    }

    /// What the reports say of records that were refused for good, if there are any.
    fn refusal(&self) -> Option<LogError> {
        let reports = self.health.take_refused();
        self.learnt.learn(&reports, &self.topics);
        judge(&reports, &self.topics).map(|refused| LogError::Refused(Box::new(refused)))
    }

    pub(super) fn failed_delivery(&self) -> LogError {
        if let Some(refusal) = self.refusal() {
            return refusal;
        }
        let (code, cause) =
            self.health.last_error().unwrap_or((Code::Unknown, "records were not delivered".into()));
        by_code("writing records", code, cause)
    }
}
