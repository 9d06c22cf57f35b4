//! What a pipeline is made of, and what comes out of it.

use std::sync::Arc;

use tidegate_actors::{CommittedAlert, GeoSource, PipelineSettings};
use tidegate_log::Log;
use tidegate_state::StateDir;
use tidegate_telemetry::{Journal, Metrics, Status, Traces};
use tokio::sync::{broadcast, watch};

/// What the pipeline is made of.
pub struct Parts {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The state directory, locked.
    pub state_dir: StateDir,
    /// Settings.
    pub settings: Arc<PipelineSettings>,
    /// Geo databases.
    pub geo: GeoSource,
    /// Metrics.
    pub metrics: Metrics,
    /// Where the last epochs are remembered.
    pub journal: Journal,
    /// Where spans are made.
    pub traces: Traces,
    /// Where the status is shown.
    pub status: watch::Sender<Status>,
    /// Where alerts are told of once they are committed; a receiver that is slow misses some. Without
    /// receivers it costs nothing.
    pub alerts: broadcast::Sender<Arc<CommittedAlert>>,
    /// A number that no other process has.
    pub owner: u64,
    /// End once all that is in the input as of the start is processed.
    pub until_end: bool,
}

/// Why the pipeline ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to, and all that was in flight is committed.
    Clean,
    /// It was to end by itself, and all that was in the input as of the start is committed.
    EndReached,
    /// It was asked to before anything was in flight.
    Unstarted,
    /// Topics are missing.
    TopicsMissing(String),
    /// The configuration cannot work.
    Misconfigured(String),
    /// It cannot go on.
    Failed(String),
}
