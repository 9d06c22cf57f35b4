//! The limit on open windows.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many windows are open, over all [`Windows`](super::Windows) that share it, and how many may be.
///
/// The limit decides about services that have no open window. The others may open more, so that none is
/// counted in one window and forgotten in the next; the number can therefore pass the limit.
#[derive(Debug)]
pub struct OpenWindows {
    limit: usize,
    open: AtomicUsize,
}

impl OpenWindows {
    /// None open yet; new services are refused from `limit` on.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, open: AtomicUsize::new(0) }
    }

    /// How many windows are open.
    #[must_use]
    pub fn count(&self) -> usize {
        // Nothing but the number itself is shared, so no ordering is needed.
        self.open.load(Ordering::Relaxed)
    }

    /// Whether a service without an open window may open one.
    pub(super) fn has_room(&self) -> bool {
        self.count() < self.limit
    }

    /// A window was opened.
    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Windows were closed.
    pub(super) fn closed(&self, windows: usize) {
        self.open.fetch_sub(windows, Ordering::Relaxed);
    }
}
