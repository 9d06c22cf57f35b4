//! What a topic takes, as far as its settings tell, and what to do about a record that it does not take.

use std::fmt;

use crate::TimestampMs;

/// A record this near to a limit of time is left to the broker, whose clock decides: what is known of that clock is
/// not exact.
const MARGIN_MS: i64 = 60_000;

/// Settings of a topic by which its broker refuses records for good. The default takes everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicLimits {
    /// `cleanup.policy` has `compact`: a record without a key is refused.
    pub needs_key: bool,
    /// `message.timestamp.before.max.ms`; `None`: a timestamp may be as old as it likes.
    pub oldest_ms: Option<i64>,
    /// `message.timestamp.after.max.ms`; `None`: it may lie as far ahead as it likes.
    pub newest_ms: Option<i64>,
    /// `message.timestamp.type` is `LogAppendTime`: the broker's clock dates the records, whatever they say.
    pub appends_time: bool,
}

/// Why a topic does not take a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A compacted topic takes no record without a key.
    NoKey,
    /// The timestamp lies too far behind the broker's clock.
    TooOld {
        /// By how much.
        behind_ms: i64,
        /// What the topic takes.
        limit_ms: i64,
    },
    /// The timestamp lies too far ahead of the broker's clock.
    TooNew {
        /// By how much.
        ahead_ms: i64,
        /// What the topic takes.
        limit_ms: i64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => write!(f, "the topic is compacted and takes no record without a key"),
            Self::TooOld { behind_ms, limit_ms } => write!(
                f,
                "the timestamp is {behind_ms} ms behind the broker's clock, the topic takes {limit_ms} \
                 (message.timestamp.before.max.ms)"
            ),
            Self::TooNew { ahead_ms, limit_ms } => write!(
                f,
                "the timestamp is {ahead_ms} ms ahead of the broker's clock, the topic takes {limit_ms} \
                 (message.timestamp.after.max.ms)"
            ),
        }
    }
}

impl TopicLimits {
    /// Whether the topic is sure to refuse a record; `broker_now` is the broker's clock, if it is known. Without it,
    /// and near a limit, the broker decides.
    #[must_use]
    pub fn refusal(
        &self,
        timestamp: TimestampMs,
        has_key: bool,
        broker_now: Option<TimestampMs>,
    ) -> Option<Refusal> {
        if self.needs_key && !has_key {
            return Some(Refusal::NoKey);
        }
        // A record without a timestamp is always taken.
        if self.appends_time || timestamp.0 < 0 {
            return None;
        }
        let ahead_ms = timestamp.0.saturating_sub(broker_now?.0);
        let behind_ms = ahead_ms.saturating_neg();
        if let Some(limit_ms) = self.oldest_ms.filter(|limit| behind_ms > limit.saturating_add(MARGIN_MS)) {
            return Some(Refusal::TooOld { behind_ms, limit_ms });
        }
        if let Some(limit_ms) = self.newest_ms.filter(|limit| ahead_ms > limit.saturating_add(MARGIN_MS)) {
            return Some(Refusal::TooNew { ahead_ms, limit_ms });
        }
        None
    }

    /// The timestamp nearest to `timestamp` that the topic takes, with some room for the clocks; unchanged where all
    /// are taken, or where the broker's clock is not known.
    #[must_use]
    pub fn clamp(&self, timestamp: TimestampMs, broker_now: Option<TimestampMs>) -> TimestampMs {
        let Some(now) = broker_now.filter(|_| !self.appends_time && timestamp.0 >= 0) else {
            return timestamp;
        };
        let room = |limit_ms: i64| limit_ms - MARGIN_MS.min(limit_ms / 2);
        let oldest = self.oldest_ms.map_or(i64::MIN, |limit| now.0.saturating_sub(room(limit)));
        let newest = self.newest_ms.map_or(i64::MAX, |limit| now.0.saturating_add(room(limit)));
        TimestampMs(timestamp.0.min(newest).max(oldest).max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_760_000_000_000);
    const HOUR: i64 = 3_600_000;

    fn hours(hours: i64) -> TimestampMs {
        TimestampMs(NOW.0 + hours * HOUR)
    }

    fn limited() -> TopicLimits {
        TopicLimits { oldest_ms: Some(7 * HOUR), newest_ms: Some(HOUR), ..TopicLimits::default() }
    }

    #[test]
    fn a_topic_without_limits_takes_everything() {
        for timestamp in [TimestampMs(-1), TimestampMs(0), NOW, TimestampMs(i64::MAX)] {
            assert_eq!(TopicLimits::default().refusal(timestamp, false, Some(NOW)), None);
            assert_eq!(TopicLimits::default().clamp(timestamp, Some(NOW)), timestamp);
        }
    }

    #[test]
    fn a_timestamp_is_refused_that_is_too_old_or_too_far_ahead_for_the_brokers_clock() {
        let refusal = |timestamp| limited().refusal(timestamp, true, Some(NOW));
        assert_eq!(refusal(hours(-8)), Some(Refusal::TooOld { behind_ms: 8 * HOUR, limit_ms: 7 * HOUR }));
        assert_eq!(refusal(hours(2)), Some(Refusal::TooNew { ahead_ms: 2 * HOUR, limit_ms: HOUR }));
        assert_eq!((refusal(hours(-6)), refusal(NOW)), (None, None));
    }

    #[test]
    fn near_a_limit_and_without_the_brokers_clock_the_broker_decides() {
        assert_eq!(limited().refusal(hours(-7), true, Some(NOW)), None);
        assert_eq!(limited().refusal(TimestampMs(hours(1).0 + MARGIN_MS), true, Some(NOW)), None);
        assert_eq!(limited().refusal(hours(-80), true, None), None);
    }

    #[test]
    fn where_the_broker_dates_the_records_and_where_a_record_has_no_date_none_is_refused_for_it() {
        let appends = TopicLimits { appends_time: true, ..limited() };
        assert_eq!(appends.refusal(hours(-80), true, Some(NOW)), None);
        assert_eq!(appends.clamp(hours(-80), Some(NOW)), hours(-80));
        assert_eq!(limited().refusal(TimestampMs(-1), true, Some(NOW)), None);
    }

    #[test]
    fn a_compacted_topic_needs_a_key_whatever_the_clock() {
        let compacted = TopicLimits { needs_key: true, ..TopicLimits::default() };
        assert_eq!(compacted.refusal(NOW, false, None), Some(Refusal::NoKey));
        assert_eq!(compacted.refusal(NOW, true, None), None);
    }

    #[test]
    fn a_timestamp_that_is_clamped_is_taken_even_if_the_clock_is_off_by_a_little() {
        for (oldest, newest) in [(7 * HOUR, HOUR), (1000, 1000), (0, 0), (i64::MAX, i64::MAX)] {
            let limits =
                TopicLimits { oldest_ms: Some(oldest), newest_ms: Some(newest), ..TopicLimits::default() };
            for timestamp in [TimestampMs(0), hours(-8), NOW, hours(8), TimestampMs(i64::MAX)] {
                let clamped = limits.clamp(timestamp, Some(NOW));
                let (behind, ahead) = (NOW.0 - clamped.0, clamped.0.saturating_sub(NOW.0));
                assert!(behind <= oldest && ahead <= newest, "{clamped} with {oldest} and {newest}");
            }
        }
        assert_eq!(limited().clamp(NOW, Some(NOW)), NOW);
    }
}
