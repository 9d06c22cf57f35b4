//! The broker's clock, kept by a clock of this host that may show another time.

use crate::TimestampMs;

/// When the host's wall clock and its monotonic clock disagree by more than this since the broker's clock was seen,
/// one of them jumped: somebody set the clock, or the host slept.
const EVEN_MS: i64 = 2_000;

/// A difference this small may be the time that the record was on its way: both clocks are taken for the same.
const NEAR_MS: u64 = 2_000;

/// The clocks of this host at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Wall clock.
    pub wall: TimestampMs,
    /// Monotonic clock of any origin.
    pub elapsed_ms: i64,
}

/// What the broker's clock showed, and this host's at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    broker: TimestampMs,
    host: Reading,
}

impl Anchor {
    /// The broker's clock showed `broker` when this host's wall clock showed `wall`, not long before `now`.
    #[must_use]
    pub fn new(wall: TimestampMs, broker: TimestampMs, now: Reading) -> Self {
        let is_near = wall.0.abs_diff(broker.0) <= NEAR_MS;
        let broker = if is_near { wall } else { broker };
        let since_ms = now.wall.0.saturating_sub(wall.0);
        Self { broker, host: Reading { wall, elapsed_ms: now.elapsed_ms.saturating_sub(since_ms) } }
    }

    /// How far this host's wall clock is ahead of the broker's.
    #[must_use]
    pub fn host_ahead_ms(&self) -> i64 {
        self.host.wall.0.saturating_sub(self.broker.0)
    }

    /// The broker's clock; `None` if the host's clocks have not run evenly, so that it is not sure.
    #[must_use]
    pub fn broker_now(&self, now: Reading) -> Option<TimestampMs> {
        let (by_wall, by_monotonic) = self.both(now);
        (by_wall.0.abs_diff(by_monotonic.0) <= EVEN_MS.unsigned_abs()).then_some(by_monotonic)
    }

    /// The best guess at the broker's clock: if the host's clocks have not run evenly, the later of both. A host that
    /// slept has a monotonic clock that is late; a clock that was set back is late too.
    #[must_use]
    pub fn now(&self, now: Reading) -> TimestampMs {
        let (by_wall, by_monotonic) = self.both(now);
        self.broker_now(now).unwrap_or(by_wall.max(by_monotonic))
    }

    fn both(&self, now: Reading) -> (TimestampMs, TimestampMs) {
        let on = |ms: i64| TimestampMs(self.broker.0.saturating_add(ms));
        (
            on(now.wall.0.saturating_sub(self.host.wall.0)),
            on(now.elapsed_ms.saturating_sub(self.host.elapsed_ms)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall: i64, elapsed_ms: i64) -> Reading {
        Reading { wall: TimestampMs(wall), elapsed_ms }
    }

    /// The broker showed 1,000,000 when the host, an hour behind it, showed 1,000,000 - 3,600,000.
    fn anchor() -> Anchor {
        Anchor::new(TimestampMs(-2_600_000), TimestampMs(1_000_000), reading(-2_599_900, 600))
    }

    #[test]
    fn the_brokers_clock_goes_on_though_the_hosts_shows_another_time() {
        assert_eq!(anchor().host_ahead_ms(), -3_600_000);
        assert_eq!(anchor().broker_now(reading(-2_540_000, 60_500)), Some(TimestampMs(1_060_000)));
    }

    #[test]
    fn clocks_that_differ_by_less_than_a_record_is_on_its_way_are_the_same() {
        let anchor = Anchor::new(TimestampMs(5_000), TimestampMs(6_000), reading(5_000, 0));
        assert_eq!((anchor.host_ahead_ms(), anchor.now(reading(5_100, 100))), (0, TimestampMs(5_100)));
    }

    #[test]
    fn when_the_hosts_clocks_disagree_the_brokers_is_not_sure_and_the_later_is_the_guess() {
        let set_back = reading(-2_540_000 - 60_000, 60_500);
        assert_eq!(anchor().broker_now(set_back), None);
        assert_eq!(anchor().now(set_back), TimestampMs(1_060_000));
        let slept = reading(-2_540_000, 500);
        assert_eq!(anchor().broker_now(slept), None);
        assert_eq!(anchor().now(slept), TimestampMs(1_060_000));
    }
}
