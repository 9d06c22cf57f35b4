//! Alerts as sinks read them: what was written, by whichever version.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::{Number, Value};
use tidegate_core::TimestampMs;

/// The value of a record of the alerts.
#[derive(Debug, Deserialize)]
pub(crate) struct Alert<'a> {
    /// The same in all phases.
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) rule: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) phase: Cow<'a, str>,
    /// None, where the rule does not count by service.
    #[serde(borrow)]
    pub(crate) service: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) message: Cow<'a, str>,
    pub(crate) count: Number,
    pub(crate) threshold: Option<Number>,
    window_start: i64,
    window_end: i64,
    first_event_at: i64,
    last_event_at: i64,
    #[serde(borrow)]
    pub(crate) severity: Option<Cow<'a, str>>,
    /// By what else than the service is counted.
    pub(crate) group: Option<BTreeMap<String, Value>>,
    pub(crate) labels: Option<BTreeMap<String, Value>>,
    pub(crate) annotations: Option<BTreeMap<String, Value>>,
}

impl<'a> Alert<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// In words, if it is none.
    pub(crate) fn parse(value: Option<&'a [u8]>) -> Result<Self, String> {
        let value = value.ok_or("it is not an alert: it has no value")?;
        serde_json::from_slice(value).map_err(|error| format!("it is not an alert: {error}"))
    }

    /// What tells it from all others, other phases included.
    pub(crate) fn unique_id(&self) -> String {
        format!("{}/{}", self.id, self.phase)
    }

    pub(crate) fn window_start(&self) -> TimestampMs {
        TimestampMs(self.window_start)
    }

    pub(crate) fn window_end(&self) -> TimestampMs {
        TimestampMs(self.window_end)
    }

    pub(crate) fn first_event_at(&self) -> TimestampMs {
        TimestampMs(self.first_event_at)
    }

    /// Of the first phase: when it was raised, in event time.
    pub(crate) fn last_event_at(&self) -> TimestampMs {
        TimestampMs(self.last_event_at)
    }
}
