//! What an error of the log or of recovery leads to.

use tidegate_core::supervision::Failure;
use tidegate_log::LogError;

use super::error::RecoveryError;
use crate::parts::Ending;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_does_not_answer_or_refuses_may_do_better_later() {
        for error in [
            LogError::Unavailable { what: "asking", cause: "nobody is there".into() },
            LogError::Broken { what: "writing", cause: "the client gave up".into() },
        ] {
            assert_eq!(classify(&error), Failure::LogUnavailable, "{error}");
        }
    }

    #[test]
    fn a_fenced_writer_is_told_from_an_error_that_lasts() {
        assert_eq!(classify(&LogError::Fenced("another".into())), Failure::Fenced);
        assert_eq!(classify(&LogError::Misconfigured("wrong".into())), Failure::Lasting);
    }

    #[test]
    fn topics_that_are_missing_and_a_wrong_configuration_end_in_their_own_way() {
        let of_log = |error| ending(RecoveryError::Log(error));
        assert!(matches!(of_log(LogError::TopicsMissing(vec!["raw".into()])), Ending::TopicsMissing(_)));
        assert!(matches!(of_log(LogError::Misconfigured("wrong".into())), Ending::Misconfigured(_)));
        assert!(matches!(ending(RecoveryError::TakenOver), Ending::Failed(_)));
    }
}
