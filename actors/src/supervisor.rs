//! The root of the supervision tree: one generation at a time, from recovery to its end.
//!
//! ```text
//! recovering ──plan──▶ running ──failure──▶ recovering (after a pause that grows with failures in a row)
//!     │                   │ shutdown
//!     └──▶ ended ◀── draining
//! ```
//! What a failure leads to is decided by [`tidegate_supervision::respond`].

mod messages;
mod outcome;
mod refusal;
mod watch;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tidegate_core::{Epoch, Generation, NextOffset};
use tidegate_log::{LogError, Topic};
use tidegate_supervision::{Backoff, Failure, Obstacle, Part, Response, RestartBudget, Rollback, respond};
use tidegate_telemetry::{ActorKind, Phase, Status};
use tokio::sync::oneshot;

pub(crate) use self::messages::SupervisorMsg;
use self::outcome::{classify, ending};
use crate::{
    clock::Clock,
    clock_sample,
    events::PipelineEvent,
    generation::{Live, Role, Shared},
    handover::{Ended, run_recovery},
    messages::BarrierMsg,
    parts::{Ending, Parts},
    recovery::{OwnerSeen, Plan, Recovery, RecoveryError, Remains},
    roster::{ActorState, ActorView, Roster, actor_kind},
    store::{LocalCopy, Unapplied},
    until_end::UntilEnd,
};

/// Pause after the first and the following failures in a row; a short recovery needs none.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The supervisor actor.
pub(crate) struct Supervisor;

/// What the supervisor is doing.
enum Stage {
    /// A recovery task is under way.
    Recovering,
    Running(Box<Live>),
    /// Shutting down, waiting for the last commit.
    Draining(Box<Live>),
    Ended,
}

pub(crate) struct SupervisorState {
    myself: ActorRef<SupervisorMsg>,
    shared: Shared,
    recovery: Recovery,
    stage: Stage,
    generation: Generation,
    budget: RestartBudget,
    backoff: Backoff,
    /// What failed last and is not done yet.
    obstacle: Option<Obstacle>,
    /// Why a topic refused records, and whether it is known which, until the generation ends of it.
    refusal: Option<(String, bool)>,
    status: tokio::sync::watch::Sender<Status>,
    ending: Option<oneshot::Sender<Ending>>,
    used: Epoch,
    was_owner: bool,
    began_at: Option<Vec<NextOffset>>,
    roster: Roster,
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
        let Parts {
            log,
            state_dir,
            settings,
            geo,
            metrics,
            journal,
            traces,
            status,
            alerts,
            owner,
            until_end,
        } = parts;
        let shared = Shared {
            settings,
            log,
            copy: Arc::new(Mutex::new(LocalCopy { dir: state_dir, store: None, stale: false })),
            unapplied: Unapplied::default(),
            geo,
            metrics,
            journal,
            traces,
            alerts,
            clock: Clock::start(),
            owner,
            supervisor: myself.get_cell(),
            events: myself.get_derived(),
            refused: Arc::default(),
            stuck: Arc::default(),
        };
        let recovery = Recovery {
            log: Arc::clone(&shared.log),
            copy: Arc::clone(&shared.copy),
            unapplied: Arc::clone(&shared.unapplied),
            settings: Arc::clone(&shared.settings),
            metrics: shared.metrics.clone(),
            events: shared.events.clone(),
            owner,
            owner_seen: OwnerSeen::default(),
        };
        let budget = RestartBudget::new(shared.settings.max_restarts, shared.settings.restart_window);
        myself.cast(SupervisorMsg::Recover)?;
        myself.send_after(watch::OWNER_EVERY, || SupervisorMsg::WatchOwner);
        myself.send_after(watch::INPUT_EVERY, || SupervisorMsg::WatchInput);
        Ok(SupervisorState {
            myself,
            shared,
            recovery,
            stage: Stage::Recovering,
            generation: Generation::default(),
            budget,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            obstacle: None,
            refusal: None,
            status,
            ending: Some(ending),
            used: Epoch::default(),
            was_owner: false,
            began_at: None,
            roster: Roster::default(),
            until_end: until_end.then(UntilEnd::new),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Recover => state.recover(Duration::ZERO, None, Remains::default()),
            SupervisorMsg::Recovered(result) => state.recovered(*result).await,
            SupervisorMsg::Event(event) => state.take(event).await,
            SupervisorMsg::WatchOwner => state.watch_owner(),
            SupervisorMsg::TakenOver => state.end(ending(RecoveryError::TakenOver)),
            SupervisorMsg::WatchInput => state.watch_input(),
            SupervisorMsg::InputGrew { generation }
                if generation == state.generation && matches!(state.stage, Stage::Running(_)) =>
            {
                state.failed(Failure::InputGrew, None, "the input topic has more partitions".into());
            }
            SupervisorMsg::Shutdown => state.shut_down().await,
            SupervisorMsg::Actors(reply) => {
                // Who asked may have gone.
                let _ = reply.send(state.actors());
            }
            SupervisorMsg::Report { limit, reply } => {
                if let Some(live) = state.live() {
                    live.report(limit, &reply);
                }
            }
            // Of a generation that has ended.
            SupervisorMsg::InputGrew { .. } => {}
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let (who, cause) = match event {
            SupervisionEvent::ActorFailed(who, error) => (who, error.to_string()),
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                (who, reason.unwrap_or_else(|| "it ended by itself".into()))
            }
            _ => return Ok(()),
        };
        state.actor_ended(&who, cause).await;
        Ok(())
    }
}

impl SupervisorState {
    fn live(&self) -> Option<&Live> {
        match &self.stage {
            Stage::Running(live) | Stage::Draining(live) => Some(live),
            Stage::Recovering | Stage::Ended => None,
        }
    }

    /// What a part of a generation reports.
    async fn take(&mut self, event: PipelineEvent) {
        match event {
            PipelineEvent::LogFailed { generation, part, error } if generation == self.generation => {
                let failure = classify(&error);
                self.note_refusal(&error);
                self.failed(failure, Some(only(part)), error.to_string());
            }
            PipelineEvent::ThreadPanicked { generation, part, cause } if generation == self.generation => {
                self.failed(Failure::Crashed(part), Some(only(part)), format!("{part} panicked: {cause}"));
            }
            PipelineEvent::WriterHung { generation } if generation == self.generation => {
                let cause = "a commit did not come back".into();
                self.failed(Failure::WriterHung, Some(only(Part::Committer)), cause);
            }
            PipelineEvent::BatchBlamed { partition } => {
                self.spend(format!("a worker crashed on a batch of partition {partition}"));
            }
            PipelineEvent::Progress { epoch, committed } => {
                self.progress(epoch, committed);
                self.stop_at_end().await;
            }
            PipelineEvent::Drained => self.drained().await,
            // Of a generation that has ended.
            PipelineEvent::LogFailed { .. }
            | PipelineEvent::ThreadPanicked { .. }
            | PipelineEvent::WriterHung { .. } => {}
        }
    }

    fn set_phase(&self, phase: Phase, reason: Option<String>) {
        let generation = self.generation;
        self.status.send_modify(|status| {
            status.phase = phase;
            status.reason = reason;
            status.generation = generation;
        });
    }

    /// An actor of ours ended. One of an older generation, or one that is being ended, is no news.
    async fn actor_ended(&mut self, who: &ActorCell, cause: String) {
        let Some(role) = self.live().and_then(|live| live.role(who.get_id())) else { return };
        let Role { part, index } = role;
        let cause = format!("{part} {index} failed: {cause}");
        if respond(Failure::Crashed(part)) != Response::ReplaceWorker {
            return self.failed(Failure::Crashed(part), Some(role), cause);
        }
        tracing::error!(cause, "worker replaced");
        self.note_failure(role, &cause);
        let (Stage::Running(live) | Stage::Draining(live)) = &mut self.stage else { return };
        if let Err(error) = live.replace_worker(who.get_id(), role).await {
            self.failed(Failure::Lasting, Some(role), format!("cannot replace {part} {index}: {error}"));
        }
    }

    fn note_failure(&mut self, Role { part, index }: Role, cause: &str) {
        let kind = actor_kind(part);
        self.shared.metrics.restarts(kind).add(1);
        self.roster.failed((kind, index), self.shared.clock.now(), cause);
    }

    /// All actors, for somebody who looks.
    fn actors(&self) -> Vec<ActorView> {
        let running: HashSet<_> = match &self.stage {
            Stage::Running(live) | Stage::Draining(live) => live.roles().map(named).collect(),
            Stage::Recovering | Stage::Ended => HashSet::new(),
        };
        let gone =
            if matches!(self.stage, Stage::Ended) { ActorState::Stopped } else { ActorState::Restarting };
        self.roster
            .view(|kind, index| if running.contains(&(kind, index)) { ActorState::Running } else { gone })
    }

    /// Carries out the policy.
    fn failed(&mut self, failure: Failure, role: Option<Role>, cause: String) {
        if matches!(self.stage, Stage::Recovering | Stage::Ended) {
            return;
        }
        let response = respond(failure);
        if failure == Failure::InputGrew {
            tracing::info!(cause, "starting anew");
        } else {
            tracing::error!(cause, ?response, generation = %self.generation, "pipeline failed");
        }
        if let Some(role) = role {
            self.note_failure(role, &cause);
        }
        if let Stage::Draining(live) = &self.stage {
            let ending = if self.is_at_end(live) {
                // All that was to be done is committed.
                Ending::EndReached
            } else {
                Ending::Failed(format!("{cause}; what was in flight will be read again"))
            };
            return self.end(ending);
        }
        match response {
            Response::Exit | Response::ReplaceWorker => self.end(Ending::Failed(cause)),
            Response::NewGeneration { rollback, spends } => {
                if !spends || self.spend(cause.clone()) {
                    self.new_generation(rollback, false, cause, failure);
                }
            }
            Response::CheckOwner => {
                if self.spend(cause.clone()) {
                    self.new_generation(Rollback::Full, true, cause, failure);
                }
            }
        }
    }

    /// Spends one restart; if that is one too many, the pipeline ends.
    fn spend(&mut self, cause: String) -> bool {
        match self.budget.spend(Instant::now(), cause) {
            Ok(()) => true,
            Err(exhausted) => {
                self.end(Ending::Failed(exhausted.to_string()));
                false
            }
        }
    }

    fn new_generation(&mut self, rollback: Rollback, fenced: bool, cause: String, failure: Failure) {
        let (Stage::Running(live) | Stage::Draining(live)) =
            std::mem::replace(&mut self.stage, Stage::Recovering)
        else {
            return;
        };
        self.set_phase(Phase::Recovering, Some(cause));
        if rollback == Rollback::Full {
            self.meet_obstacle(&live);
        }
        let reader_lost = failure == Failure::Crashed(Part::Reader);
        let pause = if rollback == Rollback::Short { Duration::ZERO } else { self.backoff.wait() };
        self.recover(pause, Some(Ended { live, rollback, reader_lost }), self.remains(fenced));
    }

    fn remains(&self, fenced: bool) -> Remains {
        let Self { used, was_owner, .. } = *self;
        Remains { used, was_owner, fenced, began_at: self.began_at.clone() }
    }

    /// Runs a recovery in the background; its result comes back as a message.
    fn recover(&mut self, pause: Duration, ended: Option<Ended>, remains: Remains) {
        self.stage = Stage::Recovering;
        let recovery = self.recovery.clone();
        let supervisor = self.myself.clone();
        // Commands of the ended generation do not count from here on.
        let next = self.generation.next();
        tokio::spawn(async move {
            let result = run_recovery(recovery, pause, ended, remains, next).await;
            let _ = supervisor.cast(SupervisorMsg::Recovered(Box::new(result)));
        });
    }

    async fn recovered(&mut self, result: Result<Plan, RecoveryError>) {
        if matches!(self.stage, Stage::Ended) {
            return;
        }
        let plan = match result {
            Ok(plan) => plan,
            Err(RecoveryError::Log(error))
                if error.is_transient() || matches!(error, LogError::Fenced(_)) =>
            {
                return self.retry(error);
            }
            Err(error) => return self.end(ending(error)),
        };
        self.generation = self.generation.next();
        self.used = self.used.max(plan.epoch);
        let state_limits = plan.topics[Topic::State as usize].limits;
        self.shared.clock.expect(plan.announce && state_limits.appends_time);
        self.began_at = Some(plan.positions.clone());
        let until_end = self.until_end.as_mut();
        let ends = until_end.map(|until_end| until_end.ends(&plan.ends, plan.positions.len()));
        match Live::spawn(&self.shared, self.generation, plan, ends).await {
            Ok(live) => {
                self.roster.expect(live.roles().map(named));
                self.stage = Stage::Running(Box::new(live));
                match self.obstacle.as_ref().and_then(Obstacle::refusal) {
                    Some(reason) => self.set_phase(Phase::Recovering, Some(reason.to_owned())),
                    None => self.set_phase(Phase::Running, None),
                }
                tracing::info!(generation = %self.generation, "pipeline running");
            }
            Err(error) => self.end(Ending::Failed(format!("cannot spawn the pipeline's actors: {error}"))),
        }
    }

    /// The log does not answer: try again later, for as long as it takes.
    fn retry(&mut self, error: LogError) {
        let pause = self.backoff.wait();
        tracing::warn!(%error, retry_in = ?pause, "cannot recover yet");
        let phase = if self.was_owner { Phase::Recovering } else { Phase::Connecting };
        self.set_phase(phase, Some(error.to_string()));
        self.recover(pause, None, self.remains(matches!(error, LogError::Fenced(_))));
    }

    fn progress(&mut self, epoch: Epoch, committed: bool) {
        // The next one may be cut already.
        self.used = self.used.max(epoch.next());
        if let Stage::Running(live) | Stage::Draining(live) = &mut self.stage
            && std::mem::take(&mut live.announce)
            && committed
        {
            clock_sample::take(&self.recovery, &self.shared.clock, live.topics[Topic::State as usize].limits);
        }
        self.look_at_obstacle();
        if committed {
            // The first commit of a process names it as the owner.
            self.was_owner = true;
            self.status.send_modify(|status| status.epoch = epoch);
        }
    }

    async fn shut_down(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Running(live) => {
                self.set_phase(Phase::Draining, None);
                live.reader.halt().await;
                let _ = live.barrier.cast(BarrierMsg::Drain);
                self.stage = Stage::Draining(live);
            }
            Stage::Recovering => {
                // Nothing is in flight, and a recovery that hangs must not hold up the end.
                self.end(Ending::Unstarted);
            }
            stage => self.stage = stage,
        }
    }

    /// A run until the end shuts itself down when it is there.
    async fn stop_at_end(&mut self) {
        let (Some(until_end), Stage::Running(live)) = (&mut self.until_end, &self.stage) else { return };
        if until_end.is_reached(&live.positions) {
            tracing::info!("the end of the input as of the start is reached");
            self.shut_down().await;
        } else {
            until_end.tell(&live.positions);
        }
    }

    async fn drained(&mut self) {
        if let Stage::Draining(live) = std::mem::replace(&mut self.stage, Stage::Ended) {
            live.end().await;
            self.end(if self.is_at_end(&live) { Ending::EndReached } else { Ending::Clean });
        }
    }

    fn is_at_end(&self, live: &Live) -> bool {
        self.until_end.as_ref().is_some_and(|until_end| until_end.is_reached(&live.positions))
    }

    fn end(&mut self, ending: Ending) {
        self.stage = Stage::Ended;
        self.set_phase(Phase::Stopped, None);
        if let Some(tell) = self.ending.take() {
            // Nobody waits any more: the process is ending anyway.
            let _ = tell.send(ending);
        }
    }
}

/// The one actor of its kind.
fn only(part: Part) -> Role {
    Role { part, index: 0 }
}

fn named(Role { part, index }: Role) -> (ActorKind, usize) {
    (actor_kind(part), index)
}
