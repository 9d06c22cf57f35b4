//! What the supervisor does when a part fails, and when a generation is outdated.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use ractor::ActorCell;
use tidegate_actors::PipelineEvent;
use tidegate_core::supervision::{Failure, LifecycleState, Part, RestartBudget, Rollback, Step, respond};
use tidegate_telemetry::Phase;

use super::{
    generation::{Role, named},
    handover::{Before, Ended},
    outcome::classify,
    supervisor::SupervisorState,
};
use crate::{
    parts::Ending,
    roster::{ActorState, ActorView},
};

impl SupervisorState {
    /// A part of a generation reports a failure; one of a generation that has ended is no news.
    pub(super) fn part_failed(&mut self, event: PipelineEvent) {
        match event {
            PipelineEvent::LogFailed { generation, part, error } if generation == self.generation => {
                self.note_refusal(&error);
                self.failed(classify(&error), Some(Role::only(part)), error.to_string());
            }
            PipelineEvent::ThreadPanicked { generation, part, cause } if generation == self.generation => {
                let cause = format!("{part} panicked: {cause}");
                self.failed(Failure::Crashed(part), Some(Role::only(part)), cause);
            }
            PipelineEvent::WriterHung { generation } if generation == self.generation => {
                let cause = "a commit did not come back".into();
                self.failed(Failure::WriterHung, Some(Role::only(Part::Committer)), cause);
            }
            PipelineEvent::BatchBlamed { partition } => {
                let cause = format!("a worker crashed on a batch of partition {partition}");
                if let Err(exhausted) = spend(&mut self.budget, cause) {
                    self.give_up(Ending::Failed(exhausted));
                }
            }
            _ => {}
        }
    }

    /// An actor of ours ended. One of an older generation, or one that is being ended, is no news.
    pub(super) async fn actor_ended(&mut self, who: &ActorCell, cause: String) {
        let Some(role) = self.live.as_ref().and_then(|live| live.role(who.get_id())) else { return };
        let Role { part, index } = role;
        let cause = format!("{part} {index} failed: {cause}");
        if self.failed(Failure::Crashed(part), Some(role), cause) == Step::ReplaceWorker
            && let Some(live) = &mut self.live
            && let Err(error) = live.replace_worker(who.get_id(), role).await
        {
            self.failed(Failure::Lasting, Some(role), format!("cannot replace {part} {index}: {error}"));
        }
    }

    /// Carries out the policy, all but the replacement of a worker.
    fn failed(&mut self, failure: Failure, role: Option<Role>, cause: String) -> Step {
        if matches!(self.lifecycle.state(), LifecycleState::Recovering | LifecycleState::Ended) {
            return Step::Nothing;
        }
        let is_done = self.is_at_end();
        let was_draining = self.lifecycle.state() == LifecycleState::Draining;
        let mut exhausted = None;
        let budget = &mut self.budget;
        let step = self.lifecycle.failed(failure, is_done, || match spend(budget, cause.clone()) {
            Ok(()) => true,
            Err(all) => {
                exhausted = Some(all);
                false
            }
        });
        match step {
            Step::ReplaceWorker => tracing::error!(cause, "worker replaced"),
            _ => {
                let response = respond(failure);
                tracing::error!(cause, ?response, generation = %self.generation, "pipeline failed");
            }
        }
        if let Some(role) = role {
            self.note_failure(role, &cause);
        }
        match step {
            Step::Recover { rollback, is_fenced } => {
                let reader_lost = failure == Failure::Crashed(Part::Reader);
                self.new_generation(rollback, is_fenced, cause, reader_lost);
            }
            Step::Finish => self.end(Ending::EndReached),
            Step::Fail if was_draining => {
                self.end(Ending::Failed(format!("{cause}; what was in flight will be read again")));
            }
            Step::Fail => self.end(Ending::Failed(exhausted.unwrap_or(cause))),
            _ => {}
        }
        step
    }

    /// The input has more partitions than this generation reads: a new one reads them. That is no failure.
    pub(super) fn outdated(&mut self) {
        if let Step::Recover { rollback, is_fenced } = self.lifecycle.outdated() {
            let cause = "the input topic has more partitions".to_owned();
            tracing::info!(cause, "starting anew");
            self.new_generation(rollback, is_fenced, cause, false);
        }
    }

    fn new_generation(&mut self, rollback: Rollback, is_fenced: bool, cause: String, reader_lost: bool) {
        let Some(live) = self.live.take() else { return };
        self.set_phase(Phase::Recovering, Some(cause));
        if rollback == Rollback::Full {
            self.meet_obstacle(&live);
        }
        let pause = if rollback == Rollback::Short { Duration::ZERO } else { self.backoff.wait() };
        self.recover(pause, Before::Generation(Ended { live, rollback, reader_lost }), is_fenced);
    }

    fn note_failure(&mut self, Role { part, index }: Role, cause: &str) {
        self.shared.metrics.restarts(part).add(1);
        self.roster.failed((part, index), self.shared.clock.now(), cause);
    }

    /// All actors, for somebody who looks.
    pub(super) fn actors(&self) -> Vec<ActorView> {
        let running: HashSet<_> = self.live.iter().flat_map(|live| live.roles()).map(named).collect();
        let gone = match self.lifecycle.state() {
            LifecycleState::Ended => ActorState::Stopped,
            _ => ActorState::Restarting,
        };
        self.roster
            .view(|kind, index| if running.contains(&(kind, index)) { ActorState::Running } else { gone })
    }
}

/// Spends one restart; if that is one too many, says what failed.
fn spend(budget: &mut RestartBudget, cause: String) -> Result<(), String> {
    budget.spend(Instant::now(), cause).map_err(|exhausted| exhausted.to_string())
}
