//! Metrics, logs, traces and the daemon's status: instruments as typed handles, names in one place.
//!
//! Nothing here can hold the pipeline up: handles are atomics that the pipeline adds to once per batch or
//! epoch, and whatever reads them (a Prometheus scrape) does so on its own time.

mod cells;
mod error;
mod families;
mod journal;
mod labels;
pub mod logs;

mod metrics;
mod names;
mod otlp;
pub mod process;
mod samples;
mod sinks;
mod stage;
mod status;
mod traces;

pub use cells::{Counter, Gauge, Histogram, Level};
pub use error::TelemetryError;
pub use journal::{AlertEntry, CheckpointEntry, Journal, PartitionEntry};
pub use labels::{CheckpointPhase, Labels, Signal, Stage};
pub use metrics::Metrics;
pub use otlp::{Dropped, Otlp, OtlpSettings};
pub use samples::DeadLetterSample;
pub use sinks::{SinkMeter, SinkState};
pub use stage::StageMeter;
pub use status::{Phase, Status};
pub use traces::{
    AlertNames, MAX_LINKS, Parent, Place, ProducerHeaders, Span, TraceContext, TraceNames, Traces,
};
