//! The budget of bytes in flight.
//!
//! Mailboxes are unbounded, so this is what bounds memory: the reader spends bytes when it hands a batch on,
//! the committer gives them back when the batch's epoch is committed. One budget serves all partitions: they
//! share the pools and the transaction, so none can starve another by holding it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes read and not yet committed, against their limit. A generation has one of its own, so that what a
/// failed one held is forgotten with it.
#[derive(Debug)]
pub struct Credits {
    limit: usize,
    used: AtomicUsize,
}

impl Credits {
    /// Nothing is used of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Whether more may be read. A batch may overshoot the limit once, so that one larger than the limit
    /// still passes.
    #[must_use]
    pub fn available(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.limit
    }

    /// Takes `bytes` from the budget.
    pub fn spend(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives `bytes` back.
    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_stops_at_the_limit_and_goes_on_after_a_commit() {
        let credits = Credits::new(100);
        assert!(credits.available());
        credits.spend(150);
        assert!(!credits.available());
        credits.give_back(60);
        assert!(credits.available());
    }
}
