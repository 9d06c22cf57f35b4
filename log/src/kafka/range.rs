//! Reading a piece of one partition into memory, committed or not.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_core::{NextOffset, PartitionId};

use super::{
    config::KafkaConfig,
    end_in_background,
    health::Clients,
    reader::{Isolation, KafkaReader},
};
use crate::{LogError, RecordReader, RecordRef, RecordSink, Topic};

/// A piece is what one epoch wrote, or less.
const DEADLINE: Duration = Duration::from_secs(30);
const BATCH: usize = 4_000;

/// A record that was read.
pub(super) struct Kept {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// Encoded.
    pub(super) headers: Vec<u8>,
}

/// Reads the records of a partition from `range.start` to before `range.end`, which is at most the end of what can be
/// read.
///
/// # Errors
/// [`LogError::Unavailable`] if that takes too long, else as the brokers answer.
pub(super) fn read(
    config: &Arc<KafkaConfig>,
    clients: &Clients,
    (topic, partition): (Topic, u32),
    range: Range<NextOffset>,
    isolation: Isolation,
) -> Result<Vec<Kept>, LogError> {
    if range.start >= range.end {
        return Ok(Vec::new());
    }
    let mut reader = KafkaReader::connect_as(config, topic, isolation, clients)?;
    let begin = reader.begin(partition, DEADLINE)?;
    let mut sink = Sink { kept: Vec::new(), next: range.start.max(begin), end: range.end };
    reader.assign(&[(PartitionId(partition), sink.next)])?;
    let deadline = Instant::now() + DEADLINE;
    while sink.next < sink.end {
        if Instant::now() > deadline {
            let cause =
                format!("partition {partition} of {} was not read to its end in time", config.topic(topic));
            return Err(LogError::Unavailable { what: "reading records", cause });
        }
        reader.poll(Duration::from_millis(100), BATCH, &mut sink)?;
    }
    end_in_background(reader);
    Ok(sink.kept)
}

struct Sink {
    kept: Vec<Kept>,
    next: NextOffset,
    end: NextOffset,
}

impl RecordSink for Sink {
    fn record(&mut self, record: RecordRef<'_>, headers: &mut dyn FnMut(&mut Vec<u8>)) {
        self.next = NextOffset(record.offset + 1);
        if record.offset >= self.end.0 {
            return;
        }
        let mut encoded = Vec::new();
        headers(&mut encoded);
        self.kept.push(Kept {
            offset: record.offset,
            timestamp: record.timestamp.0,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: encoded,
        });
    }

    fn end_of_partition(&mut self, _partition: PartitionId, next: NextOffset) {
        self.next = self.next.max(next);
    }
}
