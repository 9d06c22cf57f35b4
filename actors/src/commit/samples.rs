//! Samples of dead letters, for people to look at.

use tidegate_core::{
    TimestampMs,
    dead_letter::{DETAIL, OFFSET, PARTITION, REASON, SIZE},
    event::Reason,
};
use tidegate_log::{Headers, OutputBatch, Topic};
use tidegate_telemetry::DeadLetterSample;

/// What is shown of a value.
const VALUE_BYTES: usize = 512;

/// The first dead letter of a batch, with its reason. Its time is not known yet.
pub(crate) fn first(output: &OutputBatch) -> Option<(&'static str, DeadLetterSample)> {
    let record = output.records.iter().find(|record| record.topic == Topic::DeadLetters)?;
    // Ours are the last of that name.
    let header = |wanted: &str| {
        let headers = Headers(output.bytes(record.headers)).into_iter();
        let value = headers.filter(|(name, _)| *name == wanted.as_bytes()).last()?.1?;
        str::from_utf8(value).ok()
    };
    let reason = header(REASON)?;
    let reason = Reason::ALL.map(Reason::as_str).into_iter().find(|known| *known == reason)?;
    let value = record.value.map_or(&[][..], |value| output.bytes(value));
    let sample = DeadLetterSample {
        at: TimestampMs(0),
        partition: header(PARTITION)?.parse().ok()?,
        offset: header(OFFSET)?.parse().ok()?,
        detail: header(DETAIL)?.to_owned(),
        size: header(SIZE).and_then(|size| size.parse().ok()).unwrap_or(value.len()),
        value: value[..value.len().min(VALUE_BYTES)].to_vec(),
    };
    Some((reason, sample))
}
