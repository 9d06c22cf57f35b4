//! The topics by their role, and what is known of them.

use crate::{TopicId, topic_limits::TopicLimits};

/// The topics of the pipeline by their role; their names are configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Topic {
    /// Input.
    Raw,
    /// Enriched events.
    Processed,
    /// Alerts.
    Alerts,
    /// Records that could not be processed.
    DeadLetters,
    /// Changelog of the window state, compacted.
    State,
}

impl Topic {
    /// All topics, in the order of their discriminants.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Processed, Self::Alerts, Self::DeadLetters, Self::State];

    /// What is written, in the order of their discriminants.
    pub const OUTPUTS: [Self; 4] = [Self::Processed, Self::Alerts, Self::DeadLetters, Self::State];

    /// What it is called where people look at it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Processed => "processed",
            Self::Alerts => "alerts",
            Self::DeadLetters => "dead_letters",
            Self::State => "state",
        }
    }
}

/// One topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFacts {
    /// Name of the topic.
    pub name: String,
    /// Its id, if it has one: a topic that was created anew has another.
    pub id: Option<TopicId>,
    /// Number of partitions.
    pub partitions: u32,
    /// Largest batch that the topic takes, `max.message.bytes`, or that the client sends, whichever is less.
    pub max_message_bytes: usize,
    /// What else it refuses for good.
    pub limits: TopicLimits,
}

/// All five topics, indexed by [`Topic`].
pub type TopicsFacts = [TopicFacts; 5];
