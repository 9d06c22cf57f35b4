//! Who may stay connected: a limit on connections that never keeps a probe out.
//!
//! There are places for connections and some in reserve. When all places are taken, the connection that has been
//! idle for longest gives way; while every one is busy, a new one takes a place in the reserve, where health and
//! metrics alone are answered. So whoever connects is served at once, whatever the others do.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use futures_util::task::AtomicWaker;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::limits::Limits;

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Slots {
    limits: Limits,
    began: Instant,
    open: Mutex<Vec<Arc<Slot>>>,
    streams: Arc<Semaphore>,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Slot {
    in_reserve: bool,
    began: Instant,
    /// Milliseconds from `began` to the last progress.
    progress_ms: AtomicU64,
    /// Requests being answered, and streams: such a connection is not idle.
    busy: AtomicUsize,
    is_evicted: AtomicBool,
    waker: AtomicWaker,
    streams: Arc<Semaphore>,
}

impl Slots {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            began: Instant::now(),
            open: Mutex::default(),
            streams: Arc::new(Semaphore::new(limits.streams)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        // What is inside stays whole whoever panicked.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection, which another may have to leave.
    pub(super) fn admit(&self) -> Arc<Slot> {
        let mut open = self.lock();
        let taken = |in_reserve| open.iter().filter(|slot| slot.in_reserve == in_reserve).count();
        let (ordinary, reserve) = (taken(false), taken(true));
        let mut in_reserve = false;
        if ordinary >= self.limits.connections && !evict(&mut open, |slot| !slot.in_reserve && slot.is_idle())
        {
            in_reserve = true;
            if reserve >= self.limits.reserve {
                evict(&mut open, |slot| slot.in_reserve);
            }
        }
        let slot = Arc::new(Slot {
            in_reserve,
            began: self.began,
            progress_ms: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
            is_evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            streams: Arc::clone(&self.streams),
        });
        slot.note_progress();
        open.push(Arc::clone(&slot));
        slot
    }

    /// Gives the place of a connection that ended to others.
    pub(super) fn leave(&self, slot: &Arc<Slot>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, slot));
    }
}

/// Ends the connection without progress for longest among those that may go.
fn evict(open: &mut Vec<Arc<Slot>>, may_go: impl Fn(&Slot) -> bool) -> bool {
    let candidates = open.iter().enumerate().filter(|(_, slot)| may_go(slot));
    let Some((index, _)) = candidates.min_by_key(|(_, slot)| slot.progress_ms.load(Ordering::Relaxed)) else {
        return false;
    };
    // The order stays that of arrival, which decides between equals.
    let slot = open.remove(index);
    slot.is_evicted.store(true, Ordering::Release);
    slot.waker.wake();
    true
}

impl Slot {
    fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0
    }

    /// Whether health and metrics alone are answered here.
    pub(super) fn is_in_reserve(&self) -> bool {
        self.in_reserve
    }

    /// Something was sent, or enough was received.
    pub(super) fn note_progress(&self) {
        self.progress_ms.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether another connection was given this place; if not, the task is woken when that happens.
    pub(super) fn poll_evicted(&self, cx: &std::task::Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.is_evicted.load(Ordering::Acquire)
    }

    /// Marks a request as being answered, until the mark is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Leave to stream without end, if there are not too many streams.
    pub(super) fn stream(self: &Arc<Self>) -> Option<Streaming> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().ok()?;
        Some(Streaming { _busy: self.busy(), _permit: permit })
    }
}

/// A request is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Slot>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream is under way.
#[derive(Debug)]
pub(super) struct Streaming {
    _busy: Busy,
    _permit: OwnedSemaphorePermit,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn slots() -> Slots {
        Slots::new(Limits { connections: 2, reserve: 1, streams: 1, ..Limits::default() })
    }

    fn is_evicted(slot: &Slot) -> bool {
        slot.is_evicted.load(Ordering::Relaxed)
    }

    #[test]
    fn the_connection_that_was_idle_for_longest_gives_way() {
        let slots = slots();
        let (first, second) = (slots.admit(), slots.admit());
        first.progress_ms.store(2, Ordering::Relaxed);
        second.progress_ms.store(1, Ordering::Relaxed);
        let third = slots.admit();
        assert!(is_evicted(&second) && !is_evicted(&first) && !third.is_in_reserve());
        slots.leave(&first);
        assert!(!slots.admit().is_in_reserve() && !is_evicted(&third));
    }

    #[test]
    fn a_busy_connection_stays_and_new_ones_share_the_reserve() {
        let slots = slots();
        let (first, second) = (slots.admit(), slots.admit());
        let (_busy, streaming) = (first.busy(), second.stream().unwrap());
        let probe = slots.admit();
        assert!(probe.is_in_reserve() && !is_evicted(&first) && !is_evicted(&second));
        let next = slots.admit();
        assert!(next.is_in_reserve() && is_evicted(&probe));
        drop(streaming);
        assert!(!slots.admit().is_in_reserve() && is_evicted(&second));
    }

    #[test]
    fn streams_have_a_budget_of_their_own() {
        let slots = slots();
        let (first, second) = (slots.admit(), slots.admit());
        let streaming = first.stream().unwrap();
        assert!(second.stream().is_none());
        drop(streaming);
        assert!(second.stream().is_some());
    }
}
