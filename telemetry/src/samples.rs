//! Samples of dead letters, for people to look at.

use tidegate_core::{
    TimestampMs,
    dead_letter::{DETAIL, OFFSET, PARTITION, REASON, SINK, SIZE, last_header},
    event::Reason,
    record::{Headers, OutputBatch, Topic},
};

/// What is shown of a value.
const VALUE_BYTES: usize = 512;

/// One dead letter of a committed epoch, or of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterSample {
    /// Wall clock when it was committed.
    pub at: TimestampMs,
    /// The sink whose destination refused the record; `None` for a record of the input.
    pub sink: Option<String>,
    /// Partition of the topic that the record came from: the input, or what the sink reads.
    pub partition: u32,
    /// Offset in it.
    pub offset: i64,
    /// What was wrong.
    pub detail: String,
    /// Bytes of the value.
    pub size: usize,
    /// The beginning of the value.
    pub value: Vec<u8>,
}

impl DeadLetterSample {
    /// The first dead letter of a batch, with its reason. Its time is not known yet.
    #[must_use]
    pub fn first(output: &OutputBatch) -> Option<(&'static str, Self)> {
        let record = output.records.iter().find(|record| record.topic == Topic::DeadLetters)?;
        let headers = Headers(output.bytes(record.headers));
        let header = |wanted: &str| str::from_utf8(last_header(headers, wanted)?).ok();
        let reason = header(REASON)?;
        let reason = Reason::ALL.into_iter().find(|known| known.as_str() == reason)?;
        let value = record.value.map_or(&[][..], |value| output.bytes(value));
        let sample = Self {
            at: TimestampMs(0),
            // Of another reason it is a header that the input record brought along.
            sink: header(SINK).filter(|_| reason == Reason::SinkRejected).map(str::to_owned),
            partition: header(PARTITION)?.parse().ok()?,
            offset: header(OFFSET)?.parse().ok()?,
            detail: header(DETAIL)?.to_owned(),
            size: header(SIZE).and_then(|size| size.parse().ok()).unwrap_or(value.len()),
            value: value[..value.len().min(VALUE_BYTES)].to_vec(),
        };
        Some((reason.as_str(), sample))
    }
}
