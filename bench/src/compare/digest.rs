//! What a run wrote, as a `read_committed` consumer sees it, in a form that is small enough to keep.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
};
use serde_json::Value;

use super::site::Site;
use crate::Error;

/// A broker that is silent for so long is gone.
const TIMEOUT: Duration = Duration::from_secs(30);
const GROUP: &str = "tidegate-bench-digest";

/// The outputs of a run: two are equal when the records of each partition are, in their order, and the alerts
/// are, in any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    partitions: Vec<Records>,
    /// Events whose address was found in the geo database.
    located: u64,
    alerts: BTreeSet<Alert>,
}

/// What is compared of an alert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Alert {
    window_start: Option<i64>,
    phase: String,
    id: String,
    count: String,
}

/// The records of one partition: key, value, headers and timestamp of each went into the hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Records {
    count: u64,
    hash: u64,
}

impl Digest {
    /// Reads the outputs of a site to their ends.
    pub(super) fn of(kafka: &str, site: &Site) -> Result<Self, Error> {
        let mut outputs = Outputs::default();
        read(kafka, &site.topic("processed"), |message| {
            outputs.processed(message);
            Ok(())
        })?;
        read(kafka, &site.topic("alerts"), |message| outputs.alert(message))?;
        Ok(outputs.digest())
    }

    /// Number of records in the processed topic.
    pub(super) fn records(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.count).sum()
    }

    /// As [`Digest::check`], for a program that tells of windows only when they are closed, and closes all of them
    /// at the end of the input, where the product leaves the last ones open.
    pub(super) fn check_closed(&self, other: &Self) -> Result<(), Error> {
        let last = self.closed(None).alerts.last().and_then(|alert| alert.window_start);
        self.closed(last).check(&other.closed(last))
    }

    /// The same without alerts of other phases and of windows behind `last`.
    fn closed(&self, last: Option<i64>) -> Self {
        let counts =
            |alert: &&Alert| alert.phase == "closed" && (last.is_none() || alert.window_start <= last);
        Self { alerts: self.alerts.iter().filter(counts).cloned().collect(), ..self.clone() }
    }

    /// Says how another run's output differs; and that geo data was worth looking up in both.
    pub(super) fn check(&self, other: &Self) -> Result<(), Error> {
        if self.partitions.len() != other.partitions.len() {
            return Err(format!(
                "{} partitions with records, expected {}",
                other.partitions.len(),
                self.partitions.len()
            )
            .into());
        }
        for (partition, (ours, theirs)) in self.partitions.iter().zip(&other.partitions).enumerate() {
            if ours != theirs {
                let (theirs, ours) = (theirs.count, ours.count);
                return Err(format!(
                    "partition {partition} differs, it has {theirs} records, expected {ours}"
                )
                .into());
            }
        }
        if let Some(alert) = self.alerts.symmetric_difference(&other.alerts).next() {
            let missing = if self.alerts.contains(alert) { "missing" } else { "too much" };
            return Err(format!("{missing}: {alert:?}").into());
        }
        if other.located * 2 < other.records() {
            return Err(format!("only {} events have geo data", other.located).into());
        }
        Ok(())
    }
}

/// A digest in the making.
#[derive(Default)]
struct Outputs {
    partitions: Vec<(u64, DefaultHasher)>,
    located: u64,
    alerts: BTreeSet<Alert>,
}

impl Outputs {
    fn processed(&mut self, message: &impl Message) {
        let partition = message.partition() as usize;
        let length = self.partitions.len().max(partition + 1);
        self.partitions.resize(length, (0, DefaultHasher::new()));
        let (count, hasher) = &mut self.partitions[partition];
        *count += 1;
        message.key().hash(hasher);
        message.payload().hash(hasher);
        message.timestamp().to_millis().hash(hasher);
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            (header.key, header.value).hash(hasher);
        }
        self.located += u64::from(!message.payload().unwrap_or_default().ends_with(b"\"geo\":null}"));
    }

    fn alert(&mut self, message: &impl Message) -> Result<(), Error> {
        let value: Value = serde_json::from_slice(message.payload().unwrap_or_default())?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let (window_start, count) = (value["window_start"].as_i64(), value["count"].to_string());
        let alert = Alert { window_start, phase: text("phase"), id: text("id"), count };
        if self.alerts.contains(&alert) {
            return Err(format!("twice: {alert:?}").into());
        }
        self.alerts.insert(alert);
        Ok(())
    }

    fn digest(self) -> Digest {
        let records = |(count, hasher): (u64, DefaultHasher)| Records { count, hash: hasher.finish() };
        let Self { partitions, located, alerts } = self;
        Digest { partitions: partitions.into_iter().map(records).collect(), located, alerts }
    }
}

/// Hands all records of a topic to `each`, in order within a partition.
fn read(
    kafka: &str,
    topic: &str,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", GROUP)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let mut list = TopicPartitionList::new();
    for partition in 0..count {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut left = count;
    while left > 0 {
        match consumer.poll(TIMEOUT) {
            Some(Ok(message)) => each(&message)?,
            Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
            Some(Err(error)) => return Err(error.into()),
            None => return Err(format!("reading {topic}: the broker is silent").into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rdkafka::{Timestamp, message::OwnedMessage};

    use super::*;

    fn record(partition: i32, value: &str) -> OwnedMessage {
        let (value, key) = (value.as_bytes().to_vec(), b"key".to_vec());
        let timestamp = Timestamp::CreateTime(1);
        OwnedMessage::new(Some(value), Some(key), "topic".into(), timestamp, partition, 0, None)
    }

    fn digest(processed: &[(i32, &str)], alerts: &[&str]) -> Digest {
        let mut outputs = Outputs::default();
        processed.iter().for_each(|(partition, value)| outputs.processed(&record(*partition, value)));
        alerts.iter().for_each(|alert| outputs.alert(&record(0, alert)).unwrap());
        outputs.digest()
    }

    #[test]
    fn one_other_record_order_or_alert_fails_the_check() {
        const ALERT: &str = r#"{"phase":"crossed","id":"a","count":51}"#;
        let expected = digest(&[(0, "1"), (0, "2"), (1, "3")], &[ALERT]);
        // How the partitions are interleaved says nothing.
        assert!(expected.check(&digest(&[(1, "3"), (0, "1"), (0, "2")], &[ALERT])).is_ok());
        for (processed, alerts) in [
            (&[(0, "1"), (0, "x"), (1, "3")][..], &[ALERT][..]),
            (&[(0, "2"), (0, "1"), (1, "3")], &[ALERT]),
            (&[(0, "1"), (0, "2"), (1, "3"), (1, "3")], &[ALERT]),
            (&[(0, "1"), (0, "2")], &[ALERT]),
            (&[(0, "1"), (0, "2"), (1, "3")], &[]),
            (&[(0, "1"), (0, "2"), (1, "3")], &[ALERT, r#"{"phase":"closed","id":"a","count":51}"#]),
        ] {
            assert!(expected.check(&digest(processed, alerts)).is_err(), "{processed:?} {alerts:?}");
        }
        // A program that does not tell when a threshold is crossed, and closes one window more.
        let closed = [
            r#"{"phase":"closed","id":"a/1","count":51,"window_start":1}"#,
            r#"{"phase":"closed","id":"a/2","count":60,"window_start":2}"#,
            r#"{"phase":"closed","id":"a/3","count":55,"window_start":3}"#,
        ];
        let expected = digest(&[(0, "1")], &[ALERT, closed[0], closed[1]]);
        assert!(expected.check_closed(&digest(&[(0, "1")], &closed)).is_ok());
        assert!(expected.check_closed(&digest(&[(0, "1")], &closed[1..])).is_err());
        assert!(expected.check_closed(&digest(&[(0, "x")], &closed)).is_err());
        let mut twice = Outputs::default();
        twice.alert(&record(0, ALERT)).unwrap();
        assert!(twice.alert(&record(0, ALERT)).is_err());
    }
}
