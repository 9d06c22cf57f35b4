//! What can go wrong with a log, by what the caller can do about it.

use std::path::PathBuf;

use tidegate_core::{PartitionId, TimestampMs};

use crate::Topic;

/// An error of the log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log cannot be reached now; the same call may succeed later.
    #[error("{what}: {cause}")]
    Unavailable {
        /// What was being done.
        what: &'static str,
        /// The client's words.
        cause: String,
    },
    /// Another writer with the same id took over, or the transaction timed out: the client cannot tell.
    #[error("fenced: {0}")]
    Fenced(String),
    /// Topics that are needed do not exist.
    #[error("missing topics: {}; create them with `tidegate topics apply`", .0.join(", "))]
    TopicsMissing(Vec<String>),
    /// A topic was deleted and created anew while it was in use: what its offsets say is of the former one.
    #[error(
        "topic {0} was deleted and created anew while it was in use: the positions that are known are of the former topic"
    )]
    TopicReplaced(String),
    /// The fate of the last transaction cannot be told; the way out.
    #[error("{0}")]
    Undecided(String),
    /// The offset to read from is not in the log any more, or not yet.
    #[error("partition {partition} of the input cannot be read from offset {offset}: {cause}")]
    OffsetOutOfRange {
        /// The input partition.
        partition: u32,
        /// The offset asked for.
        offset: i64,
        /// The client's words.
        cause: String,
    },
    /// The broker refuses: authentication or authorization.
    #[error("not permitted: {what}: {cause}")]
    NotPermitted {
        /// What was being done.
        what: &'static str,
        /// The client's words.
        cause: String,
    },
    /// A topic refuses records for good: the same records would be refused again.
    #[error("topic {} refuses a record for good: {}", .0.topic, .0.cause)]
    Refused(Box<Refused>),
    /// The configuration cannot work with this build or this broker.
    #[error("{0}")]
    Misconfigured(String),
    /// The disk of the embedded log is full, or nearly so; it goes on when there is room.
    #[error("no room for the embedded log: {0}")]
    NoSpace(String),
    /// The embedded log holds as much as it may of what is not processed yet.
    #[error("the embedded log is full of unprocessed records: {0}")]
    Backlog(String),
    /// The embedded log is damaged: what it says does not fit together.
    #[error("the embedded log in {} is damaged: {cause}; restore the directory, or move it away and begin anew with `tidegate topics apply`", .path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
    /// The client is broken beyond repair; a new one may work.
    #[error("{what}: {cause}")]
    Broken {
        /// What was being done.
        what: &'static str,
        /// The client's words.
        cause: String,
    },
}

/// Records that a topic refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Name of the topic.
    pub topic: String,
    /// The broker's words.
    pub cause: String,
    /// The input records whose outputs were refused, and the topic that refused each; as many as are known.
    pub records: Vec<(Topic, PartitionId, i64)>,
    /// The broker's clock at this moment, if its words tell.
    pub broker_now: Option<TimestampMs>,
}

impl LogError {
    /// Whether trying again later, without a change by a person, can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::Broken { .. }
                | Self::Refused(_)
                | Self::NoSpace(_)
                | Self::Backlog(_)
        )
    }

    /// The same error once more, for another who asks; of those that are rare only the words.
    #[must_use]
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::NoSpace(cause) => Self::NoSpace(cause.clone()),
            Self::Backlog(cause) => Self::Backlog(cause.clone()),
            Self::Misconfigured(cause) => Self::Misconfigured(cause.clone()),
            Self::Damaged { path, cause } => Self::Damaged { path: path.clone(), cause: cause.clone() },
            error => Self::Unavailable { what: "embedded log", cause: error.to_string() },
        }
    }
}
