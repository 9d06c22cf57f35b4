//! What the pipeline needs of the configuration.

use std::{sync::Arc, time::Duration};

use tidegate_core::{bots::BotFilter, event::EventParser, recovery::StartAt, rules::Rule};

/// Settings of the pipeline, resolved. Times in milliseconds are event time or monotonic time.
pub struct PipelineSettings {
    /// Finds the fields of an event.
    pub parser: EventParser,
    /// The bot filter; `None` lets everything through.
    pub bots: Option<Arc<BotFilter>>,
    /// Alert rules in the order of the configuration.
    pub rules: Arc<[Rule]>,
    /// Where to begin without committed offsets.
    pub start: StartAt,
    /// How far behind the highest timestamp an event may come.
    pub max_disorder_ms: i64,
    /// A partition that brought nothing for this long is idle.
    pub idle_after_ms: i64,
    /// Timestamps further ahead than this are far-future.
    pub max_future_ms: i64,
    /// How long after a window's end events still count.
    pub allowed_lateness_ms: i64,
    /// GroupedEvent events that an alert shows.
    pub alert_evidence: usize,
    /// Filter workers.
    pub filter_workers: usize,
    /// Enrich workers.
    pub enrich_workers: usize,
    /// Window actors.
    pub window_actors: usize,
    /// Length of an epoch.
    pub checkpoint_interval: Duration,
    /// Budget of bytes read and not yet committed.
    pub in_flight_bytes: usize,
    /// Windows open at a time.
    pub open_windows: usize,
    /// Partitions that the state topic must have: the number of key groups.
    pub key_groups: u32,
    /// Restarts allowed within `restart_window`.
    pub max_restarts: usize,
    /// The window in which restarts are counted.
    pub restart_window: Duration,
}
