//! The mailbox of an actor.

use std::collections::VecDeque;

/// The mailbox of an actor; what is sent to a dead one is dropped.
#[derive(Debug)]
pub(crate) struct Mailbox<M> {
    queue: VecDeque<M>,
    is_dead: bool,
}

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), is_dead: false }
    }
}

impl<M> Mailbox<M> {
    pub(crate) fn send(&mut self, message: M) {
        if !self.is_dead {
            self.queue.push_back(message);
        }
    }

    pub(crate) fn has_mail(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn next(&mut self) -> Option<M> {
        self.queue.pop_front()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// The actor dies, and its mail with it.
    pub(crate) fn kill(&mut self) {
        self.is_dead = true;
        self.queue.clear();
    }
}
