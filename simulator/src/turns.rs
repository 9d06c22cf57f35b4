//! What of a process may go next, and its going.

use std::time::Duration;

use crate::{
    env::{Env, note},
    faults::Fault,
    mail::ToCommitter,
    process::{Exit, Process},
    slow::Slow,
    violation::Checked,
};

/// What of a process may go next.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn {
    Supervisor,
    Recovery,
    Finish,
    Partition(usize),
    Window(usize),
    Filter(usize),
    Enrich(usize),
    Committer,
    Watchdog,
    Barrier,
    Tick,
    Store,
    StoreTimer,
    StoreAnswer,
    Disk,
    Reader,
    Writer(usize),
}

impl Turn {
    /// What has to be slow so that this is.
    pub(crate) fn pace(self) -> Slow {
        match self {
            Self::Supervisor | Self::Recovery | Self::Finish => Slow::Supervisor,
            Self::Partition(at) => Slow::Partition(at),
            Self::Window(at) => Slow::Window(at),
            Self::Filter(at) | Self::Enrich(at) => Slow::Worker(at),
            Self::Committer | Self::Watchdog => Slow::Committer,
            Self::Barrier | Self::Tick => Slow::Barrier,
            Self::Store | Self::StoreTimer | Self::StoreAnswer | Self::Disk => Slow::Store,
            Self::Reader => Slow::Reader,
            Self::Writer(_) => Slow::Writer,
        }
    }
}

fn now_if(condition: bool) -> Option<Duration> {
    condition.then_some(Duration::ZERO)
}

impl Process {
    /// Offers each turn with the moment from which on it may be taken.
    pub(crate) fn offer(&self, env: &Env, mut offer: impl FnMut(Option<Duration>, Turn)) {
        offer(now_if(!self.mailbox.is_empty()), Turn::Supervisor);
        offer(
            now_if(self.is_finishing && self.store.work.is_none() && !self.store.is_asking()),
            Turn::Finish,
        );
        offer(now_if(self.store.work.is_some()), Turn::Disk);
        offer(now_if(self.store.has_mail()), Turn::Store);
        offer(self.store.timer_due(), Turn::StoreTimer);
        offer(now_if(self.store.is_asking()), Turn::StoreAnswer);
        offer(self.recovery_due(), Turn::Recovery);
        for (at, writer) in self.writers.iter().enumerate() {
            let is_answered = env.log.answers.contains_key(&writer.producer);
            offer(writer.due(is_answered), Turn::Writer(at));
        }
        let Some(live) = &self.live else { return };
        for (at, partition) in live.partitions.iter().enumerate() {
            offer(now_if(partition.mail.has_mail()), Turn::Partition(at));
        }
        for (at, window) in live.windows.iter().enumerate() {
            offer(now_if(window.mail.has_mail()), Turn::Window(at));
        }
        for (at, worker) in live.filter.iter().enumerate() {
            offer(now_if(!worker.jobs.is_empty()), Turn::Filter(at));
        }
        for (at, worker) in live.enrich.iter().enumerate() {
            offer(now_if(!worker.jobs.is_empty()), Turn::Enrich(at));
        }
        offer(now_if(live.committer.mail.has_mail()), Turn::Committer);
        offer(live.committer.watchdog_due(), Turn::Watchdog);
        offer(now_if(live.barrier.mail.has_mail()), Turn::Barrier);
        offer(live.tick_due(), Turn::Tick);
        offer(self.reader.due(live, env), Turn::Reader);
    }

    /// Takes a turn.
    pub(crate) fn take_turn(&mut self, turn: Turn, env: &mut Env) -> Checked {
        match turn {
            Turn::Supervisor => self.step_supervisor(env)?,
            Turn::Recovery => self.step_recovery(env)?,
            Turn::Disk => {
                self.store.step_work(env)?;
                // The moments at which a store is half written are few.
                if env.fails(Fault::ProcessCrash, 10) {
                    note!(env, "process {} is killed while its store is written", self.owner);
                    self.exit = Some(Exit::Failed);
                }
            }
            Turn::Writer(at) => {
                let Self { writers, store, live, mailbox, .. } = self;
                writers[at].step(env, store, mailbox)?;
                // If the committer is gone, the generation has ended.
                if let Some((key, epoch)) = writers[at].told.take()
                    && let Some(live) = live.as_mut().filter(|live| live.key == key)
                {
                    live.committer.mail.send(ToCommitter::Committed(epoch));
                }
            }
            Turn::Finish => self.finish(env),
            Turn::Store => self.store.step(env),
            Turn::StoreTimer => self.store.timer(),
            Turn::StoreAnswer => self.store.answered(env),
            Turn::Reader => {
                let mut reader = std::mem::take(&mut self.reader);
                let read = self.with_live(env, |live, around| reader.step(live, around));
                self.reader = reader;
                read.transpose()?;
            }
            _ => self.take_actors_turn(turn, env)?,
        }
        Ok(())
    }

    fn take_actors_turn(&mut self, turn: Turn, env: &mut Env) -> Checked {
        let taken = self.with_live(env, |live, around| match turn {
            Turn::Partition(at) => live.step_partition(at, around),
            Turn::Window(at) => live.step_window(at, around),
            Turn::Filter(at) => {
                live.step_filter(at, around);
                Ok(())
            }
            Turn::Enrich(at) => {
                live.step_enrich(at, around);
                Ok(())
            }
            Turn::Committer => live.step_committer(around),
            Turn::Watchdog => {
                live.watch_commit(around);
                Ok(())
            }
            Turn::Barrier => {
                live.step_barrier(around);
                Ok(())
            }
            Turn::Tick => {
                live.tick(around);
                Ok(())
            }
            _ => Ok(()),
        });
        taken.unwrap_or(Ok(()))
    }
}
