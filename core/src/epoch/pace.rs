//! When the barrier cuts: at the interval, sooner for alerts and at the start, at once when the budget is used up or
//! the pipeline drains. One epoch at a time. All times are since the generation began.

use std::time::Duration;

/// Cuts for alerts are at least a tenth of the interval apart, so that a storm of them does not turn the whole time
/// into commits.
const EARLY_CUTS_PER_INTERVAL: u32 = 10;
/// A generation cuts early until its second commit: the first may hold nothing but the owner's name. And no longer
/// than [`EARLY_FOR`]: with nothing to read there is nothing to hurry for.
const EARLY_COMMITS: u32 = 2;
const EARLY_FOR: Duration = Duration::from_secs(1);

/// What was asked for, and what has been cut.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    /// When the next cut is due if nothing asks for one.
    due: Duration,
    last_cut: Duration,
    commits: u32,
    is_open: bool,
    is_wanted: bool,
    is_draining: bool,
    /// The last cut of a drain is made.
    is_done: bool,
}

/// When to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Not before the epoch that is under way is finished; behind the last one of a drain never.
    Later,
    /// At this time, unless something asks for it sooner.
    At(Duration),
    /// At once.
    Now,
}

impl Pace {
    /// Nothing was cut yet; the first cut is due at once.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            due: Duration::ZERO,
            last_cut: Duration::ZERO,
            commits: 0,
            is_open: false,
            is_wanted: false,
            is_draining: false,
            is_done: false,
        }
    }

    /// An alert crossed: its commit should not wait for the interval.
    pub fn hurry(&mut self) {
        self.is_wanted = true;
    }

    /// The budget of bytes is used up. While an epoch is under way, its end may be all that is needed; who ran out of
    /// budget asks again.
    pub fn budget_used(&mut self, now: Duration) {
        if !self.is_open {
            self.due = now;
        }
    }

    /// What is there is to be committed, and then nothing more comes.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Whether the next cut is the last.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// An epoch is cut.
    pub fn cut(&mut self, now: Duration) {
        (self.last_cut, self.due) = (now, now + self.interval);
        (self.is_wanted, self.is_open) = (false, true);
        self.is_done = self.is_draining;
    }

    /// The epoch that was cut last is committed, or it was empty.
    pub fn finished(&mut self, is_committed: bool) {
        self.is_open = false;
        self.commits += u32::from(is_committed);
    }

    /// When to cut next, as far as is known now.
    #[must_use]
    pub fn when(&self, now: Duration) -> When {
        if self.is_open || self.is_done {
            return When::Later;
        }
        let is_starting = self.commits < EARLY_COMMITS && now < EARLY_FOR;
        let at = match (self.is_draining, self.is_wanted || is_starting) {
            (true, _) => now,
            (false, true) => self.due.min(self.last_cut + self.interval / EARLY_CUTS_PER_INTERVAL),
            (false, false) => self.due,
        };
        if at <= now { When::Now } else { When::At(at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Long after its start: the last epoch was cut at 10 s and is committed.
    fn running() -> Pace {
        let mut pace = Pace::new(ms(250));
        for at in [0, 25, 10_000] {
            pace.cut(ms(at));
            pace.finished(true);
        }
        pace
    }

    #[test]
    fn epochs_are_an_interval_apart() {
        let pace = running();
        assert_eq!(pace.when(ms(10_001)), When::At(ms(10_250)));
        assert_eq!(pace.when(ms(10_250)), When::Now);
    }

    #[test]
    fn one_epoch_is_cut_at_a_time_whatever_asks_for_the_next() {
        let mut pace = running();
        pace.cut(ms(10_250));
        pace.hurry();
        pace.budget_used(ms(10_300));
        pace.drain();
        assert_eq!(pace.when(ms(20_000)), When::Later);
        pace.finished(false);
        assert_eq!(pace.when(ms(20_000)), When::Now);
    }

    #[test]
    fn an_alert_does_not_wait_for_the_interval_but_for_a_tenth_of_it() {
        let mut pace = running();
        pace.hurry();
        assert_eq!(pace.when(ms(10_010)), When::At(ms(10_025)));
        assert_eq!(pace.when(ms(10_025)), When::Now);
        pace.cut(ms(10_025));
        pace.finished(true);
        assert_eq!(pace.when(ms(10_050)), When::At(ms(10_275)), "what was asked for is done");
    }

    #[test]
    fn an_alert_while_an_epoch_is_under_way_hurries_the_next() {
        let mut pace = running();
        pace.cut(ms(10_250));
        pace.hurry();
        pace.finished(true);
        assert_eq!(pace.when(ms(10_260)), When::At(ms(10_275)));
    }

    #[test]
    fn a_budget_that_is_used_up_cuts_at_once_unless_an_epoch_is_under_way() {
        let mut pace = running();
        pace.budget_used(ms(10_003));
        assert_eq!(pace.when(ms(10_003)), When::Now);
        pace.cut(ms(10_003));
        pace.budget_used(ms(10_004));
        pace.finished(true);
        assert_eq!(pace.when(ms(10_010)), When::At(ms(10_253)));
    }

    #[test]
    fn a_drain_cuts_at_once() {
        let mut pace = running();
        pace.drain();
        assert_eq!((pace.when(ms(10_001)), pace.is_draining()), (When::Now, true));
    }

    #[test]
    fn behind_the_last_cut_of_a_drain_nothing_is_cut() {
        let mut pace = running();
        pace.cut(ms(10_250));
        pace.drain();
        pace.finished(true);
        assert_eq!(pace.when(ms(10_260)), When::Now, "the epoch under way was not the last");
        pace.cut(ms(10_260));
        pace.finished(true);
        assert_eq!(pace.when(ms(60_000)), When::Later);
    }

    #[test]
    fn a_generation_hurries_until_its_second_commit_but_not_for_longer_than_a_second() {
        let mut pace = Pace::new(ms(250));
        assert_eq!(pace.when(ms(0)), When::Now);
        pace.cut(ms(0));
        pace.finished(true);
        assert_eq!(pace.when(ms(5)), When::At(ms(25)));
        pace.cut(ms(25));
        pace.finished(false);
        assert_eq!(pace.when(ms(30)), When::At(ms(50)), "an empty epoch is no commit");
        assert_eq!(pace.when(ms(1_000)), When::Now, "the interval is over");
        pace.cut(ms(1_000));
        pace.finished(false);
        assert_eq!(pace.when(ms(1_001)), When::At(ms(1_250)));
    }
}
