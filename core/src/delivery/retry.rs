//! What follows from a destination's answer, and how soon to try again.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause, unless the destination asks for a longer one.
const LONGEST: Duration = Duration::from_secs(60);
/// A destination that asks for more than this is asked again after this.
const LONGEST_ASKED: Duration = Duration::from_secs(60 * 60);

/// What kind of answer an HTTP status is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is delivered.
    Delivered,
    /// Not now: try again.
    TryAgain,
    /// Never, as it is.
    Refused,
}

impl Answer {
    /// Of an HTTP status: 2xx is delivered; 408, 425, 429 and 5xx are worth another try; any other is a refusal.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Delivered,
            408 | 425 | 429 | 500..=599 => Self::TryAgain,
            _ => Self::Refused,
        }
    }
}

/// Tries of one delivery. All times are of one monotonic clock.
#[derive(Debug, Clone)]
pub struct Retry {
    /// How long one delivery is tried; `None` for ever.
    give_up_after: Option<Duration>,
    first_try: Duration,
    pause: Duration,
}

/// What to do after a try that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Try again at this time.
    At(Duration),
    /// It was tried for long enough.
    GiveUp,
}

impl Retry {
    /// A delivery that is tried first at `now`.
    #[must_use]
    pub fn new(give_up_after: Option<Duration>, now: Duration) -> Self {
        Self { give_up_after, first_try: now, pause: FIRST }
    }

    /// A try failed. The pause doubles with each and is shortened by a part of it that `chance` (0 to 1) decides, so
    /// that many who were refused at once do not come back at once. `asked` is what the destination asked for
    /// (`Retry-After`): it is never asked again sooner.
    pub fn failed(&mut self, now: Duration, chance: f64, asked: Option<Duration>) -> AfterFailure {
        if self.give_up_after.is_some_and(|limit| now.saturating_sub(self.first_try) >= limit) {
            return AfterFailure::GiveUp;
        }
        let pause = self.pause.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0);
        self.pause = (self.pause * 2).min(LONGEST);
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        AfterFailure::At(now + pause.max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn overload_and_failures_of_the_destination_are_worth_another_try_and_other_answers_are_final() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(Answer::of_status(status), Answer::TryAgain, "{status}");
        }
        for status in [301, 400, 401, 404, 409, 410, 413, 422] {
            assert_eq!(Answer::of_status(status), Answer::Refused, "{status}");
        }
        assert_eq!(Answer::of_status(202), Answer::Delivered);
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut retry = Retry::new(None, s(0));
        let pauses: Vec<_> = (0..10).map(|_| retry.failed(s(0), 0.0, None)).collect();
        assert_eq!(pauses[..3], [200, 400, 800].map(|ms| AfterFailure::At(Duration::from_millis(ms))));
        assert_eq!(pauses[9], AfterFailure::At(s(60)));
    }

    #[test]
    fn chance_shortens_a_pause_by_half_at_most() {
        let half = Retry::new(None, s(5)).failed(s(5), 1.0, None);
        assert_eq!(half, AfterFailure::At(s(5) + Duration::from_millis(100)));
    }

    #[test]
    fn a_destination_that_says_when_is_not_asked_sooner_and_not_later_than_in_an_hour() {
        let after = |asked| Retry::new(None, s(0)).failed(s(0), 0.5, Some(asked));
        assert_eq!(after(s(30)), AfterFailure::At(s(30)));
        assert_eq!(after(s(86_400)), AfterFailure::At(s(3_600)));
    }

    #[test]
    fn a_delivery_is_given_up_after_its_time_and_without_one_never() {
        let mut retry = Retry::new(Some(s(10)), s(100));
        assert_ne!(retry.failed(s(109), 0.0, None), AfterFailure::GiveUp);
        assert_eq!(retry.failed(s(110), 0.0, None), AfterFailure::GiveUp);
        let mut patient = Retry::new(None, s(0));
        assert_ne!(patient.failed(s(1_000_000), 0.0, None), AfterFailure::GiveUp);
    }
}
