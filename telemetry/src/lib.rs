//! Metrics, logs and the daemon's status: instruments as typed handles, names in one place.
//!
//! Nothing here can hold the pipeline up: handles are atomics that the pipeline adds to once per batch or
//! epoch, and whatever reads them (a Prometheus scrape) does so on its own time.

mod cells;
mod error;
mod families;
mod labels;
pub mod logs;

mod metrics;
mod names;
mod process;
mod stage;
mod status;

pub use cells::{Counter, Gauge, Histogram, Level};
pub use error::TelemetryError;
pub use labels::{ActorKind, AlertPhase, CheckpointPhase, Labels, Stage};
pub use metrics::Metrics;
pub use stage::StageMeter;
pub use status::{Phase, Status};
