//! Records as documents.
//!
//! An event or alert stays as it is but for `@timestamp`, which data streams and most tools for looking at data want, and
//! `geo.location`, which maps want: both are written into its bytes. What has an `@timestamp` of its own keeps that. Line
//! breaks between tokens become spaces: a bulk request has one document a line.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use tidegate_core::{
    TimestampMs,
    event::{EventParser, FieldPaths, GeoSlot},
    record::Topic,
};

use crate::{SinkRecord, alert::Alert, dead_letter, iso::rfc3339};

const TIMESTAMP: &str = "@timestamp";

/// Makes documents of the records of one topic.
#[derive(Debug)]
pub(super) struct Documents {
    topic: Topic,
    topic_name: String,
    parser: EventParser,
}

/// A document to be written.
#[derive(Debug)]
pub(super) struct Document<'a> {
    /// The same, however often the record is delivered.
    pub(super) id: String,
    /// Of an event its timestamp, or else its record's; of an alert its last event's, which for `crossed` is when the
    /// threshold was passed; of a dead letter its record's. The same at every delivery, so that the index is too.
    pub(super) time: TimestampMs,
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    /// A JSON object, with what is written into it.
    Object { value: &'a str, has_timestamp: bool, location: Option<Location<'a>> },
    /// As it is.
    Whole(Vec<u8>),
}

/// What is written into `geo`.
#[derive(Debug)]
struct Location<'a> {
    /// Position of its closing brace.
    at: usize,
    lat: &'a str,
    lon: &'a str,
}

impl Documents {
    pub(super) fn new(topic: Topic, topic_name: &str, paths: &FieldPaths) -> Self {
        Self { topic, topic_name: topic_name.into(), parser: EventParser::new(paths) }
    }

    /// The document of a record; `None` if it has none.
    ///
    /// # Errors
    /// In words, if it cannot be one.
    pub(super) fn of<'a>(&self, record: &SinkRecord<'a>) -> Result<Option<Document<'a>>, String> {
        let id = || format!("{}-{}-{}", self.topic_name, record.partition, record.offset);
        let (id, time, content) = match (self.topic, record.value) {
            (Topic::DeadLetters, _) => {
                let document = serde_json::to_vec(&dead_letter::document(record));
                (id(), record.timestamp, Content::Whole(document.map_err(|error| error.to_string())?))
            }
            (_, None) => return Ok(None),
            (Topic::Alerts, Some(value)) => {
                let alert = Alert::parse(Some(value))?;
                (alert.unique_id(), alert.last_event_at(), object(value)?)
            }
            (Topic::Raw | Topic::Processed | Topic::State, Some(value)) => {
                let (time, content) = self.event(value)?;
                (id(), time.unwrap_or(record.timestamp), content)
            }
        };
        Ok(Some(Document { id, time, content }))
    }

    /// An event, and its time if it names one.
    fn event<'a>(&self, value: &'a [u8]) -> Result<(Option<TimestampMs>, Content<'a>), String> {
        let (Ok(event), Ok(text)) = (self.parser.parse(value), std::str::from_utf8(value)) else {
            // The pipeline wrote it, but it may have read it by other paths than are configured now.
            return Ok((None, object(value)?));
        };
        let has_timestamp = text.contains("\"@timestamp\"") && members(text)?.contains_key(TIMESTAMP);
        let location = location(text, &event.geo);
        Ok((event.timestamp, Content::Object { value: text, has_timestamp, location }))
    }
}

/// An object of which nothing is known; an error if it is none, for a bulk request could not hold it.
fn object(value: &[u8]) -> Result<Content<'_>, String> {
    let value = std::str::from_utf8(value).map_err(|error| format!("it is not UTF-8: {error}"))?;
    Ok(Content::Object { value, has_timestamp: members(value)?.contains_key(TIMESTAMP), location: None })
}

fn members(text: &str) -> Result<BTreeMap<Cow<'_, str>, IgnoredAny>, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not a JSON object: {error}"))
}

/// What the pipeline found out about where an event came from.
#[derive(Deserialize)]
struct Geo<'a> {
    #[serde(borrow)]
    lat: &'a RawValue,
    #[serde(borrow)]
    lon: &'a RawValue,
    location: Option<IgnoredAny>,
}

fn location<'a>(value: &'a str, geo: &GeoSlot) -> Option<Location<'a>> {
    let GeoSlot::Replace(spans) = geo else { return None };
    let span = spans.last()?.clone();
    let text = value.get(span.start as usize..span.end as usize)?;
    // An array can be read as a `Geo` too.
    let geo: Geo<'a> = text.starts_with('{').then(|| serde_json::from_str(text).ok())??;
    let (lat, lon) = (geo.lat.get(), geo.lon.get());
    let is_place = [lat, lon].iter().all(|number| number.parse::<f64>().is_ok_and(f64::is_finite));
    // An object ends with its brace.
    (is_place && geo.location.is_none()).then_some(Location { at: span.end as usize - 1, lat, lon })
}

impl Document<'_> {
    /// Appends it to `out`, on one line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        match &self.content {
            Content::Whole(document) => out.extend_from_slice(document),
            Content::Object { value, has_timestamp, location } => {
                let open = value.find('{').map_or(0, |brace| brace + 1);
                let close = location.as_ref().map_or(value.len(), |location| location.at);
                out.extend_from_slice(&value.as_bytes()[..open]);
                if !has_timestamp {
                    let is_empty = value[open..].trim_ascii_start().starts_with('}');
                    let comma = if is_empty { "" } else { "," };
                    let member = format!("\"{TIMESTAMP}\":\"{}\"{comma}", rfc3339(self.time));
                    out.extend_from_slice(member.as_bytes());
                }
                out.extend_from_slice(&value.as_bytes()[open..close]);
                if let Some(Location { lat, lon, .. }) = location {
                    let member = format!(",\"location\":{{\"lat\":{lat},\"lon\":{lon}}}");
                    out.extend_from_slice(member.as_bytes());
                }
                out.extend_from_slice(&value.as_bytes()[close..]);
            }
        }
        // In JSON a line break is never within a string.
        for byte in &mut out[start..] {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};
    use tidegate_core::PartitionId;
    use tidegate_log::Headers;

    use super::*;

    const TIME: TimestampMs = TimestampMs(1_760_000_041_200);

    /// Id and text of the document of a value.
    fn document(topic: Topic, value: &[u8]) -> Result<Option<(String, String)>, String> {
        let documents = Documents::new(topic, "the-topic", &FieldPaths::default());
        let record = SinkRecord {
            partition: PartitionId(2),
            offset: 7,
            timestamp: TIME,
            key: None,
            value: Some(value),
            headers: Headers(b""),
        };
        Ok(documents.of(&record)?.map(|document| {
            let mut out = b"before\n".to_vec();
            document.write(&mut out);
            (document.id, String::from_utf8(out).unwrap().strip_prefix("before\n").unwrap().to_owned())
        }))
    }

    fn event(value: &str) -> String {
        let (id, text) = document(Topic::Processed, value.as_bytes()).unwrap().unwrap();
        assert_eq!(id, "the-topic-2-7");
        text
    }

    #[test]
    fn an_event_keeps_its_bytes_and_gets_its_time_and_its_place() {
        assert_eq!(
            event(
                "{\"event_type\":\"e\",\"timestamp\":1760000000000,\"n\":1.00,\"geo\":{\"country\":\"GB\",\"lat\":51.5142,\"lon\":-0.0931}}"
            ),
            "{\"@timestamp\":\"2025-10-09T08:53:20.000Z\",\"event_type\":\"e\",\"timestamp\":1760000000000,\"n\":1.00,\
             \"geo\":{\"country\":\"GB\",\"lat\":51.5142,\"lon\":-0.0931,\"location\":{\"lat\":51.5142,\"lon\":-0.0931}}}"
        );
        for geo in [
            "null",
            "{}",
            "{\"lat\":1}",
            "{\"lat\":\"a\",\"lon\":1}",
            "{\"lat\":1,\"lon\":2,\"location\":0}",
            "[1,2,null]",
        ] {
            let text = event(&format!("{{\"geo\":{geo},\"event_type\":\"e\"}}"));
            let expected = "{\"@timestamp\":\"2025-10-09T08:54:01.200Z\",\"geo\":";
            assert_eq!(text, format!("{expected}{geo},\"event_type\":\"e\"}}"));
        }
    }

    #[test]
    fn an_event_that_names_its_time_as_the_server_does_keeps_it() {
        let own = "{\"event_type\":\"e\",\"@timestamp\":1}";
        assert_eq!(event(own), own);
        let deeper = "{\"event_type\":\"e\",\"a\":{\"@timestamp\":1}}";
        assert!(event(deeper).starts_with("{\"@timestamp\":\"2025-10-09T"));
    }

    #[test]
    fn a_document_is_one_line_of_json_whatever_the_event() {
        for value in [
            "\n{\n}\r\n",
            " { \n\"event_type\" :\n\"a\\nb\" , \"geo\":\n{\"lat\":1,\n\"lon\":2 \n}\n} \n",
            "{\"a\":{\"b\":\"\\u000a\"}}",
            "{\"event_type\":[\n1]}",
        ] {
            let text = event(value);
            assert!(!text.contains('\n'), "{text:?}");
            let mut document: Value = serde_json::from_str(&text).unwrap();
            let mut expected: Value = serde_json::from_str(value).unwrap();
            assert!(document.as_object_mut().unwrap().remove(TIMESTAMP).is_some());
            if let Some(geo) = expected.get_mut("geo") {
                geo["location"] = json!({"lat": 1, "lon": 2});
            }
            assert_eq!(document, expected);
        }
    }

    #[test]
    fn what_is_no_object_is_refused_before_it_is_sent() {
        for value in [&b""[..], b"null", b"[1]", b"{\"a\":1}x", b"{\"a\":\"\n\"}", b"\xff", b"{\"\xff\":1}"] {
            assert!(document(Topic::Processed, value).is_err(), "{}", String::from_utf8_lossy(value));
            assert!(document(Topic::Alerts, value).is_err());
            assert!(document(Topic::DeadLetters, value).unwrap().is_some());
        }
    }

    #[test]
    fn an_alert_has_the_time_of_its_last_event_and_an_id_of_its_phase() {
        let alert = concat!(
            r#"{"id":"r/a/1760000040000","rule":"r","phase":"crossed","service":"a","message":"m","count":51,"#,
            r#""threshold":50,"window_start":1760000040000,"window_end":1760000100000,"first_event_at":1760000041200,"#,
            r#""last_event_at":1760000098700,"evidence":[]}"#,
        );
        let (id, text) = document(Topic::Alerts, alert.as_bytes()).unwrap().unwrap();
        assert_eq!(id, "r/a/1760000040000/crossed");
        assert_eq!(text, alert.replacen('{', "{\"@timestamp\":\"2025-10-09T08:54:58.700Z\",", 1));
    }
}
