//! What a `read_committed` consumer could read.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use super::site::Site;
use crate::Error;

const TIMEOUT: Duration = Duration::from_secs(10);
/// The outputs that consumers read, with their default partition counts.
const OUTPUTS: [(&str, i32); 3] = [("processed", 12), ("alerts", 3), ("dead_letters", 3)];

/// Looks at the ends of a site's outputs.
pub(super) struct Visible {
    stable: BaseConsumer,
    all: BaseConsumer,
    asked: TopicPartitionList,
}

impl Visible {
    /// Connects, and waits until the partitions are there.
    pub(super) fn new(kafka: &str, site: &Site) -> Result<Self, Error> {
        let client = |isolation: &str| -> Result<BaseConsumer, Error> {
            let mut config = ClientConfig::new();
            Ok(config.set("bootstrap.servers", kafka).set("isolation.level", isolation).create()?)
        };
        let mut asked = TopicPartitionList::new();
        for (role, partitions) in OUTPUTS {
            for partition in 0..partitions {
                // The protocol's timestamp for the end is the number of this offset.
                asked.add_partition_offset(&site.topic(role), partition, Offset::End)?;
            }
        }
        let visible = Self { stable: client("read_committed")?, all: client("read_uncommitted")?, asked };
        let deadline = Instant::now() + TIMEOUT;
        while let Err(error) = visible.stable().and_then(|_| visible.all()) {
            if Instant::now() > deadline {
                return Err(error);
            }
            sleep(Duration::from_millis(100));
        }
        Ok(visible)
    }

    /// Last stable offsets: all before them is committed or rolled back.
    pub(super) fn stable(&self) -> Result<Vec<i64>, Error> {
        self.ends(&self.stable)
    }

    /// High watermarks.
    pub(super) fn all(&self) -> Result<Vec<i64>, Error> {
        self.ends(&self.all)
    }

    fn ends(&self, consumer: &BaseConsumer) -> Result<Vec<i64>, Error> {
        let answer = consumer.offsets_for_times(self.asked.clone(), TIMEOUT)?;
        let mut ends = Vec::with_capacity(answer.count());
        for element in answer.elements() {
            element.error()?;
            match element.offset() {
                Offset::Offset(end) => ends.push(end),
                other => return Err(format!("no end of {}: {other:?}", element.topic()).into()),
            }
        }
        Ok(ends)
    }
}
