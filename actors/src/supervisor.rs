//! The root of the supervision tree: one generation at a time, from recovery to its end.
//!
//! ```text
//! recovering ──plan──▶ running ──failure──▶ recovering (after a pause that grows with failures in a row)
//!     │                   │ shutdown
//!     └──▶ ended ◀── draining
//! ```
//! What a failure leads to is decided by [`tidegate_supervision::respond`].

mod refusal;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tidegate_core::{
    Epoch, Generation, NextOffset,
    epoch::Replaced,
    watch::{Noticed, Topics, notice},
};
use tidegate_log::{Log, LogError, Topic, TopicsFacts};
use tidegate_supervision::{Backoff, Failure, Obstacle, Part, Response, RestartBudget, Rollback, respond};
use tidegate_telemetry::{ActorKind, Phase, Status};
use tokio::sync::{oneshot, watch};

use crate::{
    clock::Clock,
    clock_sample,
    generation::{Live, Role, Shared},
    handover::{Ended, run_recovery},
    messages::{BarrierMsg, SupervisorMsg},
    pipeline::{Ending, Parts},
    recovery::{OwnerSeen, Plan, Recovery, RecoveryError, Remains, topic_ids},
    roster::{ActorState, ActorView, Roster},
    store::{LocalCopy, Unapplied},
    until_end::UntilEnd,
};

/// Pause after the first and the following failures in a row; a short recovery needs none.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The supervisor actor.
pub(crate) struct Supervisor;

/// How often to look whether another daemon has taken over, or works for the same group under another id.
const WATCH_OWNER_EVERY: Duration = Duration::from_secs(5);
/// How often to look what became of the topics.
const WATCH_INPUT_EVERY: Duration = Duration::from_secs(10);
const WATCH_TIMEOUT: Duration = Duration::from_secs(5);

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
    status: watch::Sender<Status>,
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
            supervisor: myself.clone(),
            refused: Arc::default(),
            stuck: Arc::default(),
        };
        let recovery = Recovery {
            log: Arc::clone(&shared.log),
            copy: Arc::clone(&shared.copy),
            unapplied: Arc::clone(&shared.unapplied),
            settings: Arc::clone(&shared.settings),
            metrics: shared.metrics.clone(),
            supervisor: myself.clone(),
            owner,
            owner_seen: OwnerSeen::default(),
        };
        let budget = RestartBudget::new(shared.settings.max_restarts, shared.settings.restart_window);
        myself.cast(SupervisorMsg::Recover)?;
        myself.send_after(WATCH_OWNER_EVERY, || SupervisorMsg::WatchOwner);
        myself.send_after(WATCH_INPUT_EVERY, || SupervisorMsg::WatchInput);
        Ok(SupervisorState {
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
        myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Recover => state.recover(Duration::ZERO, None, Remains::default()),
            SupervisorMsg::Recovered(result) => state.recovered(*result).await,
            SupervisorMsg::LogFailed { generation, part, error } if generation == state.generation => {
                let failure = classify(&error);
                state.note_refusal(&error);
                state.failed(failure, Some(only(part)), error.to_string());
            }
            SupervisorMsg::ThreadPanicked { generation, part, cause } if generation == state.generation => {
                state.failed(Failure::Crashed(part), Some(only(part)), format!("{part} panicked: {cause}"));
            }
            SupervisorMsg::WriterHung { generation } if generation == state.generation => {
                let cause = "a commit did not come back".into();
                state.failed(Failure::WriterHung, Some(only(Part::Committer)), cause);
            }
            SupervisorMsg::BatchBlamed { partition } => {
                state.spend(format!("a worker crashed on a batch of partition {partition}"));
            }
            SupervisorMsg::Progress { epoch, committed } => {
                state.progress(epoch, committed);
                state.stop_at_end().await;
            }
            SupervisorMsg::WatchOwner => state.watch_owner(&myself),
            SupervisorMsg::TakenOver => state.end(ending(RecoveryError::TakenOver)),
            SupervisorMsg::WatchInput => state.watch_input(&myself),
            SupervisorMsg::InputGrew { generation }
                if generation == state.generation && matches!(state.stage, Stage::Running(_)) =>
            {
                state.failed(Failure::InputGrew, None, "the input topic has more partitions".into());
            }
            SupervisorMsg::Drained => state.drained().await,
            SupervisorMsg::Shutdown => state.shut_down().await,
            SupervisorMsg::Actors(reply) => {
                // who asked may have gone
                let _ = reply.send(state.actors());
            }
            SupervisorMsg::Report { limit, reply } => {
                if let Some(live) = state.live() {
                    live.report(limit, &reply);
                }
            }
            // of a generation that has ended
            SupervisorMsg::InputGrew { .. }
            | SupervisorMsg::LogFailed { .. }
            | SupervisorMsg::ThreadPanicked { .. }
            | SupervisorMsg::WriterHung { .. } => {}
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
                // all that was to be done is committed
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
        let supervisor = self.shared.supervisor.clone();
        // commands of the ended generation do not count from here on
        let next = self.generation.next();
        tokio::spawn(async move {
            let result = run_recovery(recovery, pause, ended, remains, next).await;
            let _ = supervisor.cast(SupervisorMsg::Recovered(Box::new(result)));
        });
    }

    /// Partitions are assigned by hand, so a new one would never be read without a look; and a topic that is gone, or
    /// another one of the same name, shows to nobody while there is nothing to read.
    fn watch_input(&self, myself: &ActorRef<SupervisorMsg>) {
        if let Stage::Running(live) = &self.stage {
            let (log, myself, generation) = (Arc::clone(&self.shared.log), myself.clone(), self.generation);
            let known = Arc::clone(&live.topics);
            tokio::task::spawn_blocking(move || {
                let message = match look_at_topics(&*log, &known) {
                    Ok(Noticed::InputGrew) => SupervisorMsg::InputGrew { generation },
                    Err(error @ (LogError::TopicsMissing(_) | LogError::TopicReplaced(_))) => {
                        SupervisorMsg::LogFailed { generation, part: Part::Reader, error }
                    }
                    // a log that does not answer is noticed elsewhere
                    Ok(_) | Err(_) => return,
                };
                let _ = myself.cast(message);
            });
        }
        myself.send_after(WATCH_INPUT_EVERY, || SupervisorMsg::WatchInput);
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
        // the next one may be cut already
        self.used = self.used.max(epoch.next());
        if let Stage::Running(live) | Stage::Draining(live) = &mut self.stage
            && std::mem::take(&mut live.announce)
            && committed
        {
            clock_sample::take(&self.recovery, &self.shared.clock, live.topics[Topic::State as usize].limits);
        }
        self.look_at_obstacle();
        if committed {
            // the first commit of a process names it as the owner
            self.was_owner = true;
            self.status.send_modify(|status| status.epoch = epoch);
        }
    }

    /// A writer that is fenced hears of it only when it writes, and one whose group another daemon uses under another
    /// transactional id never does. Each process names itself in the state topic when it begins.
    fn watch_owner(&self, myself: &ActorRef<SupervisorMsg>) {
        if self.was_owner && matches!(self.stage, Stage::Running(_)) {
            let (recovery, myself) = (self.recovery.clone(), myself.clone());
            tokio::task::spawn_blocking(move || {
                if let Err(RecoveryError::TakenOver) = recovery.check_owner(false) {
                    let _ = myself.cast(SupervisorMsg::TakenOver);
                }
            });
        }
        myself.send_after(WATCH_OWNER_EVERY, || SupervisorMsg::WatchOwner);
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
                // nothing is in flight, and a recovery that hangs must not hold up the end
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
            // nobody waits any more: the process is ending anyway
            let _ = tell.send(ending);
        }
    }
}

/// What became of the topics; one that is missing or another one is an error.
fn look_at_topics(log: &dyn Log, known: &TopicsFacts) -> Result<Noticed, LogError> {
    let watched = |topics: &TopicsFacts| Topics {
        ids: topic_ids(topics),
        input_partitions: topics[Topic::Raw as usize].partitions,
    };
    let noticed = notice(watched(known), watched(&log.topics(WATCH_TIMEOUT)?));
    let replaced = match noticed {
        Noticed::Replaced(Replaced::Input) => Topic::Raw,
        Noticed::Replaced(Replaced::State) => Topic::State,
        Noticed::Nothing | Noticed::InputGrew => return Ok(noticed),
    };
    Err(LogError::TopicReplaced(known[replaced as usize].name.clone()))
}

fn classify(error: &LogError) -> Failure {
    match error {
        LogError::Unavailable { .. }
        | LogError::Broken { .. }
        | LogError::Refused(_)
        | LogError::NoSpace(_)
        | LogError::Backlog(_) => Failure::LogUnavailable,
        LogError::Fenced(_) => Failure::Fenced,
        LogError::TopicsMissing(_)
        | LogError::TopicReplaced(_)
        | LogError::Undecided(_)
        | LogError::OffsetOutOfRange { .. }
        | LogError::NotPermitted { .. }
        | LogError::Damaged { .. }
        | LogError::Misconfigured(_) => Failure::Lasting,
    }
}

fn ending(error: RecoveryError) -> Ending {
    let text = error.to_string();
    match error {
        RecoveryError::Log(LogError::TopicsMissing(_)) => Ending::TopicsMissing(text),
        RecoveryError::Log(LogError::Misconfigured(_)) => Ending::Misconfigured(text),
        _ => Ending::Failed(text),
    }
}

/// The one actor of its kind.
fn only(part: Part) -> Role {
    Role { part, index: 0 }
}

fn named(Role { part, index }: Role) -> (ActorKind, usize) {
    (actor_kind(part), index)
}

fn actor_kind(part: Part) -> ActorKind {
    match part {
        Part::Reader => ActorKind::Reader,
        Part::Partition => ActorKind::Partition,
        Part::Filter => ActorKind::Filter,
        Part::Enrich => ActorKind::Enrich,
        Part::Window => ActorKind::Window,
        Part::Committer => ActorKind::Committer,
        Part::Barrier => ActorKind::Barrier,
        Part::Store => ActorKind::Store,
    }
}
