//! The pipeline as the daemon sees it: how to start, stop and look at it.

use std::{pin::Pin, time::Duration};

use ractor::{Actor, ActorRef, SpawnErr};
use tidegate_core::window::OpenWindow;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    parts::{Ending, Parts},
    pipeline::{Supervisor, SupervisorMsg},
    root::{Child, OnFailure, Root, RootMsg, Start},
    roster::ActorView,
    sinks::Sinks,
};

/// Asks the pipeline to stop, and tells how it ended.
pub struct PipelineHandle {
    supervisor: ActorRef<SupervisorMsg>,
    ended: oneshot::Receiver<Ending>,
    /// Told why, if the supervisor itself failed.
    has_failed: oneshot::Receiver<String>,
}

impl PipelineHandle {
    /// Stops reading, commits what is in flight, and ends.
    pub fn shut_down(&self) {
        // If it is gone, it has ended.
        let _ = self.supervisor.cast(SupervisorMsg::Shutdown);
    }

    /// A handle to look at it.
    #[must_use]
    pub fn view(&self) -> PipelineView {
        PipelineView(self.supervisor.clone())
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> Ending {
        if let Ok(ending) = (&mut self.ended).await {
            return ending;
        }
        let cause = (&mut self.has_failed).await;
        Ending::Failed(cause.unwrap_or_else(|_| "the supervisor is gone".into()))
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
        // The channel closes when all have answered.
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

/// What runs: a pipeline, sinks, or both.
pub struct Running {
    /// The pipeline, if there is one.
    pub pipeline: Option<PipelineHandle>,
    /// The sinks, of which there may be none.
    pub sinks: SinksHandle,
}

/// Asks the sinks to end.
#[derive(Debug, Clone)]
pub struct SinksHandle(ActorRef<RootMsg>);

impl SinksHandle {
    /// Has the sinks deliver what is on its way and keep their positions, and waits for that.
    pub async fn shut_down(&self) {
        let (stopped, has_stopped) = oneshot::channel();
        if self.0.cast(RootMsg::StopChildren(stopped)).is_ok() {
            // An error means that the root is gone, and they with it.
            let _ = has_stopped.await;
        }
    }
}

/// Starts the tree. A pipeline recovers, runs, and recovers again until it is shut down or cannot go on. Sinks fail and
/// are started again alone.
///
/// # Errors
/// [`SpawnErr`] if the actors that supervise cannot be spawned.
// Boxed, or all actors would be compiled where it is awaited, with what that crate is optimised for.
pub fn start(
    pipeline: Option<Parts>,
    sinks: Sinks,
) -> Pin<Box<dyn Future<Output = Result<Running, SpawnErr>> + Send>> {
    Box::pin(async move {
        let (failed, has_failed) = oneshot::channel();
        let mut children = sinks.into_children();
        let Some(parts) = pipeline else {
            let (root, _) = Actor::spawn(None, Root, (children, failed)).await?;
            return Ok(Running { pipeline: None, sinks: SinksHandle(root) });
        };
        let (ending, ended) = oneshot::channel();
        let (tell, spawned) = oneshot::channel();
        let start = once(parts, ending, tell);
        let pipeline =
            Child { name: "pipeline".into(), start, on_failure: OnFailure::End, stop: None, given_up: None };
        children.insert(0, pipeline);
        let (root, _) = Actor::spawn(None, Root, (children, failed)).await?;
        match spawned.await {
            Ok(supervisor) => {
                let pipeline = Some(PipelineHandle { supervisor, ended, has_failed });
                Ok(Running { pipeline, sinks: SinksHandle(root) })
            }
            Err(_) => Err(SpawnErr::StartupFailed(has_failed.await.unwrap_or_default().into())),
        }
    })
}

/// Starts the pipeline's supervisor, and tells who it is.
fn once(
    parts: Parts,
    ending: oneshot::Sender<Ending>,
    tell: oneshot::Sender<ActorRef<SupervisorMsg>>,
) -> Start {
    let mut once = Some((parts, ending, tell));
    Box::new(move |root| {
        let taken = once.take();
        Box::pin(async move {
            let Some((parts, ending, tell)) = taken else { return Err(SpawnErr::ActorAlreadyStarted) };
            let (supervisor, _) = Actor::spawn_linked(None, Supervisor, (parts, ending), root).await?;
            let cell = supervisor.get_cell();
            // If nobody waits, the process is ending already.
            let _ = tell.send(supervisor);
            Ok(cell)
        })
    })
}
