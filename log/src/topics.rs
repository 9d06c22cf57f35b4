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

/// A topic as it is; what is not known of it is `None`, and never a drift.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) partitions: u32,
    /// Replicas of each partition; of all partitions the lowest.
    pub(crate) replication_factor: Option<u32>,
    /// `retention.ms`, -1 for ever.
    pub(crate) retention_ms: Option<i64>,
    pub(crate) cleanup_policy: Option<String>,
    /// `message.timestamp.type`.
    pub(crate) timestamp_type: Option<String>,
}

impl TopicSpec {
    /// In what an existing topic differs.
    pub(crate) fn drifts(&self, found: Found) -> Vec<Drift> {
        let mut drifts = Vec::new();
        if found.partitions != self.partitions {
            drifts.push(Drift::Partitions { want: self.partitions, have: found.partitions });
        }
        if let Some(have) = found.replication_factor.filter(|have| *have != self.replication_factor) {
            drifts.push(Drift::Replication { want: self.replication_factor, have });
        }
        if let (Some(want_ms), Some(have_ms)) = (self.retention_ms, found.retention_ms)
            && have_ms != want_ms
        {
            drifts.push(Drift::Retention { want_ms, have_ms });
        }
        let want = self.cleanup_policy();
        if let Some(have) = found.cleanup_policy.filter(|have| have != want) {
            drifts.push(Drift::CleanupPolicy { want: want.to_owned(), have });
        }
        if let (Some(want), Some(have)) = (self.timestamp_type(), found.timestamp_type)
            && have != want
        {
            drifts.push(Drift::TimestampType { want: want.to_owned(), have });
        }
        drifts
    }

    /// The state topic's records are dated by the broker: its clock is to be known, and not ours to be trusted. All
    /// others keep the timestamps that they are written with.
    pub(crate) fn timestamp_type(&self) -> Option<&'static str> {
        self.compacted.then_some("LogAppendTime")
    }

    pub(crate) fn cleanup_policy(&self) -> &'static str {
        cleanup_policy(self.compacted)
    }
}

/// Kafka's name for what becomes of old records.
pub(crate) fn cleanup_policy(compacted: bool) -> &'static str {
    if compacted { "compact" } else { "delete" }
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
    /// `message.timestamp.type`.
    TimestampType {
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
            Self::Missing
            | Self::Retention { .. }
            | Self::CleanupPolicy { .. }
            | Self::TimestampType { .. } => true,
            Self::Partitions { want, have } => want > have && !spec.compacted,
            Self::Replication { .. } => false,
        }
    }

    /// Whether applying is to make it right: a missing topic always, others only when it may alter.
    pub(crate) fn is_due(&self, spec: &TopicSpec, alter: bool) -> bool {
        (alter || *self == Self::Missing) && self.is_reconcilable(spec)
    }

    /// Whether processing is wrong with it, so that it must not be left: the number of partitions, and a state
    /// topic that forgets.
    #[must_use]
    pub fn is_serious(&self, spec: &TopicSpec) -> bool {
        match self {
            Self::Missing | Self::Partitions { .. } => true,
            Self::CleanupPolicy { .. } => spec.compacted,
            Self::Replication { .. } | Self::Retention { .. } | Self::TimestampType { .. } => false,
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
            Self::TimestampType { want, have } => {
                write!(f, "has message.timestamp.type = {have}, should have {want}")
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

impl Applied {
    /// From how a topic differed before, and how it differs now.
    pub(crate) fn new(spec: TopicSpec, before: &[Drift], remaining: Vec<Drift>) -> Self {
        let done = before.iter().filter(|drift| !remaining.contains(drift)).cloned().collect();
        Self { spec, done, remaining, error: None }
    }
}
