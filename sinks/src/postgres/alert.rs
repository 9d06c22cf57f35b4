//! Alerts as rows.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_core::TimestampMs;

use super::value::Value;
use crate::SinkRecord;

/// The value of an alert's record. What else is in it is not stored.
#[derive(Deserialize)]
struct Alert<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    phase: Cow<'a, str>,
    #[serde(borrow)]
    rule: Cow<'a, str>,
    #[serde(borrow)]
    service: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    count: i64,
    threshold: i64,
    window_start: i64,
    window_end: i64,
    first_event_at: i64,
    last_event_at: i64,
    #[serde(borrow)]
    evidence: &'a RawValue,
}

/// Values in the order of the table's columns.
///
/// # Errors
/// If the record is no alert; in words.
pub(super) fn values<'a>(record: &SinkRecord<'a>) -> Result<[Value<'a>; 12], String> {
    let value = record.value.ok_or("it has no value")?;
    let alert: Alert<'a> = serde_json::from_slice(value).map_err(|error| format!("no alert: {error}"))?;
    let time = |ms| Value::Time(TimestampMs(ms));
    Ok([
        Value::Text(alert.id),
        Value::Text(alert.phase),
        Value::Text(alert.rule),
        Value::Text(alert.service),
        Value::Text(alert.message),
        Value::Int(alert.count),
        Value::Int(alert.threshold),
        time(alert.window_start),
        time(alert.window_end),
        time(alert.first_event_at),
        time(alert.last_event_at),
        Value::Json(Cow::Borrowed(alert.evidence.get())),
    ])
}
