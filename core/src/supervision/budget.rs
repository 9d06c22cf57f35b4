//! How many restarts are normal before something is really wrong.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Restarts allowed within a sliding window of time.
#[derive(Debug)]
pub struct RestartBudget {
    max: usize,
    window: Duration,
    recent: VecDeque<(Instant, String)>,
}

/// More restarts than allowed; the causes, oldest first.
#[derive(Debug, thiserror::Error)]
#[error("{} failures within {window:?}, more than supervision.max_restarts allows: {}", .causes.len(), .causes.join("; "))]
pub struct BudgetExhausted {
    /// The window they fell into.
    pub window: Duration,
    /// What failed, oldest first.
    pub causes: Vec<String>,
}

impl RestartBudget {
    /// Allows `max` restarts within any `window`.
    #[must_use]
    pub fn new(max: usize, window: Duration) -> Self {
        Self { max, window, recent: VecDeque::new() }
    }

    /// Spends one restart at `now`.
    ///
    /// # Errors
    /// If it is one too many.
    pub fn spend(&mut self, now: Instant, cause: String) -> Result<(), BudgetExhausted> {
        let window = self.window;
        self.recent.retain(|(at, _)| now.duration_since(*at) < window);
        self.recent.push_back((now, cause));
        if self.recent.len() <= self.max {
            return Ok(());
        }
        Err(BudgetExhausted { window, causes: self.recent.iter().map(|(_, cause)| cause.clone()).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_restart_more_than_allowed_within_the_window_names_all_causes() {
        let start = Instant::now();
        let mut budget = RestartBudget::new(2, Duration::from_secs(60));
        assert!(budget.spend(start, "a".into()).is_ok());
        assert!(budget.spend(start, "b".into()).is_ok());
        let exhausted = budget.spend(start + Duration::from_secs(59), "c".into()).expect_err("one too many");
        assert_eq!(exhausted.causes, ["a", "b", "c"]);
    }

    #[test]
    fn restarts_older_than_the_window_are_forgiven() {
        let start = Instant::now();
        let mut budget = RestartBudget::new(1, Duration::from_secs(60));
        assert!(budget.spend(start, "a".into()).is_ok());
        assert!(budget.spend(start + Duration::from_secs(60), "b".into()).is_ok());
    }
}
