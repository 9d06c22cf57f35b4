//! Dead letters as JSON: a record's bytes may be any, and why it is a dead letter stands in its headers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use tidegate_core::dead_letter::{DETAIL, OFFSET, PARTITION, REASON, SHA256, SIZE, TIMESTAMP, TOPIC};

use crate::{SinkRecord, iso::rfc3339};

/// Which sink refused the record, if one did.
const SINK: &str = "tidegate.sink";

/// A dead letter: `@timestamp` (its Kafka timestamp), `reason`, `detail`, `sink`, `size`, `sha256`, `source` (`topic`,
/// `partition`, `offset`, `timestamp`), `key`, `value`, `headers` (the record's own). Bytes that are not UTF-8 are
/// base64, under a name that ends with `_base64`.
pub(crate) fn document(record: &SinkRecord<'_>) -> Map<String, Value> {
    let (mut document, mut source, mut headers) = (Map::new(), Map::new(), Vec::new());
    for (name, value) in record.headers {
        let text = value.map(String::from_utf8_lossy).unwrap_or_default();
        let number = || text.parse::<i64>().map_or(Value::Null, Value::from);
        match std::str::from_utf8(name) {
            Ok(REASON) => _ = document.insert("reason".into(), text.into()),
            Ok(DETAIL) => _ = document.insert("detail".into(), text.into()),
            Ok(SINK) => _ = document.insert("sink".into(), text.into()),
            Ok(SIZE) => _ = document.insert("size".into(), number()),
            Ok(SHA256) => _ = document.insert("sha256".into(), text.into()),
            Ok(TOPIC) => _ = source.insert("topic".into(), text.into()),
            Ok(PARTITION) => _ = source.insert("partition".into(), number()),
            Ok(OFFSET) => _ = source.insert("offset".into(), number()),
            Ok(TIMESTAMP) => _ = source.insert("timestamp".into(), number()),
            _ => {
                let mut header = Map::new();
                put(&mut header, "name", Some(name));
                put(&mut header, "value", value);
                headers.push(header);
            }
        }
    }
    document.insert("@timestamp".into(), rfc3339(record.timestamp).into());
    document.insert("source".into(), source.into());
    document.insert("headers".into(), json!(headers));
    put(&mut document, "key", record.key);
    put(&mut document, "value", record.value);
    document
}

fn put(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    _ = match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => object.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => object.insert(name.to_owned(), text.into()),
        Some((bytes, Err(_))) => object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

#[cfg(test)]
mod tests {
    use tidegate_core::{PartitionId, TimestampMs};
    use tidegate_log::{Headers, push_header};

    use super::*;

    #[test]
    fn a_dead_letter_tells_why_where_from_and_what_it_was_whatever_its_bytes() {
        let mut headers = Vec::new();
        for (name, value) in [
            (&b"trace"[..], Some(&b"\xff"[..])),
            (b"null", None),
            (b"tidegate.reason", Some(b"said by the producer")),
            (b"tidegate.reason", Some(b"sink_rejected")),
            (b"tidegate.detail", Some(b"too long")),
            (b"tidegate.sink", Some(b"search")),
            (b"tidegate.topic", Some(b"raw-events")),
            (b"tidegate.partition", Some(b"3")),
            (b"tidegate.offset", Some(b"9007199254740993")),
            (b"tidegate.timestamp", Some(b"no number")),
        ] {
            push_header(&mut headers, name, value);
        }
        let record = SinkRecord {
            partition: PartitionId(1),
            offset: 2,
            timestamp: TimestampMs(1_760_000_041_200),
            key: None,
            value: Some(b"\xfe\xff"),
            headers: Headers(&headers),
        };
        let expected = json!({
            "@timestamp": "2025-10-09T08:54:01.200Z", "reason": "sink_rejected", "detail": "too long", "sink": "search",
            "source": {"topic": "raw-events", "partition": 3, "offset": 9_007_199_254_740_993_i64, "timestamp": null},
            "key": null, "value_base64": "/v8=",
            "headers": [{"name": "trace", "value_base64": "/w=="}, {"name": "null", "value": null}],
        });
        assert_eq!(Value::from(document(&record)), expected);
    }
}
