//! CloudEvents 1.0, structured mode, JSON.

use serde::Serialize;
use serde_json::value::RawValue;

use tidegate_core::TimestampMs;

use crate::iso::rfc3339;

/// What a body is.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What becomes the attributes of a cloud event.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    /// With the topic, unlike that of any other event.
    pub(super) id: &'a str,
    pub(super) topic: &'a str,
    /// What kind of event it is.
    pub(super) kind: &'a str,
    /// When the record was written.
    pub(super) time: TimestampMs,
    /// Whom it concerns.
    pub(super) subject: Option<&'a str>,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'a str,
    id: &'a str,
    source: String,
    r#type: String,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    datacontenttype: &'a str,
    data: &'a RawValue,
}

/// A cloud event whose data is `data`, byte for byte.
///
/// # Errors
/// In words, if `data` is not JSON.
pub(super) fn event(attributes: &Attributes<'_>, data: &[u8]) -> Result<Vec<u8>, String> {
    let Attributes { id, topic, kind, time, subject } = *attributes;
    let event = CloudEvent {
        specversion: "1.0",
        id,
        source: format!("tidegate/{topic}"),
        r#type: format!("tidegate.{kind}"),
        time: rfc3339(time),
        // An empty one is not allowed.
        subject: subject.filter(|subject| !subject.is_empty()),
        datacontenttype: "application/json",
        data: serde_json::from_slice(data).map_err(|error| format!("it is not JSON: {error}"))?,
    };
    serde_json::to_vec(&event).map_err(|error| error.to_string())
}
