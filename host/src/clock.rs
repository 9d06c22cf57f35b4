//! The one place that asks the time.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidegate_core::{
    TimestampMs,
    broker_clock::{Anchor, Reading},
};
use tokio::sync::watch;

/// Wall clock, monotonic clock, and the broker's clock as far as it is known. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    anchor: Arc<Mutex<Option<Anchor>>>,
    /// Whether word of the broker's clock is on its way.
    awaited: watch::Sender<bool>,
    /// Records of our own were refused for their time, and nothing told what time it is.
    is_doubted: Arc<AtomicBool>,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            anchor: Arc::default(),
            awaited: watch::Sender::new(false),
            is_doubted: Arc::default(),
        }
    }

    /// The time: the broker's, once it is known, for that is the time of the records; else the wall clock's.
    #[must_use]
    pub fn now(&self) -> TimestampMs {
        let reading = self.reading();
        self.anchor().map_or(reading.wall, |anchor| anchor.now(reading))
    }

    /// The timestamp for a record of our own: the time, or none if that was refused. One without is always taken.
    #[must_use]
    pub fn record_time(&self) -> TimestampMs {
        if self.is_doubted.load(Ordering::Relaxed) { TimestampMs(-1) } else { self.now() }
    }

    /// Records of our own were refused, maybe for their time.
    pub fn doubt(&self) {
        self.is_doubted.store(true, Ordering::Relaxed);
    }

    /// The broker's clock, if it is known for sure: the host's has run evenly since.
    #[must_use]
    pub fn broker_now(&self) -> Option<TimestampMs> {
        self.anchor()?.broker_now(self.reading())
    }

    /// Wall clock of this host, milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall(&self) -> TimestampMs {
        let since_epoch = wall_time().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        TimestampMs(since_epoch.as_millis() as i64 + test_offset_ms())
    }

    /// Time since the clock was started; never goes back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Milliseconds since the clock was started; never goes back.
    #[must_use]
    pub fn elapsed_ms(&self) -> i64 {
        self.elapsed().as_millis() as i64
    }

    /// The broker's clock showed `broker` when this host's showed `wall`, a moment ago. Returns how far this host's
    /// is ahead.
    pub fn learn(&self, wall: TimestampMs, broker: TimestampMs) -> i64 {
        let anchor = Anchor::new(wall, broker, self.reading());
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = Some(anchor);
        self.is_doubted.store(false, Ordering::Relaxed);
        self.awaited.send_replace(false);
        anchor.host_ahead_ms()
    }

    /// Word of the broker's clock is on its way, or will not come after all.
    pub fn expect(&self, expected: bool) {
        self.awaited.send_replace(expected && self.anchor().is_none());
    }

    /// Whether word of the broker's clock is on its way.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        *self.awaited.borrow()
    }

    /// Waits until the broker's clock is known, or is not awaited any more.
    pub async fn settled(&self, timeout: Duration) {
        let mut awaited = self.awaited.subscribe();
        // Too late or never: the host's clock has to do.
        let _ = tokio::time::timeout(timeout, awaited.wait_for(|awaited| !awaited)).await;
    }

    fn anchor(&self) -> Option<Anchor> {
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reading(&self) -> Reading {
        Reading { wall: self.wall(), elapsed_ms: self.elapsed_ms() }
    }
}

/// Wall clock of this host.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub fn wall_time() -> SystemTime {
    SystemTime::now()
}

/// Tests set the host's clock wrong by this much.
#[cfg(feature = "failpoints")]
fn test_offset_ms() -> i64 {
    static OFFSET: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let ask = || std::env::var("TIDEGATE_TEST_CLOCK_OFFSET_MS").ok()?.parse().ok();
    *OFFSET.get_or_init(|| ask().unwrap_or(0))
}

#[cfg(not(feature = "failpoints"))]
const fn test_offset_ms() -> i64 {
    0
}
