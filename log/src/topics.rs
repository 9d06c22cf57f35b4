//! Topics as they should be, and in what they differ from that.

use std::fmt;

use crate::LogError;

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Replicas of each partition.
    pub replication_factor: u32,
    /// How long records are kept, in ms; `None` leaves it to the broker.
    pub retention_ms: Option<i64>,
    /// Whether the topic keeps the last record of each key instead of deleting by age.
    pub compacted: bool,
}

impl TopicSpec {
    pub(crate) fn cleanup_policy(&self) -> &'static str {
        if self.compacted { "compact" } else { "delete" }
    }
}

/// In what a topic differs from what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// It does not exist.
    Missing,
    /// Number of partitions.
    Partitions {
        /// As it should be.
        want: u32,
        /// As it is.
        have: u32,
    },
    /// Replicas of each partition; of all partitions the lowest.
    Replication {
        /// As it should be.
        want: u32,
        /// As it is.
        have: u32,
    },
    /// `retention.ms`.
    Retention {
        /// As it should be.
        want_ms: i64,
        /// As it is.
        have_ms: i64,
    },
    /// `cleanup.policy`.
    CleanupPolicy {
        /// As it should be.
        want: String,
        /// As it is.
        have: String,
    },
}

impl Drift {
    /// Whether applying can make it right; all but a missing topic only when it may alter.
    ///
    /// Partitions are never taken away, and never added to a compacted topic: its keys would move. Replicas are
    /// moved by Kafka's own tools.
    #[must_use]
    pub fn is_reconcilable(&self, spec: &TopicSpec) -> bool {
        match self {
            Self::Missing | Self::Retention { .. } | Self::CleanupPolicy { .. } => true,
            Self::Partitions { want, have } => want > have && !spec.compacted,
            Self::Replication { .. } => false,
        }
    }

    /// Whether processing is wrong with it, so that it must not be left: the number of partitions, and a state
    /// topic that forgets.
    #[must_use]
    pub fn is_serious(&self, spec: &TopicSpec) -> bool {
        match self {
            Self::Missing | Self::Partitions { .. } => true,
            Self::CleanupPolicy { .. } => spec.compacted,
            Self::Replication { .. } | Self::Retention { .. } => false,
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "is missing"),
            Self::Partitions { want, have } => write!(f, "has {have} partitions, should have {want}"),
            Self::Replication { want, have } => {
                write!(f, "has replication factor {have}, should have {want}")
            }
            Self::Retention { want_ms, have_ms } => {
                write!(f, "has retention.ms = {have_ms}, should have {want_ms}")
            }
            Self::CleanupPolicy { want, have } => {
                write!(f, "has cleanup.policy = {have}, should have {want}")
            }
        }
    }
}

/// What applying the specs did to one topic.
#[derive(Debug)]
pub struct Applied {
    /// The topic.
    pub spec: TopicSpec,
    /// What was made right.
    pub done: Vec<Drift>,
    /// What is still different.
    pub remaining: Vec<Drift>,
    /// Why not all that could be made right was.
    pub error: Option<LogError>,
}
