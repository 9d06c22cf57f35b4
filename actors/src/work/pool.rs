//! A pool of workers of one kind.

use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, Message, MessagingErr};

/// Routes messages to the workers in turn. A slot is empty while its worker is being replaced.
pub struct Pool<M: Message> {
    slots: Vec<ArcSwapOption<ActorRef<M>>>,
    turn: AtomicUsize,
}

impl<M: Message> Pool<M> {
    /// Slots for so many workers, all empty.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { slots: (0..size).map(|_| ArcSwapOption::empty()).collect(), turn: AtomicUsize::new(0) }
    }

    /// Puts a worker into a slot.
    pub fn set(&self, slot: usize, worker: ActorRef<M>) {
        self.slots[slot].store(Some(worker.into()));
    }

    /// Sends to the next worker that takes it.
    ///
    /// # Errors
    /// Gives the message back if no worker is alive.
    pub(crate) fn send(&self, mut message: M) -> Result<(), M> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for slot in (first..first + self.slots.len()).map(|turn| turn % self.slots.len()) {
            let Some(worker) = self.slots[slot].load_full() else { continue };
            match worker.send_message(message) {
                Ok(()) => return Ok(()),
                Err(MessagingErr::SendErr(back)) => message = back,
                // Neither can happen: the message is of the worker's type and nothing is awaited.
                Err(MessagingErr::ChannelClosed | MessagingErr::InvalidActorType) => return Ok(()),
            }
        }
        Err(message)
    }
}
