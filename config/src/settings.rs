//! The resolved configuration: what the parts need, checked and with units.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use tidegate_core::{event::FieldPaths, rules::Rule};

use crate::{secret::Secret, sink::Sink, start::Start};

/// The whole configuration, ready to use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which log holds the topics.
    pub log: LogKind,
    /// Connection to Kafka.
    pub kafka: Kafka,
    /// The embedded log.
    pub embedded: Embedded,
    /// The five topics.
    pub topics: Topics,
    /// Where an event's fields are.
    pub event: FieldPaths,
    /// Bot filter.
    pub filter: Filter,
    /// Geo enrichment.
    pub geo: Geo,
    /// Event time.
    pub time: Time,
    /// Alert rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// Counted events that an alert shows.
    pub alert_evidence: usize,
    /// Sizes of the pools.
    pub pools: Pools,
    /// Length of an epoch.
    pub checkpoint_interval: Duration,
    /// State directory.
    pub state_dir: PathBuf,
    /// Limits of memory.
    pub limits: Limits,
    /// Restart budget.
    pub supervision: Supervision,
    /// Address of the HTTP server.
    pub http_listen: SocketAddr,
    /// Logs and traces.
    pub telemetry: Telemetry,
    /// Time that a clean shutdown may take.
    pub shutdown_grace: Duration,
    /// Sinks, in the order of the file.
    pub sinks: Vec<Sink>,
}

/// Where the topics live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Apache Kafka.
    Kafka,
    /// A log in the state directory.
    Embedded,
}

/// `[kafka]`.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// Comma-separated `host:port`.
    pub bootstrap_servers: String,
    /// Group that the input offsets are committed under. Nothing ever subscribes with it.
    pub group_id: String,
    /// One running daemon per id.
    pub transactional_id: String,
    /// Where to begin when the group has no committed offsets.
    pub start: Start,
    /// librdkafka properties as written; values may be secrets.
    pub properties: BTreeMap<String, Secret>,
}

/// `[embedded]`.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    /// Most bytes that a topic keeps.
    pub retention_bytes: u64,
}

/// `[topics.*]`.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Input.
    pub raw: Topic,
    /// Enriched events.
    pub processed: Topic,
    /// Alerts.
    pub alerts: Topic,
    /// Records that could not be processed.
    pub dead_letters: Topic,
    /// Changelog of the window state.
    pub state: Topic,
}

/// One topic as it should be.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Replicas of each partition.
    pub replication_factor: u32,
    /// How long records are kept; `None` for the compacted state topic.
    pub retention: Option<Duration>,
}

/// `[filter]`.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Whether bots are dropped.
    pub enabled: bool,
    /// Categories of the built-in list in use.
    pub categories: Vec<tidegate_core::bots::Category>,
    /// A file with one pattern a line that is used instead of the built-in list.
    pub patterns_file: Option<PathBuf>,
    /// Patterns in addition to the list.
    pub patterns: Vec<String>,
}

/// `[geo]`.
#[derive(Debug, Clone)]
pub struct Geo {
    /// Database file in the MaxMind DB format.
    pub database: PathBuf,
    /// How often the file is looked at for a change.
    pub reload_every: Duration,
}

/// `[time]`.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// How far behind the highest timestamp an event may come.
    pub max_disorder: Duration,
    /// A partition that brought nothing for this long does not hold the watermark back.
    pub idle_after: Duration,
    /// Timestamps further ahead than this move no watermark.
    pub max_future: Duration,
    /// How long after a window's end events are still counted.
    pub allowed_lateness: Duration,
}

/// `[pools]`.
#[derive(Debug, Clone, Copy)]
pub struct Pools {
    /// Actors that parse and filter.
    pub filter: usize,
    /// Actors that look up geo data and write the output.
    pub enrich: usize,
    /// Window actors.
    pub window: usize,
}

/// `[limits]`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of records read and not yet committed.
    pub in_flight_bytes: usize,
    /// Windows open at a time.
    pub open_windows: usize,
}

/// `[supervision]`.
#[derive(Debug, Clone, Copy)]
pub struct Supervision {
    /// Restarts allowed within `window`.
    pub max_restarts: usize,
    /// The window in which restarts are counted.
    pub window: Duration,
}

/// `[telemetry]`.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// OTLP endpoint; `None` is off.
    pub otlp_endpoint: Option<String>,
    /// Name of this service in telemetry.
    pub service_name: String,
    /// Share of traces that are kept, 0 to 1.
    pub trace_ratio: f64,
    /// Format of the logs.
    pub log_format: LogFormat,
}

/// Format of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// JSON, one object a line.
    Json,
}
