//! The thread that writes. It outlives generations, and one whose call hangs outlives its successor.

use std::{collections::VecDeque, time::Duration};

use tidegate_core::{
    Epoch, Generation, NextOffset, PartitionId,
    epoch::writing::Writing,
    supervision::{Failure, Part},
};

use super::store::{Store, ToStore};
use crate::{
    disk::RowChanges,
    env::{Env, note},
    faults::Fault,
    key::Key,
    log::{Committed, LogError, Written},
    mail::Event,
    violation::Checked,
};

type Offsets = Vec<(PartitionId, NextOffset, String)>;

/// A commit request that is answered late is waited for so long at most.
const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) enum Command {
    Append {
        generation: Generation,
        records: Vec<Written>,
    },
    Commit {
        key: Key,
        offsets: Offsets,
        epoch: Epoch,
        begun: Duration,
        changes: RowChanges,
        bytes: usize,
    },
    /// From recovery: give up the open epoch.
    Rollback,
}

/// A commit on its way through the log's calls.
struct Committing {
    key: Key,
    offsets: Offsets,
    epoch: Epoch,
    begun: Duration,
    changes: RowChanges,
    bytes: usize,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Flush,
    Offsets,
    Request,
    /// The request is on its way; it is given up at this time.
    Waiting(Duration),
    /// The call comes back at this time, with this outcome.
    Back(Duration, Result<(), LogError>),
}

pub(crate) struct Writer {
    /// Its epoch at the log.
    pub(crate) producer: u64,
    commands: VecDeque<Command>,
    writing: Writing,
    /// Its client saw an error in the open transaction.
    error: Option<LogError>,
    /// What the client has not sent yet.
    unsent: Vec<Written>,
    committing: Option<Committing>,
    /// Commands of generations before this one are skipped.
    pub(crate) living: Generation,
    is_dead: bool,
    /// It panics over the next command that counts.
    pub(crate) is_doomed: bool,
    /// What the committer is to be told: an epoch of this generation is committed.
    pub(crate) told: Option<(Key, Epoch)>,
    /// What a rollback led to.
    pub(crate) answer: Option<Option<Vec<Committed>>>,
}

impl Writer {
    pub(crate) fn new(producer: u64, committed: Vec<Committed>) -> Self {
        Self {
            producer,
            commands: VecDeque::new(),
            writing: Writing::new(committed),
            error: None,
            unsent: Vec::new(),
            committing: None,
            living: Generation::default(),
            is_dead: false,
            is_doomed: false,
            told: None,
            answer: None,
        }
    }

    pub(crate) fn send(&mut self, command: Command) {
        if !self.is_dead {
            self.commands.push_back(command);
        } else if let Command::Rollback = command {
            self.answer = Some(None);
        }
    }

    /// From here on all goes well: a call that hangs comes back.
    pub(crate) fn end_faults(&mut self) {
        self.is_doomed = false;
        if let Some(Committing { step: Step::Back(at, _), .. }) = &mut self.committing {
            *at = Duration::ZERO;
        }
    }

    /// When it has something to do; at once is zero.
    pub(crate) fn due(&self, is_answered: bool) -> Option<Duration> {
        match &self.committing {
            Some(Committing { step: Step::Back(at, _), .. }) => Some(*at),
            Some(Committing { step: Step::Waiting(until), .. }) if !is_answered => Some(*until),
            Some(_) => Some(Duration::ZERO),
            None => (!self.commands.is_empty()).then_some(Duration::ZERO),
        }
    }

    /// The thread panics.
    pub(crate) fn kill(&mut self) {
        let rollback = self.commands.iter().any(|command| matches!(command, Command::Rollback));
        if rollback {
            self.answer = Some(None);
        }
        self.commands.clear();
        self.committing = None;
        self.is_dead = true;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead
    }

    pub(crate) fn step(&mut self, env: &mut Env, store: &mut Store, events: &mut VecDeque<Event>) -> Checked {
        if let Some(committing) = self.committing.take() {
            return self.step_commit(committing, env, store, events);
        }
        match self.commands.pop_front() {
            Some(
                Command::Append { generation, .. } | Command::Commit { key: Key { generation, .. }, .. },
            ) if !self.writing.admits(generation, self.living) => {}
            Some(Command::Append { .. }) if self.is_doomed => self.panic(events),
            Some(Command::Append { records, .. }) => self.append(records, env, events),
            Some(Command::Commit { key, offsets, epoch, begun, changes, bytes }) => {
                let step = Step::Flush;
                self.committing = Some(Committing { key, offsets, epoch, begun, changes, bytes, step });
            }
            Some(Command::Rollback) => self.answer = Some(self.roll_back(env)),
            None => {}
        }
        Ok(())
    }

    fn append(&mut self, records: Vec<Written>, env: &mut Env, events: &mut VecDeque<Event>) {
        self.unsent.extend(records);
        if env.fails(Fault::WriteFailed, 40) {
            self.unsent.clear();
            self.fail(LogError::Unavailable, events);
        } else if env.log.is_up && env.random.one_in(2) {
            self.flush(env);
        }
        if let Some(error) = self.error.filter(|_| env.random.one_in(2)) {
            self.fail(error, events);
        }
    }

    /// Sends what the client holds back; an error is found out later.
    fn flush(&mut self, env: &mut Env) {
        for record in self.unsent.drain(..) {
            if let Err(error) = env.log.append(self.producer, record) {
                self.error = Some(error);
            }
        }
    }

    fn step_commit(
        &mut self,
        mut committing: Committing,
        env: &mut Env,
        store: &mut Store,
        events: &mut VecDeque<Event>,
    ) -> Checked {
        let outcome = match committing.step {
            Step::Flush | Step::Offsets if !env.log.is_up || env.fails(Fault::WriteFailed, 60) => {
                Some(Err(LogError::Unavailable))
            }
            Step::Flush => {
                self.flush(env);
                committing.step = Step::Offsets;
                self.error.map(Err)
            }
            Step::Offsets => {
                committing.step = Step::Request;
                env.log.send_offsets(self.producer, committing.key, &committing.offsets).err().map(Err)
            }
            Step::Request => {
                committing.step = self.request(committing.epoch, env)?;
                None
            }
            Step::Waiting(until) => match env.log.answers.remove(&self.producer) {
                Some(result) => Some(result),
                None if env.now >= until => Some(Err(LogError::Unavailable)),
                None => None,
            },
            Step::Back(_, result) => Some(result),
        };
        match outcome {
            None => self.committing = Some(committing),
            Some(Err(error)) => {
                note!(
                    env,
                    "{} writer: the commit of epoch {} failed: {error:?}",
                    committing.key,
                    committing.epoch
                );
                self.fail(error, events);
            }
            Some(Ok(())) => self.committed(committing, env, store, events),
        }
        Ok(())
    }

    /// The commit request leaves: nobody but the log knows from here on.
    fn request(&mut self, epoch: Epoch, env: &mut Env) -> Checked<Step> {
        let (now, lost) = (env.now, Err(LogError::Unavailable));
        if !env.log.is_up || env.fails(Fault::RequestLost, 12) {
            note!(env, "the commit request of epoch {epoch} is lost");
            return Ok(Step::Back(now, lost));
        }
        if env.fails(Fault::RequestDelayed, 12) {
            note!(env, "the commit request of epoch {epoch} is under way for long");
            env.log.on_its_way = Some(self.producer);
            return Ok(Step::Waiting(now + DEADLINE));
        }
        let hangs = env.fails(Fault::WriterHung, 16);
        let back = if hangs { now + Duration::from_millis(14_000 + env.random.below(4000)) } else { now };
        if hangs && env.random.one_in(2) {
            note!(env, "the commit of epoch {epoch} hangs and has no effect");
            return Ok(Step::Back(back, lost));
        }
        let took = env.log.commit(self.producer, now);
        let result = match took {
            Ok(Some(transaction)) => {
                note!(env, "the commit of epoch {epoch} takes effect");
                env.check.committed(transaction, &env.log)?;
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if result.is_ok() && env.fails(Fault::AnswerLost, 12) {
            note!(env, "the answer to the commit of epoch {epoch} is lost");
            return Ok(Step::Back(back, lost));
        }
        Ok(Step::Back(back, result))
    }

    fn committed(
        &mut self,
        committing: Committing,
        env: &mut Env,
        store: &mut Store,
        events: &mut VecDeque<Event>,
    ) {
        let Committing { key, offsets, epoch, begun, changes, bytes, .. } = committing;
        if env.fails(Fault::ThreadPanic, 30) {
            note!(env, "{key} writer panics behind the commit of epoch {epoch}");
            self.panic(events);
            return;
        }
        self.writing.commit(offsets);
        // Here and not by the committer, which may be gone.
        store.send(key, ToStore::Committed { epoch, begun, bytes, changes });
        self.told = Some((key, epoch));
    }

    pub(crate) fn panic(&mut self, events: &mut VecDeque<Event>) {
        self.kill();
        let (generation, failure) = (self.writing.current(), Failure::Crashed(Part::Committer));
        events.push_back(Event::Failed { generation, failure });
    }

    fn fail(&mut self, error: LogError, events: &mut VecDeque<Event>) {
        self.writing.fail();
        let failure = match error {
            LogError::Unavailable => Failure::LogUnavailable,
            LogError::Fenced => Failure::Fenced,
        };
        events.push_back(Event::Failed { generation: self.writing.current(), failure });
    }

    fn roll_back(&mut self, env: &mut Env) -> Option<Vec<Committed>> {
        let committed = self.writing.roll_back(self.error.is_none())?;
        self.unsent.clear();
        let fails = env.fails(Fault::AbortFailed, 2);
        if fails && env.random.one_in(2) {
            return None;
        }
        if !env.log.is_up || env.log.abort(self.producer, env.now).is_err() || fails {
            return None;
        }
        note!(env, "the writer gives up the open epoch");
        Some(committed)
    }
}
