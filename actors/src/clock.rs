//! The one place that asks the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_core::TimestampMs;

/// Wall clock and monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Wall clock, milliseconds since the Unix epoch.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(self) -> TimestampMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        TimestampMs(since_epoch.as_millis() as i64)
    }

    /// Milliseconds since the clock was started; never goes back.
    #[must_use]
    pub fn elapsed_ms(self) -> i64 {
        self.started.elapsed().as_millis() as i64
    }
}
