//! The pipeline as the daemon sees it: what it is made of, how to stop it, how it ended.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorRef, SpawnErr};
use tidegate_core::{TimestampMs, alert::Phase, window::OpenWindow};
use tidegate_log::Log;
use tidegate_state::StateDir;
use tidegate_telemetry::{Journal, Metrics, Status, Traces};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

use crate::{
    geo_source::GeoSource, messages::SupervisorMsg, roster::ActorView, settings::PipelineSettings,
    supervisor::Supervisor,
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

/// An alert that is visible to consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedAlert {
    /// The record's value: JSON on one line, see [`tidegate_core::alert::render`].
    pub value: Box<[u8]>,
    /// When it was raised.
    pub phase: Phase,
    /// Kafka timestamp of the event that crossed; `None` for a `closed` alert.
    pub appended_at: Option<TimestampMs>,
    /// Wall clock when its commit returned.
    pub committed_at: TimestampMs,
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

    /// A handle to look at it.
    #[must_use]
    pub fn view(&self) -> PipelineView {
        PipelineView(self.supervisor.clone())
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> Ending {
        (&mut self.ended).await.unwrap_or_else(|_| Ending::Failed("the supervisor is gone".into()))
    }
}

/// Looks at the pipeline. What is asked costs the pipeline a message, so nobody should ask in a loop without a pause.
#[derive(Debug, Clone)]
pub struct PipelineView(ActorRef<SupervisorMsg>);

/// Open windows, as people see them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenWindows {
    /// How many there are.
    pub open: usize,
    /// The fullest of them, the fullest first.
    pub hottest: Vec<OpenWindow>,
}

/// How long an answer may take; who looks is told what has come by then.
const ANSWER: Duration = Duration::from_millis(500);

/// Window actors that can answer before the first answer is looked at.
const MAX_ANSWERS: usize = 256;

impl PipelineView {
    /// All actors; none if the pipeline has no time to answer, or has ended.
    pub async fn actors(&self) -> Option<Vec<ActorView>> {
        let (reply, answer) = oneshot::channel();
        self.0.cast(SupervisorMsg::Actors(reply)).ok()?;
        timeout_at(Instant::now() + ANSWER, answer).await.ok()?.ok()
    }

    /// The open windows, of which at most `limit` are told in full.
    pub async fn windows(&self, limit: usize) -> OpenWindows {
        let (reply, mut answers) = mpsc::channel(MAX_ANSWERS);
        let mut all = OpenWindows::default();
        let _ = self.0.cast(SupervisorMsg::Report { limit, reply });
        let deadline = Instant::now() + ANSWER;
        // the channel closes when all have answered
        while let Ok(Some(report)) = timeout_at(deadline, answers.recv()).await {
            all.open += report.open;
            all.hottest.extend(report.hottest);
        }
        all.hottest.sort_by(|a, b| {
            b.fill_ppm().cmp(&a.fill_ppm()).then_with(|| (b.start, &a.service).cmp(&(a.start, &b.service)))
        });
        all.hottest.truncate(limit);
        all
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
