//! What a generation failed at, until it is behind us.

use std::time::Duration;

/// A generation that lived for so long has shown that it can.
const LONG_ENOUGH: Duration = Duration::from_secs(15);

/// Work at which a generation failed. As long as it is not done, pauses between failures grow, and nobody is told that
/// all is well: a generation that comes up, writes who it is, and fails at the same work again has achieved nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// One past the last record of each input partition that was being worked on.
    taken: Vec<i64>,
    /// How long the next generation has to live, where records do not tell.
    outlive: Duration,
    /// Why a topic refuses our records, if that is it; what else fails, fails for reasons outside.
    refusal: Option<String>,
}

impl Obstacle {
    /// A generation that had taken the input up to `taken` failed after it had lived for `lived`. A `refusal` says why
    /// a topic refused its records; `is_remedied` that it is known which, so that they will be written otherwise.
    #[must_use]
    pub fn new(taken: Vec<i64>, lived: Duration, refusal: Option<String>, is_remedied: bool) -> Self {
        let outlive = if refusal.is_none() || is_remedied { Duration::ZERO } else { lived * 2 };
        Self { taken, outlive: outlive.min(LONG_ENOUGH), refusal }
    }

    /// Another failure before this one was overcome: both have to be.
    #[must_use]
    pub fn and(mut self, mut later: Self) -> Self {
        later.taken.resize(later.taken.len().max(self.taken.len()), i64::MIN);
        self.taken.resize(later.taken.len(), i64::MIN);
        let taken = self.taken.iter().zip(&later.taken).map(|(a, b)| *a.max(b)).collect();
        let outlive = self.outlive.max(later.outlive);
        Self { taken, outlive, refusal: later.refusal.or(self.refusal) }
    }

    /// Whether a generation that has lived for `lived` and committed the input up to `committed` is past it.
    #[must_use]
    pub fn is_overcome(&self, committed: &[i64], lived: Duration) -> bool {
        let is_past = |(taken, committed): (&i64, &i64)| committed >= taken;
        lived >= self.outlive && self.taken.iter().zip(committed).all(is_past)
    }

    /// Why a topic refuses our records, if that is it.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn refused(taken: &[i64], is_remedied: bool) -> Obstacle {
        Obstacle::new(taken.to_vec(), SECOND, Some("too old".into()), is_remedied)
    }

    #[test]
    fn a_commit_that_does_not_reach_the_failed_work_is_no_progress() {
        let obstacle = Obstacle::new(vec![10, 20], SECOND, None, false);
        assert!(!obstacle.is_overcome(&[10, 19], SECOND * 60));
        assert!(!obstacle.is_overcome(&[9, 30], SECOND * 60));
        assert!(obstacle.is_overcome(&[10, 20], Duration::ZERO));
    }

    #[test]
    fn where_nothing_says_what_was_refused_a_generation_has_to_live_longer_than_the_one_that_failed() {
        assert!(!refused(&[10], false).is_overcome(&[10], SECOND));
        assert!(refused(&[10], false).is_overcome(&[10], SECOND * 2));
        assert!(refused(&[10], true).is_overcome(&[10], Duration::ZERO));
        let after_a_day = Obstacle::new(vec![], SECOND * 86_400, Some("too large".into()), false);
        assert!(after_a_day.is_overcome(&[], LONG_ENOUGH));
    }

    #[test]
    fn of_several_failures_all_have_to_be_overcome() {
        let both = refused(&[10, 20], false).and(Obstacle::new(vec![30], SECOND, None, false));
        assert_eq!(both.refusal(), Some("too old"));
        assert!(!both.is_overcome(&[10, 20], SECOND * 2));
        assert!(!both.is_overcome(&[30, 20], SECOND));
        assert!(both.is_overcome(&[30, 20], SECOND * 2));
    }
}
