//! What an error of the log or of recovery leads to.

use tidegate_log::LogError;
use tidegate_supervision::Failure;

use crate::{parts::Ending, recovery::RecoveryError};

/// What kind of failure an error of the log is.
pub(super) fn classify(error: &LogError) -> Failure {
    match error {
        LogError::Unavailable { .. }
        | LogError::Broken { .. }
        | LogError::Refused(_)
        | LogError::NoSpace(_)
        | LogError::Backlog(_) => Failure::LogUnavailable,
        LogError::Fenced(_) => Failure::Fenced,
        LogError::TopicsMissing(_)
        | LogError::TopicReplaced(_)
        | LogError::Undecided(_)
        | LogError::OffsetOutOfRange { .. }
        | LogError::NotPermitted { .. }
        | LogError::Damaged { .. }
        | LogError::Misconfigured(_) => Failure::Lasting,
    }
}

/// How the pipeline ends where recovery cannot go on.
pub(super) fn ending(error: RecoveryError) -> Ending {
    let text = error.to_string();
    match error {
        RecoveryError::Log(LogError::TopicsMissing(_)) => Ending::TopicsMissing(text),
        RecoveryError::Log(LogError::Misconfigured(_)) => Ending::Misconfigured(text),
        _ => Ending::Failed(text),
    }
}
