//! What Tidegate reads of an event, and why it may refuse one.

pub mod classify;
mod cursor;
mod parse;
mod scan;
mod text;
mod trie;

use std::{borrow::Cow, net::IpAddr, ops::Range};

pub use parse::EventParser;
pub use text::Raw;
pub(crate) use text::cut;

use crate::TimestampMs;

/// Largest event that is taken, in bytes.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// Longest [`Rejection::detail`], in bytes.
pub const MAX_DETAIL_BYTES: usize = 512;

/// Longest service name in bytes; a longer one is cut.
pub const MAX_SERVICE_BYTES: usize = 256;

/// The service of events that name none.
pub const UNKNOWN_SERVICE: &str = "unknown";

/// The keys that lead to a field, outermost first; never empty.
pub type FieldPath = Vec<String>;

/// Where an event's fields are: for each, dotted paths in order of preference. A path is its segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPaths {
    /// Paths of `event_type`.
    pub event_type: Vec<FieldPath>,
    /// Paths of `timestamp`.
    pub timestamp: Vec<FieldPath>,
    /// Paths of the service.
    pub service: Vec<FieldPath>,
    /// Paths of the client's address.
    pub ip: Vec<FieldPath>,
    /// Paths of the user agent.
    pub user_agent: Vec<FieldPath>,
}

impl Default for FieldPaths {
    fn default() -> Self {
        let paths = |dotted: &[&str]| -> Vec<FieldPath> {
            dotted.iter().map(|path| path.split('.').map(str::to_owned).collect()).collect()
        };
        Self {
            event_type: paths(&["event_type"]),
            timestamp: paths(&["timestamp"]),
            service: paths(&["service_name", "payload.service_name"]),
            ip: paths(&["ip", "payload.ip"]),
            user_agent: paths(&["user_agent", "payload.user_agent"]),
        }
    }
}

/// Why a record is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The value is not UTF-8.
    InvalidUtf8,
    /// The value is not JSON.
    InvalidJson,
    /// The value is JSON, but not an object.
    NotAnObject,
    /// The value is larger than [`MAX_EVENT_BYTES`].
    TooLarge,
    /// No event type.
    MissingEventType,
    /// A field is there but cannot be used.
    InvalidField,
    /// The event was processed alone and failed again.
    ProcessingFailed,
    /// The enriched event does not fit the output topic.
    OutputTooLarge,
    /// The output topic refuses the record for good: its timestamp, or that it has no key.
    RefusedByTopic,
    /// The destination of a sink refuses the record for good.
    SinkRejected,
}

impl Reason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; 10] = [
        Self::InvalidUtf8,
        Self::InvalidJson,
        Self::NotAnObject,
        Self::TooLarge,
        Self::MissingEventType,
        Self::InvalidField,
        Self::ProcessingFailed,
        Self::OutputTooLarge,
        Self::RefusedByTopic,
        Self::SinkRejected,
    ];

    /// The name in headers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::TooLarge => "too_large",
            Self::MissingEventType => "missing_event_type",
            Self::InvalidField => "invalid_field",
            Self::ProcessingFailed => "processing_failed",
            Self::OutputTooLarge => "output_too_large",
            Self::RefusedByTopic => "refused_by_topic",
            Self::SinkRejected => "sink_rejected",
        }
    }
}

/// An event that cannot be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The kind of the problem.
    pub reason: Reason,
    /// What is wrong and where, at most [`MAX_DETAIL_BYTES`].
    pub detail: String,
}

impl Rejection {
    fn new(reason: Reason, mut detail: String) -> Self {
        detail.truncate(cut(&detail, MAX_DETAIL_BYTES).len());
        Self { reason, detail }
    }
}

/// The fields of an event that decide what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    /// Its type.
    pub event_type: Cow<'a, str>,
    /// Event time, if the event names one.
    pub timestamp: Option<TimestampMs>,
    /// The service, at most [`MAX_SERVICE_BYTES`]; [`UNKNOWN_SERVICE`] if the event names none.
    pub service: Cow<'a, str>,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The client's user agent.
    pub user_agent: Option<Cow<'a, str>>,
    /// The top-level `user_id`, if it is a string.
    pub user_id: Option<Cow<'a, str>>,
    /// Where `geo` belongs.
    pub geo: GeoSlot,
}

/// Where in the bytes of an event the value of `geo` is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeoSlot {
    /// The event has no top-level `geo`: it becomes the last member.
    Append {
        /// Position of the object's closing brace.
        at: u32,
    },
    /// Spans of the values that the event has, ascending.
    Replace(Vec<Range<u32>>),
}
