//! Output records: where each goes and what it carries.
//!
//! A record keeps its partition where the topics have as many; one that its topic would refuse, or has refused before,
//! becomes a dead letter; a dead letter gives up what its own topic would refuse of it, so that it can always be written.

use sha2::{Digest, Sha256};

use crate::{
    PartitionId, TimestampMs,
    dead_letter::{self, TRUNCATED_BYTES},
    event::{GeoSlot, Reason},
    partitioner::partition_for_key,
    record::{
        ByteRange, Headers, Origin, OutputBatch, OutputRecord, RecordBatch, RecordMeta, Topic, TopicFacts,
        TopicsFacts, push_header,
    },
    refused::{RefusedRecords, Remedy},
    splice::splice_geo,
    tally::Tally,
};

/// A record batch of the Kafka protocol with one record in it, without key, value and headers: 61 bytes of
/// batch header and at most this much for the record's own varints. Message format v2.
pub const RECORD_OVERHEAD_BYTES: usize = 61 + 40;
/// A partition and an offset, as the key of a dead letter that has none.
const OWN_KEY_BYTES: usize = 32;
/// Lengths of name and value of one header, as varints.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// What outputs have to keep to.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// The topics as they are.
    pub topics: &'a TopicsFacts,
    /// Records whose output was refused before.
    pub refused: &'a RefusedRecords,
    /// The broker's clock, if it is known.
    pub broker_now: Option<TimestampMs>,
}

/// Builds the output of one piece of an input batch.
#[derive(Debug)]
pub struct OutputBuilder<'a> {
    targets: Targets<'a>,
    source: &'a RecordBatch,
    output: OutputBatch,
    tally: Tally,
}

impl<'a> OutputBuilder<'a> {
    /// Output of records of `source`; `tally` is what was counted of them before.
    #[must_use]
    pub fn new(targets: Targets<'a>, source: &'a RecordBatch, tally: Tally) -> Self {
        Self { targets, source, output: OutputBatch::default(), tally }
    }

    /// Makes room for `records` records of `bytes` bytes in all.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.output.records.reserve(records);
        self.output.arena.reserve(bytes);
    }

    /// Forwards a record with its geo data, or makes it a dead letter if it has grown too large, or the topic refuses
    /// it for another reason. Returns the headers of a record that is forwarded, whose trace may go on.
    pub fn forward(&mut self, record: &RecordMeta, geo: &GeoSlot, fragment: &[u8]) -> Option<&mut [u8]> {
        let value = record.value?;
        let start = self.output.arena.len();
        splice_geo(value.of(&self.source.arena), geo, fragment, &mut self.output.arena);
        let value = ByteRange { start: start as u32, end: self.output.arena.len() as u32 };
        if let Some((reason, detail)) = self.refusal(record, value.len()) {
            self.output.arena.truncate(start);
            self.dead_letter(record, reason, &detail);
            return None;
        }
        self.tally.forwarded += 1;
        let partition = self.processed_partition(record);
        let (key, headers) = (record.key.map(|key| self.carry(key)), self.carry(record.headers));
        self.output.records.push(OutputRecord {
            topic: Topic::Processed,
            partition,
            timestamp: record.timestamp,
            key,
            value: Some(value),
            headers,
            origin: self.origin(record),
        });
        Some(&mut self.output.arena[headers.start as usize..headers.end as usize])
    }

    /// Why the output topic does not take a record whose value has become so long.
    fn refusal(&self, record: &RecordMeta, value_len: usize) -> Option<(Reason, String)> {
        let TopicFacts { max_message_bytes: limit, limits, .. } = *self.facts(Topic::Processed);
        let size = self.size_bytes(record.key, value_len, record.headers);
        if size > limit {
            let detail =
                format!("the enriched record takes {size} bytes, the output topic at most {limit} a message");
            return Some((Reason::OutputTooLarge, detail));
        }
        let foreseen = limits.refusal(record.timestamp, record.key.is_some(), self.targets.broker_now);
        let detail = foreseen.map(|refusal| refusal.to_string()).or_else(|| {
            let (_, cause) = self.targets.refused.remedy(self.source.partition, record.offset)?;
            Some(cause.to_owned())
        })?;
        Some((Reason::RefusedByTopic, detail))
    }

    /// Writes a record to the dead letters as it came, with the reason in its headers; what that topic would refuse
    /// of it gives way.
    pub fn dead_letter(&mut self, record: &RecordMeta, reason: Reason, detail: &str) {
        self.bury(record, reason, detail, Topic::Raw, Vec::new());
    }

    /// Writes a record of `topic` to the dead letters, because the destination of a sink refuses it for good.
    pub fn sink_rejected(&mut self, record: &RecordMeta, topic: Topic, sink: &str, detail: &str) {
        let mut added = Vec::new();
        push_header(&mut added, dead_letter::SINK.as_bytes(), Some(sink.as_bytes()));
        self.bury(record, Reason::SinkRejected, detail, topic, added);
    }

    /// `added` are headers that go before those of every dead letter.
    fn bury(&mut self, record: &RecordMeta, reason: Reason, detail: &str, topic: Topic, mut added: Vec<u8>) {
        self.tally.count_dead(reason);
        let dead_letters = self.facts(Topic::DeadLetters);
        // Of a record of 1,000 bytes, the smallest that a client can be told to send, something has to be left.
        let detail = &detail[..detail.floor_char_boundary(dead_letters.max_message_bytes / 8)];
        let remedy = self.targets.refused.remedy(self.source.partition, record.offset);
        let is_bare = remedy.is_some_and(|(remedy, _)| remedy == Remedy::BareDeadLetter);
        let topic = &self.facts(topic).name;
        let partition = self.source.partition;
        for (name, value) in
            dead_letter::headers(reason, detail, topic, partition, record.offset, record.timestamp)
        {
            push_header(&mut added, name.as_bytes(), Some(value.as_bytes()));
        }
        let (key, value, headers) = self.fit_dead_letter(record, is_bare, &mut added);
        let (mut key, value) = (key.map(|key| self.carry(key)), value.map(|value| self.carry(value)));
        if key.is_none() && (dead_letters.limits.needs_key || is_bare) {
            let own = format!("{}-{}", partition, record.offset);
            key = Some(ByteRange::push(&mut self.output.arena, own.as_bytes()));
        }
        // A record without a timestamp is always taken.
        let timestamp = if is_bare {
            TimestampMs(-1)
        } else {
            dead_letters.limits.clamp(record.timestamp, self.targets.broker_now)
        };
        let start = self.carry(headers).start;
        let end = ByteRange::push(&mut self.output.arena, &added).end;
        self.output.records.push(OutputRecord {
            topic: Topic::DeadLetters,
            partition: partition.0 % dead_letters.partitions,
            timestamp,
            key,
            value,
            headers: ByteRange { start, end },
            origin: self.origin(record),
        });
    }

    /// What of a record fits the dead-letter topic: all of it, or the beginning of its value with size and
    /// hash in `added`. If its headers or its key alone are too large, they give way too: a dead letter that
    /// cannot be written would stop the pipeline.
    fn fit_dead_letter(
        &self,
        record: &RecordMeta,
        is_bare: bool,
        added: &mut Vec<u8>,
    ) -> (Option<ByteRange>, Option<ByteRange>, ByteRange) {
        let limit = self.facts(Topic::DeadLetters).max_message_bytes;
        let value_len = record.value.map_or(0, ByteRange::len);
        let fits = |key, value_len, headers, added: &[u8]| {
            self.size_bytes(key, value_len, headers) + headers_size_bytes(added) <= limit
        };
        if !is_bare && fits(record.key, value_len, record.headers, added) {
            return (record.key, record.value, record.headers);
        }
        let value = record.value.map(|value| {
            let whole = value.of(&self.source.arena);
            push_header(added, dead_letter::SIZE.as_bytes(), Some(whole.len().to_string().as_bytes()));
            push_header(added, dead_letter::SHA256.as_bytes(), Some(hex(&Sha256::digest(whole)).as_bytes()));
            ByteRange { start: value.start, end: value.start + value.len().min(TRUNCATED_BYTES) as u32 }
        });
        let value_len = value.map_or(0, ByteRange::len);
        let no_headers = ByteRange::EMPTY;
        if is_bare {
            (None, value, no_headers)
        } else if fits(record.key, value_len, record.headers, added) {
            (record.key, value, record.headers)
        } else if fits(record.key, value_len, no_headers, added) {
            (record.key, value, no_headers)
        } else {
            let room = limit.saturating_sub(self.size_bytes(None, OWN_KEY_BYTES, no_headers));
            let room = room.saturating_sub(headers_size_bytes(added)) as u32;
            (
                None,
                value.map(|value| ByteRange { end: value.end.min(value.start + room), ..value }),
                no_headers,
            )
        }
    }

    fn origin(&self, record: &RecordMeta) -> Origin {
        Origin::new(self.source.partition, record.offset)
    }

    /// Copies bytes of the input, which is freed while the output waits to be written.
    fn carry(&mut self, span: ByteRange) -> ByteRange {
        ByteRange::push(&mut self.output.arena, span.of(&self.source.arena))
    }

    /// What was built, and what was counted with it.
    #[must_use]
    pub fn finish(self) -> (OutputBatch, Tally) {
        (self.output, self.tally)
    }

    fn facts(&self, topic: Topic) -> &'a TopicFacts {
        &self.targets.topics[topic as usize]
    }

    /// Same number of partitions: the input's partition, so that the order within a user survives.
    /// Otherwise as the Java client's default partitioner puts it.
    fn processed_partition(&self, record: &RecordMeta) -> u32 {
        let PartitionId(input) = self.source.partition;
        let partitions = self.facts(Topic::Processed).partitions;
        match record.key {
            _ if partitions == self.facts(Topic::Raw).partitions => input,
            Some(key) => partition_for_key(key.of(&self.source.arena), partitions),
            None => input % partitions,
        }
    }

    /// An upper bound of what a record takes on the wire by itself, uncompressed.
    fn size_bytes(&self, key: Option<ByteRange>, value_len: usize, headers: ByteRange) -> usize {
        RECORD_OVERHEAD_BYTES
            + key.map_or(0, ByteRange::len)
            + value_len
            + headers_size_bytes(headers.of(&self.source.arena))
    }
}

/// A record of our own, without headers: an alert, a change of the state.
#[must_use]
pub fn own_record(
    topic: Topic,
    partition: u32,
    timestamp: TimestampMs,
    key: ByteRange,
    value: Option<ByteRange>,
) -> OutputRecord {
    let (key, headers, origin) = (Some(key), ByteRange::EMPTY, Origin::NONE);
    OutputRecord { topic, partition, timestamp, key, value, headers, origin }
}

/// An upper bound of what encoded headers take on the wire.
#[must_use]
pub fn headers_size_bytes(encoded: &[u8]) -> usize {
    Headers(encoded)
        .into_iter()
        .map(|(name, value)| HEADER_OVERHEAD_BYTES + name.len() + value.map_or(0, <[u8]>::len))
        .sum()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic_limits::TopicLimits;

    const NOW: TimestampMs = TimestampMs(1_760_000_000_000);

    struct Outputs {
        topics: TopicsFacts,
        refused: RefusedRecords,
    }

    impl Outputs {
        fn builder<'a>(&'a self, source: &'a RecordBatch) -> OutputBuilder<'a> {
            let targets = Targets { topics: &self.topics, refused: &self.refused, broker_now: Some(NOW) };
            OutputBuilder::new(targets, source, Tally::default())
        }
    }

    fn topics(limit: usize, processed_partitions: u32) -> Outputs {
        let facts = |partitions| TopicFacts {
            name: "raw".into(),
            id: None,
            partitions,
            max_message_bytes: limit,
            limits: TopicLimits::default(),
        };
        let topics = [facts(12), facts(processed_partitions), facts(3), facts(3), facts(12)];
        Outputs { topics, refused: RefusedRecords::default() }
    }

    fn limited(topic: Topic, limits: TopicLimits) -> Outputs {
        let mut outputs = topics(1 << 20, 12);
        outputs.topics[topic as usize].limits = limits;
        outputs
    }

    fn batch(key: Option<&[u8]>, value: &[u8]) -> RecordBatch {
        let mut arena = Vec::new();
        let record = RecordMeta {
            offset: 7,
            timestamp: TimestampMs(1),
            key: key.map(|key| ByteRange::push(&mut arena, key)),
            value: Some(ByteRange::push(&mut arena, value)),
            headers: ByteRange::EMPTY,
        };
        RecordBatch { partition: PartitionId(5), arena, records: vec![record] }
    }

    fn forward(topics: &Outputs, batch: &RecordBatch) -> OutputBatch {
        let mut builder = topics.builder(batch);
        let at = batch.records[0].value.map_or(0, ByteRange::len) as u32 - 1;
        builder.forward(&batch.records[0], &GeoSlot::Append { at }, b"null");
        builder.finish().0
    }

    fn header(output: &OutputBatch, name: &str) -> Option<String> {
        Headers(output.bytes(output.records[0].headers))
            .into_iter()
            .find(|(found, _)| *found == name.as_bytes())
            .and_then(|(_, value)| value.map(|value| String::from_utf8_lossy(value).into_owned()))
    }

    #[test]
    fn a_record_keeps_its_partition_when_the_topics_have_as_many() {
        let output = forward(&topics(1 << 20, 12), &batch(Some(b"21"), br#"{"a":1}"#));
        assert_eq!((output.records[0].topic, output.records[0].partition), (Topic::Processed, 5));
        assert_eq!(output.records[0].value.map(|v| output.bytes(v)), Some(&br#"{"a":1,"geo":null}"#[..]));
    }

    #[test]
    fn otherwise_its_key_decides_as_in_the_java_client_and_without_a_key_its_partition() {
        let by_key = forward(&topics(1 << 20, 7), &batch(Some(b"21"), br#"{"a":1}"#));
        assert_eq!(by_key.records[0].partition, partition_for_key(b"21", 7));
        let without = forward(&topics(1 << 20, 4), &batch(None, br#"{"a":1}"#));
        assert_eq!(without.records[0].partition, 1);
    }

    #[test]
    fn an_enriched_record_that_does_not_fit_becomes_a_dead_letter_with_its_beginning_size_and_hash() {
        let value = format!(r#"{{"a":"{}"}}"#, "x".repeat(4000));
        let output = forward(&topics(3000, 12), &batch(None, value.as_bytes()));
        let record = output.records[0];
        assert_eq!((record.topic, record.partition), (Topic::DeadLetters, 5 % 3));
        assert_eq!(record.value.map(|v| output.bytes(v)), Some(&value.as_bytes()[..1024]));
        assert_eq!(header(&output, "tidegate.reason").as_deref(), Some("output_too_large"));
        assert_eq!(header(&output, "tidegate.size"), Some(value.len().to_string()));
        assert_eq!(header(&output, "tidegate.sha256").map(|hash| hash.len()), Some(64));
    }

    #[test]
    fn a_key_too_large_for_the_dead_letters_gives_way() {
        let key = vec![b'k'; 5000];
        let output = forward(&topics(3000, 12), &batch(Some(&key), br#"{"a":1}"#));
        assert!(output.records[0].key.is_none());
        assert_eq!(output.records[0].topic, Topic::DeadLetters);
    }

    #[test]
    fn a_record_that_the_topic_would_refuse_becomes_a_dead_letter_that_says_why() {
        let old = limited(Topic::Processed, TopicLimits { oldest_ms: Some(1000), ..TopicLimits::default() });
        let output = forward(&old, &batch(Some(b"k"), br#"{"a":1}"#));
        assert_eq!(
            (output.records[0].topic, output.records[0].timestamp),
            (Topic::DeadLetters, TimestampMs(1))
        );
        assert_eq!(header(&output, "tidegate.reason").as_deref(), Some("refused_by_topic"));
        assert!(header(&output, "tidegate.detail").is_some_and(|detail| detail.contains("before.max.ms")));

        let compacted = limited(Topic::Processed, TopicLimits { needs_key: true, ..TopicLimits::default() });
        assert_eq!(forward(&compacted, &batch(None, b"{}")).records[0].topic, Topic::DeadLetters);
        assert_eq!(forward(&compacted, &batch(Some(b"k"), b"{}")).records[0].topic, Topic::Processed);
    }

    #[test]
    fn a_dead_letter_takes_the_time_and_the_key_that_its_topic_takes() {
        let limits = TopicLimits { oldest_ms: Some(3_600_000), needs_key: true, ..TopicLimits::default() };
        let outputs = limited(Topic::DeadLetters, limits);
        let batch = batch(None, b"x");
        let mut builder = outputs.builder(&batch);
        builder.dead_letter(&batch.records[0], Reason::InvalidJson, "x");
        let (output, _) = builder.finish();
        let record = output.records[0];
        assert!((NOW.0 - record.timestamp.0).abs() < 3_600_000, "{}", record.timestamp);
        assert_eq!(record.key.map(|key| output.bytes(key)), Some(&b"5-7"[..]));
        assert_eq!(header(&output, "tidegate.timestamp").as_deref(), Some("1"));
        assert_eq!(record.origin.position(), Some((PartitionId(5), 7)));
    }

    #[test]
    fn what_was_refused_before_goes_to_the_dead_letters_and_what_those_refused_goes_there_bare() {
        let mut outputs = topics(1 << 20, 12);
        let batch = batch(Some(b"k"), br#"{"a":1}"#);
        outputs.refused.add(PartitionId(5), 7, false, "too old");
        let output = forward(&outputs, &batch);
        assert_eq!(output.records[0].topic, Topic::DeadLetters);
        assert_eq!(header(&output, "tidegate.detail").as_deref(), Some("too old"));
        outputs.refused.add(PartitionId(5), 7, true, "too old");
        let output = forward(&outputs, &batch);
        assert_eq!(output.records[0].timestamp, TimestampMs(-1));
    }

    #[test]
    fn a_dead_letter_fits_the_smallest_message_that_a_client_can_be_told_to_send() {
        let outputs = topics(1000, 12);
        let batch = batch(Some(&[b'k'; 4000]), &[b'x'; 4000]);
        let mut builder = outputs.builder(&batch);
        builder.dead_letter(&batch.records[0], Reason::InvalidJson, &"y".repeat(512));
        let (output, _) = builder.finish();
        let record = output.records[0];
        let size = record.key.map_or(0, ByteRange::len) + record.value.map_or(0, ByteRange::len);
        let size = size + headers_size_bytes(output.bytes(record.headers)) + RECORD_OVERHEAD_BYTES;
        assert!(size <= 1000, "{size}");
    }
}
