//! Keeps the local store: gathers committed epochs, and applies them to the disk of its host. There is one actor for
//! each generation; who takes the store over when it ends is recovery.

use std::time::Duration;

use tidegate_core::{Epoch, NextOffset, epoch::gather::Gathered};

use super::mailbox::Mailbox;
use crate::{
    disk::{DiskWork, RowChanges},
    env::{Env, note},
    faults::Fault,
    key::Key,
    violation::Checked,
};

/// What the store actor is told.
#[derive(Debug)]
pub(crate) enum ToStore {
    /// From the writer: an epoch is committed.
    Committed { epoch: Epoch, begun: Duration, bytes: usize, changes: RowChanges },
    /// From its timer.
    Apply,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) host: usize,
    /// The generation whose actor has the store.
    key: Option<Key>,
    mail: Mailbox<ToStore>,
    gathered: Gathered<RowChanges>,
    /// When it applies what is gathered.
    due: Option<Duration>,
    /// Ends of the changelog that the log has said; the answer is on its way.
    asked: Option<Vec<NextOffset>>,
    /// What is being written.
    pub(crate) work: Option<DiskWork>,
    /// The disk is in use; not before the first recovery, and not any more once it failed.
    pub(crate) is_open: bool,
}

impl Store {
    pub(crate) fn new(host: usize) -> Self {
        Self {
            host,
            key: None,
            mail: Mailbox::default(),
            gathered: Gathered::default(),
            due: None,
            asked: None,
            work: None,
            is_open: false,
        }
    }

    /// The actor of a generation has the store from here on.
    pub(crate) fn begin(&mut self, key: Key) {
        *self =
            Self { key: Some(key), work: self.work.take(), is_open: self.is_open, ..Self::new(self.host) };
    }

    /// The actor dies, and the store has to be opened anew; false if it is busy, for then it cannot die.
    pub(crate) fn crash(&mut self) -> bool {
        if self.work.is_some() || self.asked.is_some() {
            return false;
        }
        *self = Self::new(self.host);
        true
    }

    /// From a writer, to the actor of a generation: if that is gone, a recovery follows.
    pub(super) fn send(&mut self, key: Key, message: ToStore) {
        if self.key == Some(key) {
            self.mail.send(message);
        }
    }

    /// Whether it has mail that it can take: while the disk writes or the log is asked, it waits.
    pub(crate) fn has_mail(&self) -> bool {
        self.mail.has_mail() && self.work.is_none() && self.asked.is_none()
    }

    pub(crate) fn timer_due(&self) -> Option<Duration> {
        self.due
    }

    pub(crate) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    pub(crate) fn step(&mut self, env: &mut Env) {
        match self.mail.next() {
            Some(ToStore::Committed { epoch, begun, bytes, changes }) => {
                if self.gathered.push(epoch, begun, bytes, changes) {
                    self.apply(env);
                    self.ask(env);
                } else {
                    self.due.get_or_insert(env.now + env.shape.gather_for);
                }
            }
            Some(ToStore::Apply) => {
                self.apply(env);
                self.ask(env);
            }
            None => {}
        }
    }

    /// It has gathered for long enough.
    pub(crate) fn timer(&mut self) {
        self.due = None;
        self.mail.send(ToStore::Apply);
    }

    /// Begins to apply what is gathered.
    fn apply(&mut self, env: &mut Env) {
        let base = env.disks[self.host].base.as_ref().map(|base| base.epoch);
        if !self.is_open {
            return;
        }
        let Some(application) = self.gathered.take(base) else { return };
        note!(env, "the store of host {} applies up to epoch {}", self.host, application.epoch);
        let (epoch, epochs, positions) = (application.epoch, application.changes, application.positions);
        self.work = Some(DiskWork::apply(epoch, epochs, positions, &mut env.random));
    }

    fn ask(&mut self, env: &mut Env) {
        if env.log.is_up && !env.random.one_in(4) {
            self.asked = Some(env.log.changelog.ends());
        }
    }

    /// The log's answer comes.
    pub(crate) fn answered(&mut self, env: &Env) {
        if let Some(positions) = self.asked.take() {
            self.gathered.note(positions, env.now);
        }
    }

    /// The next step of what is being written.
    pub(crate) fn step_work(&mut self, env: &mut Env) -> Checked {
        let Some(work) = &mut self.work else { return Ok(()) };
        if env.fails(Fault::DiskFails, 20) {
            note!(env, "the disk of host {} fails", self.host);
            self.is_open = false;
            self.work = None;
            return Ok(());
        }
        let disk = &mut env.disks[self.host];
        if work.step(disk, env.now) {
            let epoch = work.epoch;
            self.work = None;
            note!(env, "the store of host {} is at epoch {epoch}", self.host);
            env.check.stored(epoch, &disk.rows)?;
        }
        Ok(())
    }

    /// The next step of handing the store over: all that was committed is applied; returns whether it is done.
    pub(crate) fn hand_over(&mut self, env: &mut Env) -> bool {
        if self.work.is_some() || self.asked.is_some() {
            return false;
        }
        while let Some(message) = self.mail.next() {
            if let ToStore::Committed { epoch, begun, bytes, changes } = message {
                self.gathered.push(epoch, begun, bytes, changes);
            }
        }
        self.apply(env);
        let is_done = self.work.is_none();
        if is_done {
            (self.key, self.due) = (None, None);
        }
        is_done
    }
}
