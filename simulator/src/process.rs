//! One process: what it remembers between generations, and its supervisor. Its lifecycle and its answers to failures are
//! decided by [`tidegate_core::supervision`].

use std::{collections::VecDeque, time::Duration};

use tidegate_core::{
    Epoch, Generation, NextOffset,
    supervision::{Backoff, Failure, Lifecycle, LifecycleState, Part, RestartBudget, Rollback, Step},
};

use crate::{
    actors::{Around, Live, Reader, Store, Writer},
    env::{Env, note},
    key::Key,
    mail::{Event, ToBarrier},
    plan::{NoPlan, Recovered},
    recovery::{Ended, Recovery, Remains, log_owner},
    violation::Checked,
};

const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was in flight is committed.
    Clean,
    /// It was asked to stop before it ran.
    Unstarted,
    Failed,
}

pub(crate) struct Process {
    /// Its nonce.
    pub(crate) owner: u64,
    /// It was asked to stop: it has to end.
    pub(crate) is_to_end: bool,
    /// Nothing of it goes on.
    pub(crate) is_paused: bool,
    pub(crate) lifecycle: Lifecycle,
    budget: RestartBudget,
    backoff: Backoff,
    pub(crate) generation: Generation,
    used: Epoch,
    pub(crate) was_owner: bool,
    began_at: Option<Vec<NextOffset>>,
    pub(crate) mailbox: VecDeque<Event>,
    pub(crate) live: Option<Live>,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) writers: Vec<Writer>,
    pub(crate) reader: Reader,
    pub(crate) store: Store,
    /// All is committed, and what is left is to hand the store over.
    pub(crate) is_finishing: bool,
    pub(crate) exit: Option<Exit>,
}

impl Process {
    pub(crate) fn start(owner: u64, host: usize, env: &mut Env) -> Self {
        note!(env, "process {owner} starts on host {host}");
        Self {
            owner,
            is_to_end: false,
            is_paused: false,
            lifecycle: Lifecycle::default(),
            budget: RestartBudget::new(env.shape.max_restarts, RESTART_WINDOW),
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            generation: Generation::default(),
            used: Epoch::default(),
            was_owner: false,
            began_at: None,
            mailbox: VecDeque::new(),
            live: None,
            recovery: Some(Recovery::new(None, Remains::default(), Duration::ZERO)),
            writers: Vec::new(),
            reader: Reader::default(),
            store: Store::new(host),
            is_finishing: false,
            exit: None,
        }
    }

    /// An actor of the generation step.
    pub(crate) fn with_live<T>(
        &mut self,
        env: &mut Env,
        step: impl FnOnce(&mut Live, &mut Around<'_>) -> T,
    ) -> Option<T> {
        let Self { live, mailbox: events, writers, .. } = self;
        Some(step(live.as_mut()?, &mut Around { env, events, writers }))
    }

    /// The supervisor takes its next message.
    pub(crate) fn step_supervisor(&mut self, env: &mut Env) -> Checked {
        let is_current = |generation| generation == self.generation;
        match self.mailbox.pop_front() {
            Some(Event::Failed { generation, failure }) if is_current(generation) => {
                self.failed(failure, env)
            }
            Some(Event::WorkerDied { generation, part, index }) if is_current(generation) => {
                let step = self.lifecycle.failed(Failure::Crashed(part), false, || false);
                if let (Step::ReplaceWorker, Some(live)) = (step, &mut self.live) {
                    live.replace_worker(part, index);
                }
            }
            Some(Event::BatchBlamed) => {
                if !self.spend(env) {
                    let step = self.lifecycle.give_up();
                    self.carry_out(step, env);
                }
            }
            Some(Event::Progress { epoch, committed }) => self.progress(epoch, committed),
            Some(Event::Drained) => {
                if self.lifecycle.drained() == Step::Finish {
                    if let Some(live) = self.live.take() {
                        env.check.drained(live.key, self.reader.taken(), &env.log)?;
                    }
                    self.is_finishing = true;
                }
            }
            Some(Event::Recovered(result)) => self.recovered(*result, env)?,
            Some(Event::InputGrew { generation }) if is_current(generation) => {
                let step = self.lifecycle.outdated();
                self.carry_out(step, env);
            }
            Some(Event::TakenOver) => {
                let step = self.lifecycle.give_up();
                self.carry_out(step, env);
            }
            Some(Event::Shutdown) => {
                let step = self.lifecycle.shut_down();
                self.carry_out(step, env);
            }
            // Of a generation that has ended.
            Some(Event::Failed { .. } | Event::WorkerDied { .. } | Event::InputGrew { .. }) | None => {}
        }
        Ok(())
    }

    /// The last step of a process that has drained.
    pub(crate) fn finish(&mut self, env: &mut Env) {
        if self.store.hand_over(env) {
            self.end(Exit::Clean, env);
        }
    }

    fn spend(&mut self, env: &Env) -> bool {
        self.budget.spend(env.origin + env.now, String::new()).is_ok()
    }

    fn failed(&mut self, failure: Failure, env: &mut Env) {
        note!(env, "process {} hears of a failure: {failure:?}", self.owner);
        let Self { lifecycle, budget, .. } = self;
        let now = env.origin + env.now;
        let step = lifecycle.failed(failure, false, || budget.spend(now, String::new()).is_ok());
        self.carry_out(step, env);
    }

    fn carry_out(&mut self, step: Step, env: &mut Env) {
        match step {
            Step::Recover { rollback, is_fenced } => {
                let pause = if rollback == Rollback::Short { Duration::ZERO } else { self.backoff.wait() };
                self.end_generation(rollback, is_fenced, pause, env);
            }
            Step::RecoverLater => {
                let pause = env.now + self.backoff.wait();
                let remains = self.remains(false);
                self.recovery = Some(Recovery::after(pause, remains));
            }
            Step::Drain => {
                note!(env, "process {} drains", self.owner);
                self.reader.halt();
                if let Some(live) = &mut self.live {
                    live.barrier.mail.send(ToBarrier::Drain);
                }
            }
            Step::Finish => self.end(Exit::Clean, env),
            Step::FinishUnstarted => self.end(Exit::Unstarted, env),
            Step::Fail => self.end(Exit::Failed, env),
            Step::Nothing | Step::ReplaceWorker | Step::Start => {}
        }
    }

    fn remains(&self, is_fenced: bool) -> Remains {
        let Self { used, was_owner, .. } = *self;
        Remains { used, was_owner, is_fenced, began_at: self.began_at.clone() }
    }

    fn end_generation(&mut self, rollback: Rollback, is_fenced: bool, pause: Duration, env: &mut Env) {
        let Some(live) = self.live.take() else { return };
        note!(env, "{} ends, to be followed after a {rollback:?} rollback", live.key);
        self.writers[live.writer].living = self.generation.next();
        self.reader.halt();
        let ended = Ended { rollback, writer: live.writer, announces: live.announces };
        self.recovery = Some(Recovery::new(Some(ended), self.remains(is_fenced), pause));
    }

    fn recovered(&mut self, result: Recovered, env: &mut Env) -> Checked {
        let plan = match result {
            Ok(plan) => plan,
            Err(no_plan) => {
                note!(env, "process {} cannot recover: {no_plan:?}", self.owner);
                let step = self.lifecycle.not_recovered(no_plan == NoPlan::Unavailable);
                self.carry_out(step, env);
                return Ok(());
            }
        };
        if self.lifecycle.recovered() != Step::Start {
            return Ok(());
        }
        self.generation = self.generation.next();
        self.used = self.used.max(plan.first);
        self.began_at = Some(plan.positions.clone());
        let key = Key { owner: self.owner, generation: self.generation };
        note!(env, "{key} begins with epoch {} at {:?}", plan.first, plan.positions);
        let is_fenced = self.writers[plan.writer].producer != env.log.producer;
        env.check.began(key, &plan, is_fenced, env.now_ms())?;
        self.writers[plan.writer].living = self.generation;
        self.reader.start(self.generation, &plan.positions);
        self.store.begin(key);
        self.live = Some(Live::spawn(key, plan, env));
        Ok(())
    }

    fn progress(&mut self, epoch: Epoch, committed: bool) {
        // The next one may be cut already.
        self.used = self.used.max(epoch.next());
        if committed {
            self.was_owner = true;
            self.backoff.reset();
            if let Some(live) = &mut self.live {
                live.announces = false;
            }
        }
    }

    pub(crate) fn end(&mut self, exit: Exit, env: &mut Env) {
        note!(env, "process {} ends: {exit:?}", self.owner);
        self.exit = Some(exit);
    }

    /// The supervisor looks whether somebody else owns the id.
    pub(crate) fn watch_owner(&mut self, env: &Env) {
        if self.was_owner && env.log.is_up && log_owner(env).is_some_and(|owner| owner != self.owner) {
            self.mailbox.push_back(Event::TakenOver);
        }
    }

    /// The supervisor looks whether the input has more partitions.
    pub(crate) fn watch_input(&mut self, env: &Env) {
        if let Some(live) = &self.live
            && live.partitions.len() < env.log.inputs.len()
        {
            let generation = live.key.generation;
            self.mailbox.push_back(Event::InputGrew { generation });
        }
    }

    /// A stateful actor dies.
    pub(crate) fn crash_actor(&mut self, part: Part, at: usize) -> bool {
        let Some(live) = &mut self.live else { return false };
        match part {
            Part::Partition => {
                let at = at % live.partitions.len();
                live.partitions[at].mail.kill();
            }
            Part::Window => {
                let at = at % live.windows.len();
                live.windows[at].mail.kill();
            }
            Part::Committer => live.committer.mail.kill(),
            Part::Barrier => live.barrier.mail.kill(),
            _ => {
                if !self.store.crash() {
                    return false;
                }
            }
        }
        let (generation, failure) = (live.key.generation, Failure::Crashed(part));
        self.mailbox.push_back(Event::Failed { generation, failure });
        true
    }

    /// The thread of the writer dies, when it has the next thing to do.
    pub(crate) fn crash_writer(&mut self, env: &mut Env) -> bool {
        let Some(writer) = self.writers.last_mut().filter(|writer| !writer.is_dead()) else { return false };
        note!(env, "the writer of process {} is about to panic", self.owner);
        writer.is_doomed = true;
        true
    }

    /// Whether it runs, and nothing that failed is still to be heard of.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_idle = |writer: &Writer| writer.due(false).is_none() && !writer.is_doomed;
        let Some(live) = self.live.as_ref().filter(|_| !self.is_to_end) else { return false };
        // An older writer may still hang.
        let is_idle = is_idle(&self.writers[live.writer]);
        let is_committing = live.committer.watchdog_due().is_some();
        self.lifecycle.state() == LifecycleState::Running
            && self.mailbox.is_empty()
            && is_idle
            && !is_committing
    }

    /// Whether its writer is the one that took over last.
    pub(crate) fn is_sound(&self, env: &Env) -> bool {
        self.live.as_ref().is_some_and(|live| self.writers[live.writer].producer == env.log.producer)
    }

    /// From here on all goes well.
    pub(crate) fn end_faults(&mut self) {
        self.is_paused = false;
        for writer in &mut self.writers {
            writer.end_faults();
        }
    }
}
