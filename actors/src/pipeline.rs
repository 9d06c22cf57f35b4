//! The pipeline as the daemon sees it: what it is made of, how to stop it, how it ended.

use std::sync::Arc;

use ractor::{Actor, ActorRef, SpawnErr};
use tidegate_log::Log;
use tidegate_state::StateDir;
use tidegate_telemetry::{Metrics, Status};
use tokio::sync::{oneshot, watch};

use crate::{
    geo_source::GeoSource, messages::SupervisorMsg, settings::PipelineSettings, supervisor::Supervisor,
};

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
    /// Where the status is shown.
    pub status: watch::Sender<Status>,
    /// A number that no other process has.
    pub owner: u64,
}

/// Why the pipeline ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to, and all that was in flight is committed.
    Clean,
    /// It was asked to before anything was in flight.
    Unstarted,
    /// Topics are missing.
    TopicsMissing(String),
    /// The configuration cannot work.
    Misconfigured(String),
    /// It cannot go on.
    Failed(String),
}

/// Asks the pipeline to stop, and tells how it ended.
pub struct PipelineHandle {
    supervisor: ActorRef<SupervisorMsg>,
    ended: oneshot::Receiver<Ending>,
}

impl PipelineHandle {
    /// Stops reading, commits what is in flight, and ends.
    pub fn shut_down(&self) {
        // if it is gone, it has ended
        let _ = self.supervisor.cast(SupervisorMsg::Shutdown);
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> Ending {
        (&mut self.ended).await.unwrap_or_else(|_| Ending::Failed("the supervisor is gone".into()))
    }
}

/// Starts the pipeline: it recovers, runs, and recovers again until it is shut down or cannot go on.
///
/// # Errors
/// If the supervisor cannot be spawned.
pub async fn start(parts: Parts) -> Result<PipelineHandle, SpawnErr> {
    let (ending, ended) = oneshot::channel();
    let (supervisor, _) = Actor::spawn(None, Supervisor, (parts, ending)).await?;
    Ok(PipelineHandle { supervisor, ended })
}
