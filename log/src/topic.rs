//! The topics by their role.

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
}
