//! What is told of a sink: its state, its numbers, and what went wrong last.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Counter, Gauge};

/// What a sink is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SinkState {
    /// It has not heard from its consumer group yet.
    #[default]
    Starting,
    /// It delivers, or waits for records.
    Running,
    /// Its destination, or the log, is away or refuses to answer: it tries again for ever.
    Degraded,
    /// It was asked to end, or failed too often.
    Stopped,
}

impl SinkState {
    /// Its name, lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Stopped => "stopped",
        }
    }
}

/// The numbers and the state of one sink.
#[derive(Debug, Default)]
pub struct SinkMeter {
    /// Records delivered.
    pub delivered: Counter,
    /// Records that the destination refused, which went to the dead letters.
    pub rejected: Counter,
    /// Deliveries that were tried again.
    pub retries: Counter,
    /// Records between the position and the end of the partitions that this process reads.
    pub lag: Gauge,
    shown: Mutex<(SinkState, Option<String>)>,
}

impl SinkMeter {
    /// What it is doing, and the last thing that went wrong, even if it is over.
    #[must_use]
    pub fn state(&self) -> (SinkState, Option<String>) {
        self.lock().clone()
    }

    /// It works.
    pub fn works(&self) {
        self.lock().0 = SinkState::Running;
    }

    /// It does not, and tries again. Returns whether that is news.
    pub fn degraded(&self, cause: &str) -> bool {
        let mut shown = self.lock();
        let is_news = shown.0 != SinkState::Degraded || shown.1.as_deref() != Some(cause);
        *shown = (SinkState::Degraded, Some(cause.to_owned()));
        is_news
    }

    /// It ended; `cause` tells if it should not have.
    pub fn stopped(&self, cause: Option<String>) {
        let mut shown = self.lock();
        shown.0 = SinkState::Stopped;
        if cause.is_some() {
            shown.1 = cause;
        }
    }

    /// As the metric `tidegate_sink_up` has it; `None` before the start is over.
    pub(crate) fn up(&self) -> Option<f64> {
        match self.lock().0 {
            SinkState::Starting => None,
            SinkState::Running => Some(1.0),
            SinkState::Degraded | SinkState::Stopped => Some(0.0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, (SinkState, Option<String>)> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_is_up_while_it_works_and_remembers_what_went_wrong_last() {
        let meter = SinkMeter::default();
        assert_eq!(meter.up(), None);
        assert!(meter.degraded("away"));
        assert!(!meter.degraded("away"), "said before");
        assert_eq!(meter.up(), Some(0.0));
        meter.works();
        assert_eq!((meter.up(), meter.state()), (Some(1.0), (SinkState::Running, Some("away".into()))));
        assert!(meter.degraded("away"), "it worked meanwhile");
        meter.stopped(None);
        assert_eq!(meter.state().0, SinkState::Stopped);
    }
}
