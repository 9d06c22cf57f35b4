//! Where a pipeline is between its start and its end.
//!
//! ```text
//! recovering ──recovered──▶ running ──failure, or something to read anew──▶ recovering
//!     │                        │ shutdown
//!     └──▶ ended ◀──────── draining
//! ```

use super::{Failure, Response, Rollback, respond};

/// What a pipeline is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifecycleState {
    /// It finds out what is committed and gets there.
    Recovering,
    /// A generation lives.
    Running,
    /// A generation commits what is in flight, and then ends.
    Draining,
    /// It has ended.
    Ended,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is of a time that is over.
    Nothing,
    /// End the generation, recover, start a new one.
    Recover {
        /// How the open epoch is given up.
        rollback: Rollback,
        /// The writer was fenced: find out whether another daemon owns the id.
        is_fenced: bool,
    },
    /// Recover again after a pause: the log did not answer.
    RecoverLater,
    /// Replace one worker; the generation lives on.
    ReplaceWorker,
    /// Start the generation that recovery has planned.
    Start,
    /// Read nothing more, and cut the last epoch.
    Drain,
    /// End with success.
    Finish,
    /// End with success although nothing was ever in flight.
    FinishUnstarted,
    /// End with the error.
    Fail,
}

/// The lifecycle of one pipeline.
#[derive(Debug)]
pub struct Lifecycle {
    state: LifecycleState,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { state: LifecycleState::Recovering }
    }
}

impl Lifecycle {
    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> LifecycleState {
        self.state
    }

    /// Recovery has a plan.
    pub fn recovered(&mut self) -> Step {
        match self.state {
            LifecycleState::Recovering => self.go(LifecycleState::Running, Step::Start),
            LifecycleState::Running | LifecycleState::Draining | LifecycleState::Ended => Step::Nothing,
        }
    }

    /// Recovery has none; `may_pass`: the reason may go away by itself.
    pub fn not_recovered(&mut self, may_pass: bool) -> Step {
        match self.state {
            LifecycleState::Recovering if may_pass => Step::RecoverLater,
            LifecycleState::Recovering => self.go(LifecycleState::Ended, Step::Fail),
            LifecycleState::Running | LifecycleState::Draining | LifecycleState::Ended => Step::Nothing,
        }
    }

    /// A part failed. `may_restart` spends one restart of the budget and says whether it was there; it is asked only
    /// where the failure counts against it. `is_done`: all that was to be done is committed.
    pub fn failed(&mut self, failure: Failure, is_done: bool, may_restart: impl FnOnce() -> bool) -> Step {
        let response = respond(failure);
        match (self.state, response) {
            (LifecycleState::Recovering | LifecycleState::Ended, _) => Step::Nothing,
            (LifecycleState::Running | LifecycleState::Draining, Response::ReplaceWorker) => {
                Step::ReplaceWorker
            }
            // What was in flight is read again by the next process.
            (LifecycleState::Draining, _) => {
                self.go(LifecycleState::Ended, if is_done { Step::Finish } else { Step::Fail })
            }
            (LifecycleState::Running, Response::Exit) => self.go(LifecycleState::Ended, Step::Fail),
            (LifecycleState::Running, Response::NewGeneration { rollback, spends }) => {
                self.renew(rollback, false, !spends || may_restart())
            }
            (LifecycleState::Running, Response::CheckOwner) => {
                self.renew(Rollback::Full, true, may_restart())
            }
        }
    }

    /// No failure, but something that only a new generation takes up: the input has more partitions.
    pub fn outdated(&mut self) -> Step {
        match self.state {
            LifecycleState::Running => self.renew(Rollback::Full, false, true),
            LifecycleState::Recovering | LifecycleState::Draining | LifecycleState::Ended => Step::Nothing,
        }
    }

    /// It is to stop cleanly.
    pub fn shut_down(&mut self) -> Step {
        match self.state {
            LifecycleState::Running => self.go(LifecycleState::Draining, Step::Drain),
            // Nothing is in flight, and a recovery that hangs must not hold up the end.
            LifecycleState::Recovering => self.go(LifecycleState::Ended, Step::FinishUnstarted),
            LifecycleState::Draining | LifecycleState::Ended => Step::Nothing,
        }
    }

    /// All that was in flight is committed.
    pub fn drained(&mut self) -> Step {
        match self.state {
            LifecycleState::Draining => self.go(LifecycleState::Ended, Step::Finish),
            LifecycleState::Recovering | LifecycleState::Running | LifecycleState::Ended => Step::Nothing,
        }
    }

    /// It cannot go on, whatever it is doing.
    pub fn give_up(&mut self) -> Step {
        match self.state {
            LifecycleState::Ended => Step::Nothing,
            _ => self.go(LifecycleState::Ended, Step::Fail),
        }
    }

    fn renew(&mut self, rollback: Rollback, is_fenced: bool, may_restart: bool) -> Step {
        if may_restart {
            self.go(LifecycleState::Recovering, Step::Recover { rollback, is_fenced })
        } else {
            self.go(LifecycleState::Ended, Step::Fail)
        }
    }

    fn go(&mut self, state: LifecycleState, step: Step) -> Step {
        self.state = state;
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::Part;

    const CRASH: Failure = Failure::Crashed(Part::Window);

    fn at(state: LifecycleState) -> Lifecycle {
        Lifecycle { state }
    }

    fn spent() -> bool {
        false
    }

    fn unasked() -> bool {
        panic!("the budget was asked")
    }

    #[test]
    fn a_pipeline_recovers_runs_drains_and_ends() {
        let mut lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.recovered(), Step::Start);
        assert_eq!(lifecycle.shut_down(), Step::Drain);
        assert_eq!(lifecycle.drained(), Step::Finish);
        assert_eq!(lifecycle.state(), LifecycleState::Ended);
    }

    #[test]
    fn a_crash_is_recovered_in_the_short_form_and_counts_against_the_budget() {
        let mut lifecycle = at(LifecycleState::Running);
        let short = Step::Recover { rollback: Rollback::Short, is_fenced: false };
        assert_eq!(lifecycle.failed(CRASH, false, || true), short);
        assert_eq!(lifecycle.state(), LifecycleState::Recovering);
        assert_eq!(at(LifecycleState::Running).failed(CRASH, false, spent), Step::Fail);
    }

    #[test]
    fn a_log_that_is_away_is_recovered_in_full_and_never_counts() {
        let full = Step::Recover { rollback: Rollback::Full, is_fenced: false };
        assert_eq!(at(LifecycleState::Running).failed(Failure::LogUnavailable, false, unasked), full);
        let mut lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.not_recovered(true), Step::RecoverLater);
        assert_eq!(lifecycle.state(), LifecycleState::Recovering);
    }

    #[test]
    fn a_fenced_writer_finds_out_who_owns_the_id() {
        let fenced = Step::Recover { rollback: Rollback::Full, is_fenced: true };
        assert_eq!(at(LifecycleState::Running).failed(Failure::Fenced, false, || true), fenced);
        assert_eq!(at(LifecycleState::Running).failed(Failure::Fenced, false, spent), Step::Fail);
    }

    #[test]
    fn input_that_grew_is_no_failure_and_a_new_generation_reads_it() {
        let full = Step::Recover { rollback: Rollback::Full, is_fenced: false };
        assert_eq!(at(LifecycleState::Running).outdated(), full);
        for state in [LifecycleState::Recovering, LifecycleState::Draining, LifecycleState::Ended] {
            assert_eq!(at(state).outdated(), Step::Nothing);
        }
    }

    #[test]
    fn a_worker_is_replaced_while_running_and_while_draining() {
        for state in [LifecycleState::Running, LifecycleState::Draining] {
            let mut lifecycle = at(state);
            let worker = Failure::Crashed(Part::Filter);
            assert_eq!(lifecycle.failed(worker, false, unasked), Step::ReplaceWorker);
            assert_eq!(lifecycle.state(), state);
        }
    }

    #[test]
    fn what_fails_while_draining_ends_the_pipeline_and_well_if_all_was_done() {
        assert_eq!(at(LifecycleState::Draining).failed(CRASH, false, unasked), Step::Fail);
        assert_eq!(at(LifecycleState::Draining).failed(CRASH, true, unasked), Step::Finish);
    }

    #[test]
    fn what_a_generation_reports_that_has_ended_changes_nothing() {
        for state in [LifecycleState::Recovering, LifecycleState::Ended] {
            let mut lifecycle = at(state);
            assert_eq!(lifecycle.failed(CRASH, false, unasked), Step::Nothing);
            assert_eq!(lifecycle.drained(), Step::Nothing);
            assert_eq!(lifecycle.state(), state);
        }
    }

    #[test]
    fn a_shutdown_while_recovering_ends_at_once_and_the_plan_that_comes_later_is_not_started() {
        let mut lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.shut_down(), Step::FinishUnstarted);
        assert_eq!(lifecycle.recovered(), Step::Nothing);
        assert_eq!(lifecycle.not_recovered(true), Step::Nothing);
        assert_eq!(lifecycle.shut_down(), Step::Nothing);
    }

    #[test]
    fn an_error_that_lasts_ends_the_pipeline() {
        assert_eq!(at(LifecycleState::Running).failed(Failure::Lasting, false, unasked), Step::Fail);
        assert_eq!(Lifecycle::default().not_recovered(false), Step::Fail);
        assert_eq!(Lifecycle::default().give_up(), Step::Fail);
        assert_eq!(at(LifecycleState::Ended).give_up(), Step::Nothing);
    }
}
