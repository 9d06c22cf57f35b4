//! Learning the broker's clock, which dates the records, from the owner record of a generation.

use std::time::Duration;

use tidegate_core::{TimestampMs, topic_limits::TopicLimits};
use tidegate_host::Clock;

use super::owner::Owner;

/// Clocks this far apart are worth a word: within it nothing that people look at is wrong.
const WORTH_A_WORD_MS: u64 = 30_000;

/// Reads back when the owner record that was just committed was written, by this host's clock and by the broker's.
pub(crate) fn take(owner: &Owner, clock: &Clock, state: TopicLimits) {
    if !state.appends_time {
        return clock.expect(false);
    }
    let (owner, clock) = (owner.clone(), clock.clone());
    tokio::task::spawn_blocking(move || {
        match owner.written_at() {
            Ok(Some((host, broker))) => learn(&clock, host, broker),
            Ok(None) => tracing::debug!("the broker's clock is not known: no owner record is found"),
            Err(error) => tracing::debug!(%error, "the broker's clock is not known"),
        }
        clock.expect(false);
    });
}

/// The broker's clock showed `broker` when this host's showed `host`.
pub(crate) fn learn(clock: &Clock, host: TimestampMs, broker: TimestampMs) {
    let ahead_ms = clock.learn(host, broker);
    if ahead_ms.unsigned_abs() > WORTH_A_WORD_MS {
        let off = Duration::from_millis(ahead_ms.unsigned_abs());
        let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
        tracing::error!(
            host_clock_ms = host.0,
            broker_clock_ms = broker.0,
            "this host's clock is {off:?} {way} the broker's: set it right; until then the broker's time is used"
        );
    }
}
