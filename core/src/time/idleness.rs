//! When an input partition is idle: read to its end, and silent for so long that it must not hold the others' windows
//! open. All times are of one monotonic clock, in milliseconds.

/// When silence means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleLimits {
    /// How long a partition has to be silent, in milliseconds.
    pub idle_after_ms: i64,
    /// How far cuts are apart as a rule, in milliseconds.
    pub interval_ms: i64,
}

/// The silence of one input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idleness {
    limits: IdleLimits,
    /// When something last spoke against idleness.
    active_ms: i64,
    last_cut_ms: i64,
}

impl Idleness {
    /// A partition that may bring records from `now_ms` on.
    #[must_use]
    pub fn new(limits: IdleLimits, now_ms: i64) -> Self {
        Self { limits, active_ms: now_ms, last_cut_ms: now_ms }
    }

    /// Records came.
    pub fn records(&mut self, now_ms: i64) {
        self.active_ms = now_ms;
    }

    /// Whether the partition is idle as of a cut at `now_ms`. `is_at_end`: all that was read is passed on, and nothing
    /// more was there. While the log does not answer, silence says nothing.
    pub fn at_cut(&mut self, now_ms: i64, log_is_up: bool, is_at_end: bool) -> bool {
        if !log_is_up || self.was_held_up(now_ms) {
            self.active_ms = now_ms;
        }
        self.last_cut_ms = now_ms;
        is_at_end && now_ms - self.active_ms >= self.limits.idle_after_ms
    }

    /// Whether a cut comes so much later than it should that the process was paused, or that a commit held the reader
    /// back: records may be waiting.
    fn was_held_up(&self, now_ms: i64) -> bool {
        let IdleLimits { idle_after_ms, interval_ms } = self.limits;
        now_ms - self.last_cut_ms > (2 * interval_ms).max(idle_after_ms / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: IdleLimits = IdleLimits { idle_after_ms: 10_000, interval_ms: 250 };

    /// Cuts come every 250 ms up to `until_ms`; says when the partition first was idle.
    fn idle_since(idleness: &mut Idleness, from_ms: i64, until_ms: i64) -> Option<i64> {
        let cuts = (1..).map(|cut| from_ms + cut * 250).take_while(|now| *now <= until_ms);
        cuts.filter(|now| idleness.at_cut(*now, true, true)).min()
    }

    #[test]
    fn a_partition_at_its_end_is_idle_once_it_was_silent_for_long_enough() {
        let mut idleness = Idleness::new(LIMITS, 0);
        assert_eq!(idle_since(&mut idleness, 0, 20_000), Some(10_000));
    }

    #[test]
    fn records_end_idleness_and_the_silence_begins_anew() {
        let mut idleness = Idleness::new(LIMITS, 0);
        idle_since(&mut idleness, 0, 12_000);
        idleness.records(12_100);
        assert_eq!(idle_since(&mut idleness, 12_000, 30_000), Some(22_250));
    }

    #[test]
    fn a_partition_with_records_still_to_pass_on_or_to_read_is_not_idle() {
        let mut idleness = Idleness::new(LIMITS, 0);
        for cut in 1..100 {
            assert!(!idleness.at_cut(cut * 250, true, false));
        }
        assert!(idleness.at_cut(25_000, true, true));
    }

    #[test]
    fn while_the_log_does_not_answer_silence_says_nothing() {
        let mut idleness = Idleness::new(LIMITS, 0);
        for cut in 1..=80 {
            assert!(!idleness.at_cut(cut * 250, false, true));
        }
        assert_eq!(idle_since(&mut idleness, 20_000, 40_000), Some(30_000));
    }

    #[test]
    fn after_a_cut_that_was_held_up_the_silence_begins_anew() {
        let mut idleness = Idleness::new(LIMITS, 0);
        idle_since(&mut idleness, 0, 9_000);
        assert!(!idleness.at_cut(15_000, true, true), "six seconds without a cut");
        assert_eq!(idle_since(&mut idleness, 15_000, 40_000), Some(25_000));
    }

    #[test]
    fn with_a_long_interval_only_a_gap_of_more_than_two_intervals_was_held_up() {
        let mut idleness = Idleness::new(IdleLimits { idle_after_ms: 10_000, interval_ms: 8_000 }, 0);
        assert!(idleness.at_cut(16_000, true, true));
        assert!(!idleness.at_cut(32_001, true, true));
    }
}
