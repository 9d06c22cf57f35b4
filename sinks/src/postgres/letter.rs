//! Dead letters as rows. Whatever a record's bytes are, a row can be made of it.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};
use tidegate_core::{
    TimestampMs,
    dead_letter::{DETAIL, OFFSET, PARTITION, REASON, TIMESTAMP, TOPIC},
};

use super::value::Value;
use crate::SinkRecord;

/// What the server takes for a time, roughly: from the year 1 to the year 9999.
const TIMES_MS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// Values in the order of the table's columns.
pub(super) fn values<'a>(record: &SinkRecord<'a>) -> [Value<'a>; 11] {
    let header = |name: &str| {
        let named = record.headers.into_iter().filter(|(other, _)| *other == name.as_bytes());
        named.last().and_then(|(_, value)| value).map(text)
    };
    let number = |name: &str| header(name).and_then(|text| text.parse::<i64>().ok());
    let int = |number: Option<i64>| number.map_or(Value::Null, Value::Int);
    let time = number(TIMESTAMP).unwrap_or(record.timestamp.0);
    let bytes = |bytes: Option<&'a [u8]>| bytes.map_or(Value::Null, Value::Bytes);
    [
        Value::Int(i64::from(record.partition.0)),
        Value::Int(record.offset),
        Value::text(header(REASON)),
        Value::text(header(DETAIL)),
        Value::text(header(TOPIC)),
        int(number(PARTITION).filter(|number| i32::try_from(*number).is_ok())),
        int(number(OFFSET)),
        if TIMES_MS.contains(&time) { Value::Time(TimestampMs(time)) } else { Value::Null },
        bytes(record.key),
        bytes(record.value),
        Value::Json(Cow::Owned(headers(record).to_string())),
    ]
}

/// All headers as an object. A name that occurs more than once has an array of its values, in their order.
fn headers(record: &SinkRecord<'_>) -> Json {
    let mut object = Map::new();
    for (name, value) in record.headers {
        let value = value.map_or(Json::Null, |value| Json::String(text(value).into_owned()));
        let name = text(name).into_owned();
        match object.get_mut(&name) {
            None => _ = object.insert(name, value),
            Some(Json::Array(values)) => values.push(value),
            Some(first) => {
                *first = Json::Array(vec![first.take(), value]);
            }
        }
    }
    Json::Object(object)
}

/// As text that the server can store: what is not UTF-8, and U+0000, becomes U+FFFD.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { text }
}

#[cfg(test)]
mod tests {
    use tidegate_core::PartitionId;
    use tidegate_log::{Headers, push_header};

    use super::*;

    #[test]
    fn headers_are_an_object_in_which_a_repeated_name_has_all_its_values() {
        let mut arena = Vec::new();
        for (name, value) in [("a", Some(&b"1"[..])), ("b", None), ("a", Some(b"\xff\0")), ("a", None)] {
            push_header(&mut arena, name.as_bytes(), value);
        }
        let record = SinkRecord {
            partition: PartitionId(0),
            offset: 0,
            timestamp: TimestampMs(i64::MAX),
            key: None,
            value: None,
            headers: Headers(&arena),
        };
        assert_eq!(headers(&record).to_string(), r#"{"a":["1","��",null],"b":null}"#);
        let values = values(&record);
        assert!(matches!(values[7], Value::Null), "a time that no server takes");
    }
}
