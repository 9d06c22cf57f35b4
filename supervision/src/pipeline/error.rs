//! Why recovery has no plan.

use tidegate_core::recovery::Refusal;
use tidegate_log::LogError;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    /// The log failed; see [`LogError::is_transient`].
    #[error(transparent)]
    Log(#[from] LogError),
    /// A person has to decide.
    #[error("{0}")]
    Refused(String),
    /// A person has to decide: what is found does not fit together.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// Another daemon owns the transactional id now.
    #[error(
        "another daemon has taken over kafka.transactional_id, or uses the same kafka.group_id with another one; run one daemon per id and group, or give this one another id, group and state directory"
    )]
    TakenOver,
}
