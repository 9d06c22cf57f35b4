//! The headers that tell why a record is a dead letter and where it came from.

use std::borrow::Cow;

use crate::{
    PartitionId, TimestampMs,
    event::{MAX_DETAIL_BYTES, Reason, cut},
    record::Headers,
};

/// Name of [`Reason`].
pub const REASON: &str = "tidegate.reason";
/// What was wrong and where, as text of at most [`MAX_DETAIL_BYTES`].
pub const DETAIL: &str = "tidegate.detail";
/// Input topic.
pub const TOPIC: &str = "tidegate.topic";
/// Input partition, decimal.
pub const PARTITION: &str = "tidegate.partition";
/// Offset in the input partition, decimal.
pub const OFFSET: &str = "tidegate.offset";
/// Kafka timestamp of the input record, milliseconds, decimal.
pub const TIMESTAMP: &str = "tidegate.timestamp";
/// Bytes of the whole value, decimal; only where the value had to be cut.
pub const SIZE: &str = "tidegate.size";
/// SHA-256 of the whole value, hexadecimal; only where the value had to be cut.
pub const SHA256: &str = "tidegate.sha256";

/// Name of the sink whose destination refuses the record; only of such dead letters.
pub const SINK: &str = "tidegate.sink";

/// What is kept of a value that is too large for the dead-letter topic.
pub const TRUNCATED_BYTES: usize = 1024;

/// The headers of every dead letter as (name, value), to be added behind the record's own.
#[must_use]
pub fn headers<'a>(
    reason: Reason,
    detail: &'a str,
    topic: &'a str,
    partition: PartitionId,
    offset: i64,
    timestamp: TimestampMs,
) -> [(&'static str, Cow<'a, str>); 6] {
    [
        (REASON, Cow::Borrowed(reason.as_str())),
        (DETAIL, Cow::Borrowed(cut(detail, MAX_DETAIL_BYTES))),
        (TOPIC, Cow::Borrowed(topic)),
        (PARTITION, Cow::Owned(partition.to_string())),
        (OFFSET, Cow::Owned(offset.to_string())),
        (TIMESTAMP, Cow::Owned(timestamp.to_string())),
    ]
}

/// The value of the last header of this name: what was added last goes before what a record brought along.
#[must_use]
pub fn last_header<'a>(headers: Headers<'a>, name: &str) -> Option<&'a [u8]> {
    let named = headers.into_iter().filter(|(other, _)| *other == name.as_bytes());
    named.last().and_then(|(_, value)| value)
}

/// Whether a sink itself made this dead letter: to deliver it to the same sink would only reject it again, for ever.
#[must_use]
pub fn is_rejected_by(sink: &str, headers: Headers<'_>) -> bool {
    last_header(headers, SINK) == Some(sink.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_says_why_and_where_it_came_from_as_text() {
        let headers = headers(
            Reason::InvalidField,
            "timestamp: expected an integer",
            "raw-events",
            PartitionId(11),
            9_007_199_254_740_993,
            TimestampMs(1_760_000_041_200),
        );
        let expected = [
            ("tidegate.reason", "invalid_field"),
            ("tidegate.detail", "timestamp: expected an integer"),
            ("tidegate.topic", "raw-events"),
            ("tidegate.partition", "11"),
            ("tidegate.offset", "9007199254740993"),
            ("tidegate.timestamp", "1760000041200"),
        ];
        for ((name, value), expected) in headers.iter().zip(expected) {
            assert_eq!((*name, value.as_ref()), expected);
        }
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let detail = format!("x{}", "é".repeat(400));
        let [_, (_, detail), ..] =
            headers(Reason::ProcessingFailed, &detail, "t", PartitionId(0), 0, TimestampMs(0));
        assert_eq!(detail.len(), 511);
        assert!(detail.ends_with('é'));
    }
}
