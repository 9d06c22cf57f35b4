//! The supervisor of a pipeline: one generation at a time, from recovery to its end.
//!
//! What follows from what is decided by [`Lifecycle`]; here it is carried out.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tidegate_actors::{BarrierMsg, Keeper, PipelineEvent};
use tidegate_core::{
    Epoch, Generation,
    supervision::{Backoff, Lifecycle, LifecycleState, Obstacle, RestartBudget, Step},
};
use tidegate_host::Clock;
use tidegate_log::{LogError, Topic};
use tidegate_telemetry::{Metrics, Phase, Status};
use tokio::sync::oneshot;

use super::{
    clock_sample,
    error::RecoveryError,
    generation::{Live, Shared, named},
    handover::{Before, Recovered, run_recovery},
    messages::SupervisorMsg,
    outcome::ending,
    owner::Owner,
    recovery::{Recovery, Remains},
    until_end::UntilEnd,
};
use crate::{
    ended::who_ended,
    parts::{Ending, Parts},
    roster::Roster,
};

/// Pause after the first and the following failures in a row; a short recovery needs none.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The supervisor actor.
pub(crate) struct Supervisor;

pub(crate) struct SupervisorState {
    pub(super) myself: ActorRef<SupervisorMsg>,
    pub(super) shared: Shared,
    pub(super) recovery: Recovery,
    pub(super) lifecycle: Lifecycle,
    /// While running and draining.
    pub(super) live: Option<Box<Live>>,
    pub(super) generation: Generation,
    pub(super) budget: RestartBudget,
    pub(super) backoff: Backoff,
    /// What failed last and is not done yet.
    pub(super) obstacle: Option<Obstacle>,
    /// Why a topic refused records, and whether it is known which, until the generation ends of it.
    pub(super) refusal: Option<(String, bool)>,
    status: tokio::sync::watch::Sender<Status>,
    ending: Option<oneshot::Sender<Ending>>,
    /// What a recovery is told of the time before.
    pub(super) remains: Remains,
    pub(super) roster: Roster,
    /// This run ends by itself.
    until_end: Option<UntilEnd>,
}

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = (Parts, oneshot::Sender<Ending>);

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        (parts, ending): Self::Arguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        myself.cast(SupervisorMsg::Recover)?;
        myself.cast(SupervisorMsg::WatchOwner)?;
        myself.cast(SupervisorMsg::WatchInput)?;
        Ok(SupervisorState::new(myself, parts, ending))
    }

    async fn handle(
        &self,
        _myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Recover => {
                let keeper = Keeper::new(state.shared.state_dir.clone());
                state.recover(Duration::ZERO, Before::Store(keeper.into()), false);
            }
            SupervisorMsg::Recovered(recovered) => state.recovered(*recovered).await,
            SupervisorMsg::Event(event) => state.take(event).await,
            SupervisorMsg::WatchOwner => state.watch_owner(),
            SupervisorMsg::TakenOver => state.give_up(ending(RecoveryError::TakenOver)),
            SupervisorMsg::WatchInput => state.watch_input(),
            SupervisorMsg::InputGrew { generation } if generation == state.generation => state.outdated(),
            // Of a generation that has ended.
            SupervisorMsg::InputGrew { .. } => {}
            SupervisorMsg::Shutdown => state.shut_down().await,
            SupervisorMsg::Closed(ending) => state.end(ending),
            SupervisorMsg::Actors(reply) => {
                // Who asked may have gone.
                let _ = reply.send(state.actors());
            }
            SupervisorMsg::Report { limit, reply } => {
                if let Some(live) = &state.live {
                    live.report(limit, &reply);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let Some((who, cause)) = who_ended(event) else { return Ok(()) };
        state.actor_ended(&who, cause).await;
        Ok(())
    }
}

impl SupervisorState {
    fn new(myself: ActorRef<SupervisorMsg>, parts: Parts, ending: oneshot::Sender<Ending>) -> Self {
        let events = myself.get_derived();
        let settings = Arc::clone(&parts.settings);
        let recovery = Recovery {
            log: Arc::clone(&parts.log),
            settings: Arc::clone(&settings),
            metrics: parts.metrics.clone(),
            events: events.clone(),
            owner: Owner {
                log: Arc::clone(&parts.log),
                nonce: parts.owner,
                key_groups: settings.key_groups,
                seen: Arc::new(Mutex::default()),
            },
        };
        let shared = Shared {
            settings: parts.settings,
            log: parts.log,
            state_dir: parts.state_dir,
            geo: parts.geo,
            metrics: parts.metrics,
            journal: parts.journal,
            traces: parts.traces,
            alerts: parts.alerts,
            clock: Clock::start(),
            owner: parts.owner,
            supervisor: myself.get_cell(),
            events,
            refused: Arc::default(),
            stuck: Arc::default(),
        };
        Self {
            myself,
            shared,
            recovery,
            lifecycle: Lifecycle::default(),
            live: None,
            generation: Generation::default(),
            budget: RestartBudget::new(settings.max_restarts, settings.restart_window),
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            obstacle: None,
            refusal: None,
            status: parts.status,
            ending: Some(ending),
            remains: Remains::default(),
            roster: Roster::default(),
            until_end: parts.until_end.then(UntilEnd::new),
        }
    }

    /// What a part of a generation reports.
    async fn take(&mut self, event: PipelineEvent) {
        match event {
            PipelineEvent::Progress { epoch, committed } => {
                self.progress(epoch, committed);
                self.stop_at_end().await;
            }
            PipelineEvent::Drained => self.drained(),
            failure => self.part_failed(failure),
        }
    }

    pub(super) fn set_phase(&self, phase: Phase, reason: Option<String>) {
        let generation = self.generation;
        self.status.send_modify(|status| {
            status.phase = phase;
            status.reason = reason;
            status.generation = generation;
        });
    }

    /// Runs a recovery in the background; its result comes back as a message.
    pub(super) fn recover(&mut self, pause: Duration, before: Before, fenced: bool) {
        let recovery = self.recovery.clone();
        let supervisor = self.myself.clone();
        let remains = Remains { fenced, ..self.remains.clone() };
        // Commands of the ended generation do not count from here on.
        let next = self.generation.next();
        let dir = self.shared.state_dir.clone();
        tokio::spawn(async move {
            let recovered = run_recovery(recovery, pause, before, remains, next, dir).await;
            let _ = supervisor.cast(SupervisorMsg::Recovered(Box::new(recovered)));
        });
    }

    async fn recovered(&mut self, Recovered { result, keeper }: Recovered) {
        let plan = match result {
            Ok(plan) => plan,
            Err(error) => return self.not_recovered(error, keeper),
        };
        if self.lifecycle.recovered() != Step::Start {
            return;
        }
        self.generation = self.generation.next();
        self.remains.used = self.remains.used.max(plan.epoch);
        let state_limits = plan.topics[Topic::State as usize].limits;
        self.shared.clock.expect(plan.announce && state_limits.appends_time);
        self.remains.began_at = Some(plan.positions.clone());
        let until_end = self.until_end.as_mut();
        let found = plan.ends.as_deref().unwrap_or_default();
        let ends = until_end.map(|until_end| until_end.ends(found, plan.positions.len()));
        match Live::spawn(&self.shared, self.generation, plan, keeper, ends).await {
            Ok(live) => {
                self.roster.expect(live.roles().map(named));
                self.live = Some(Box::new(live));
                match self.obstacle.as_ref().and_then(Obstacle::refusal) {
                    Some(reason) => self.set_phase(Phase::Recovering, Some(reason.to_owned())),
                    None => self.set_phase(Phase::Running, None),
                }
                tracing::info!(generation = %self.generation, "pipeline running");
            }
            Err(error) => {
                self.give_up(Ending::Failed(format!("cannot spawn the pipeline's actors: {error}")));
            }
        }
    }

    /// The log does not answer: try again later, for as long as it takes. Other errors last.
    fn not_recovered(&mut self, error: RecoveryError, keeper: Keeper) {
        let passing = match &error {
            RecoveryError::Log(error) if error.is_transient() => Some(false),
            RecoveryError::Log(LogError::Fenced(_)) => Some(true),
            _ => None,
        };
        match (self.lifecycle.not_recovered(passing.is_some()), passing) {
            (Step::RecoverLater, Some(fenced)) => {
                let pause = self.backoff.wait();
                tracing::warn!(%error, retry_in = ?pause, "cannot recover yet");
                let phase = if self.remains.was_owner { Phase::Recovering } else { Phase::Connecting };
                self.set_phase(phase, Some(error.to_string()));
                self.recover(pause, Before::Store(keeper.into()), fenced);
            }
            (Step::Fail, _) => self.end(ending(error)),
            _ => {}
        }
    }

    fn progress(&mut self, epoch: Epoch, committed: bool) {
        // The next one may be cut already.
        self.remains.used = self.remains.used.max(epoch.next());
        if let Some(live) = &mut self.live
            && std::mem::take(&mut live.announce)
            && committed
        {
            let limits = live.topics[Topic::State as usize].limits;
            clock_sample::take(&self.recovery.owner, &self.shared.clock, limits);
        }
        self.look_at_obstacle();
        if committed {
            // The first commit of a process names it as the owner.
            self.remains.was_owner = true;
            self.status.send_modify(|status| status.epoch = epoch);
        }
    }

    async fn shut_down(&mut self) {
        match self.lifecycle.shut_down() {
            Step::Drain => {
                self.set_phase(Phase::Draining, None);
                if let Some(live) = &self.live {
                    live.reader.halt().await;
                    let _ = live.barrier.cast(BarrierMsg::Drain);
                }
            }
            Step::FinishUnstarted => self.end(Ending::Unstarted),
            _ => {}
        }
    }

    /// A run until the end shuts itself down when it is there.
    async fn stop_at_end(&mut self) {
        let (Some(until_end), LifecycleState::Running, Some(live)) =
            (&mut self.until_end, self.lifecycle.state(), &self.live)
        else {
            return;
        };
        if until_end.is_reached(&live.positions) {
            tracing::info!("the end of the input as of the start is reached");
            self.shut_down().await;
        } else {
            until_end.tell(&live.positions);
        }
    }

    fn drained(&mut self) {
        if self.lifecycle.drained() != Step::Finish {
            return;
        }
        let ending = if self.is_at_end() { Ending::EndReached } else { Ending::Clean };
        let Some(live) = self.live.take() else { return self.end(ending) };
        let (supervisor, metrics) = (self.myself.clone(), self.shared.metrics.clone());
        tokio::spawn(async move {
            close(live, metrics).await;
            let _ = supervisor.cast(SupervisorMsg::Closed(ending));
        });
    }

    pub(super) fn is_at_end(&self) -> bool {
        let until_end = self.until_end.as_ref().zip(self.live.as_ref());
        until_end.is_some_and(|(until_end, live)| until_end.is_reached(&live.positions))
    }

    /// It cannot go on.
    pub(super) fn give_up(&mut self, ending: Ending) {
        if self.lifecycle.give_up() == Step::Fail {
            self.end(ending);
        }
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.live = None;
        self.set_phase(Phase::Stopped, None);
        if let Some(tell) = self.ending.take() {
            // Nobody waits any more: the process is ending anyway.
            let _ = tell.send(ending);
        }
    }
}

/// Ends a generation of which all is committed, and brings the local store up to that.
async fn close(live: Box<Live>, metrics: Metrics) {
    live.end().await;
    if let Some(mut keeper) = live.inheritance().await {
        // What the store cannot take now, the next process finds in the changelog.
        let _ = tokio::task::spawn_blocking(move || keeper.store(&metrics).epoch()).await;
    }
}
