//! Output records: where they go and what they carry.

use sha2::{Digest, Sha256};
use tidegate_core::{
    PartitionId,
    dead_letter::{self, TRUNCATED_BYTES},
    event::{GeoSlot, Reason},
    partitioner::partition_for_key,
    splice::splice_geo,
};
use tidegate_log::{
    Headers, OutputBatch, OutputRecord, RecordBatch, RecordMeta, Span, Topic, TopicFacts, TopicsFacts,
    push_header,
};
use tidegate_telemetry::Place;

use crate::{tally::Tally, traced::EventTraces};

/// A record batch of the Kafka protocol with one record in it, without key, value and headers: 61 bytes of
/// batch header and at most this much for the record's own varints. Message format v2.
const RECORD_OVERHEAD_BYTES: usize = 61 + 40;
/// Lengths of name and value of one header, as varints.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// Builds the output of one piece of an input batch.
pub(crate) struct OutputBuilder<'a> {
    topics: &'a TopicsFacts,
    source: &'a RecordBatch,
    output: OutputBatch,
    pub(crate) tally: Tally,
    traces: Option<EventTraces<'a>>,
}

impl<'a> OutputBuilder<'a> {
    pub(crate) fn new(topics: &'a TopicsFacts, source: &'a RecordBatch, tally: Tally) -> Self {
        Self { topics, source, output: OutputBatch::default(), tally, traces: None }
    }

    /// Has the traces of forwarded records go on.
    pub(crate) fn trace_events(&mut self, traces: Option<EventTraces<'a>>) {
        self.traces = traces;
    }

    /// Makes room for `records` records of `bytes` bytes in all.
    pub(crate) fn reserve(&mut self, records: usize, bytes: usize) {
        self.output.records.reserve(records);
        self.output.arena.reserve(bytes);
    }

    /// Forwards a record with its geo data, or makes it a dead letter if it has grown too large.
    pub(crate) fn forward(&mut self, record: &RecordMeta, geo: &GeoSlot, fragment: &[u8]) {
        let Some(value) = record.value else { return };
        let start = self.output.arena.len();
        splice_geo(value.of(&self.source.arena), geo, fragment, &mut self.output.arena);
        let value = Span { start: start as u32, end: self.output.arena.len() as u32 };

        let limit = self.facts(Topic::Processed).max_message_bytes;
        let size = self.size_bytes(record.key, value.len(), record.headers);
        if size > limit {
            self.output.arena.truncate(start);
            let detail =
                format!("the enriched record takes {size} bytes, the output topic at most {limit} a message");
            return self.dead_letter(record, Reason::OutputTooLarge, &detail);
        }
        self.tally.forwarded += 1;
        let partition = self.processed_partition(record);
        let (key, headers) = (record.key.map(|key| self.carry(key)), self.carry(record.headers));
        if let Some(traces) = &mut self.traces {
            let place = Place { partition: self.source.partition.0, offset: record.offset };
            traces.hand_on(&mut self.output.arena[headers.start as usize..headers.end as usize], place);
        }
        let timestamp = record.timestamp;
        let value = Some(value);
        self.output.records.push(OutputRecord {
            topic: Topic::Processed,
            partition,
            timestamp,
            key,
            value,
            headers,
        });
    }

    /// Writes a record to the dead letters as it came, with the reason in its headers.
    pub(crate) fn dead_letter(&mut self, record: &RecordMeta, reason: Reason, detail: &str) {
        self.tally.count_dead(reason);
        let raw_topic = &self.facts(Topic::Raw).name;
        let mut added = Vec::new();
        let partition = self.source.partition;
        for (name, value) in
            dead_letter::headers(reason, detail, raw_topic, partition, record.offset, record.timestamp)
        {
            push_header(&mut added, name.as_bytes(), Some(value.as_bytes()));
        }
        let (key, value, headers) = self.fit_dead_letter(record, &mut added);
        let (key, value) = (key.map(|key| self.carry(key)), value.map(|value| self.carry(value)));
        let start = self.carry(headers).start;
        let end = Span::push(&mut self.output.arena, &added).end;
        let dead_letters = self.facts(Topic::DeadLetters);
        self.output.records.push(OutputRecord {
            topic: Topic::DeadLetters,
            partition: partition.0 % dead_letters.partitions,
            timestamp: record.timestamp,
            key,
            value,
            headers: Span { start, end },
        });
    }

    /// What of a record fits the dead-letter topic: all of it, or the beginning of its value with size and
    /// hash in `added`. If its headers or its key alone are too large, they give way too: a dead letter that
    /// cannot be written would stop the pipeline.
    fn fit_dead_letter(
        &self,
        record: &RecordMeta,
        added: &mut Vec<u8>,
    ) -> (Option<Span>, Option<Span>, Span) {
        let limit = self.facts(Topic::DeadLetters).max_message_bytes;
        let value_len = record.value.map_or(0, Span::len);
        let fits = |key, value_len, headers, added: &[u8]| {
            self.size_bytes(key, value_len, headers) + headers_size_bytes(added) <= limit
        };
        if fits(record.key, value_len, record.headers, added) {
            return (record.key, record.value, record.headers);
        }
        let value = record.value.map(|value| {
            let whole = value.of(&self.source.arena);
            push_header(added, dead_letter::SIZE.as_bytes(), Some(whole.len().to_string().as_bytes()));
            push_header(added, dead_letter::SHA256.as_bytes(), Some(hex(&Sha256::digest(whole)).as_bytes()));
            Span { start: value.start, end: value.start + value.len().min(TRUNCATED_BYTES) as u32 }
        });
        let value_len = value.map_or(0, Span::len);
        let no_headers = Span::EMPTY;
        if fits(record.key, value_len, record.headers, added) {
            (record.key, value, record.headers)
        } else if fits(record.key, value_len, no_headers, added) {
            (record.key, value, no_headers)
        } else {
            (None, value, no_headers)
        }
    }

    /// Copies bytes of the input, which is freed while the output waits to be written.
    fn carry(&mut self, span: Span) -> Span {
        Span::push(&mut self.output.arena, span.of(&self.source.arena))
    }

    pub(crate) fn finish(self) -> (OutputBatch, Tally) {
        (self.output, self.tally)
    }

    fn facts(&self, topic: Topic) -> &'a TopicFacts {
        &self.topics[topic as usize]
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
    fn size_bytes(&self, key: Option<Span>, value_len: usize, headers: Span) -> usize {
        RECORD_OVERHEAD_BYTES
            + key.map_or(0, Span::len)
            + value_len
            + headers_size_bytes(headers.of(&self.source.arena))
    }
}

fn headers_size_bytes(encoded: &[u8]) -> usize {
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
    use tidegate_core::TimestampMs;

    use super::*;

    fn topics(limit: usize, processed_partitions: u32) -> TopicsFacts {
        let facts =
            |partitions| TopicFacts { name: "raw".into(), id: None, partitions, max_message_bytes: limit };
        [facts(12), facts(processed_partitions), facts(3), facts(3), facts(12)]
    }

    fn batch(key: Option<&[u8]>, value: &[u8]) -> RecordBatch {
        let mut arena = Vec::new();
        let record = RecordMeta {
            offset: 7,
            timestamp: TimestampMs(1),
            key: key.map(|key| Span::push(&mut arena, key)),
            value: Some(Span::push(&mut arena, value)),
            headers: Span::EMPTY,
        };
        RecordBatch { partition: PartitionId(5), arena, records: vec![record] }
    }

    fn forward(topics: &TopicsFacts, batch: &RecordBatch) -> OutputBatch {
        let mut builder = OutputBuilder::new(topics, batch, Tally::default());
        let at = batch.records[0].value.map_or(0, Span::len) as u32 - 1;
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
}
