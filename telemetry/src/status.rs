//! What the daemon is doing, as its actors report it and its HTTP server shows it.

use tidegate_core::{Epoch, Generation};

/// What the pipeline is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Waiting for the log.
    #[default]
    Connecting,
    /// Finding out what is committed and getting there.
    Recovering,
    /// Processing.
    Running,
    /// Committing what is in flight before the end.
    Draining,
    /// Nothing runs any more.
    Stopped,
}

impl Phase {
    /// The phase's name, lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Recovering => "recovering",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// The daemon's status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// What the pipeline is doing.
    pub phase: Phase,
    /// Why, if there is more to say than the phase does. Shown to anybody who can reach the HTTP server, so
    /// no secrets.
    pub reason: Option<String>,
    /// The last committed epoch.
    pub epoch: Epoch,
    /// The pipeline's present generation.
    pub generation: Generation,
    /// Whether the broker (or the embedded log) answers.
    pub broker_up: bool,
}

impl Status {
    /// Whether the daemon does its work; if not, why.
    ///
    /// # Errors
    /// The reason, in one line of text, if the pipeline is not running or the broker does not answer.
    pub fn ready(&self) -> Result<(), String> {
        let state = match self.phase {
            Phase::Running if self.broker_up => return Ok(()),
            Phase::Running => "the broker does not answer",
            phase => phase.as_str(),
        };
        Err(self.reason.as_ref().map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_pipeline_with_a_broker_that_answers_is_ready() {
        let running = Status { phase: Phase::Running, broker_up: true, ..Status::default() };
        assert_eq!(running.ready(), Ok(()));
        assert_eq!(
            Status { broker_up: false, ..running.clone() }.ready(),
            Err("the broker does not answer".into())
        );
        for phase in [Phase::Connecting, Phase::Recovering, Phase::Draining, Phase::Stopped] {
            let status = Status { phase, reason: Some("because".into()), ..running.clone() };
            assert_eq!(status.ready(), Err(format!("{}: because", phase.as_str())));
        }
    }
}
