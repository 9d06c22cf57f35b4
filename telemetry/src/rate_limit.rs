//! Keeps input from flooding the logs.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Lets one log line through per interval and counts the others. Costs no lock.
///
/// ```
/// # use std::time::Duration;
/// static REJECTED: tidegate_telemetry::RateLimit =
/// tidegate_telemetry::RateLimit::new(Duration::from_secs(10)); if let Some(suppressed) = REJECTED.allow() {
///    tracing::warn!(suppressed, "records are rejected; see the dead-letter topic"); } ```
#[derive(Debug)]
pub struct RateLimit {
    interval_ns: u64,
    /// Nanoseconds since [`ORIGIN`] before which nothing is let through.
    next_ns: AtomicU64,
    suppressed: AtomicU64,
}

/// Zero of the limits' clock.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl RateLimit {
    /// At most one line per `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval_ns: interval.as_nanos() as u64,
            next_ns: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Whether to log now; if so, how many lines were suppressed since the last one.
    #[must_use]
    pub fn allow(&self) -> Option<u64> {
        self.allow_at(ORIGIN.elapsed().as_nanos() as u64)
    }

    fn allow_at(&self, now_ns: u64) -> Option<u64> {
        let next_ns = self.next_ns.load(Relaxed);
        let won = now_ns >= next_ns
            && self
                .next_ns
                .compare_exchange(next_ns, now_ns.saturating_add(self.interval_ns), Relaxed, Relaxed)
                .is_ok();
        if won {
            return Some(self.suppressed.swap(0, Relaxed));
        }
        self.suppressed.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_says_how_many_were_suppressed() {
        let limit = RateLimit::new(Duration::from_secs(1));
        let second = 1_000_000_000;
        assert_eq!(limit.allow_at(0), Some(0));
        assert_eq!(limit.allow_at(1), None);
        assert_eq!(limit.allow_at(second - 1), None);
        assert_eq!(limit.allow_at(second), Some(2));
        assert_eq!(limit.allow_at(3 * second), Some(0));
    }
}
