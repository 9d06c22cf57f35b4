//! What the API answers, as its OpenAPI document describes it. Times are milliseconds since the Unix epoch.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// How the daemon is doing, in one look.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct StatusBody {
    /// Version of the daemon.
    pub(super) version: &'static str,
    /// `connecting`, `recovering`, `running`, `draining` or `stopped`.
    #[schema(example = "running")]
    pub(super) phase: &'static str,
    /// Why it is not running, or what failed last.
    pub(super) reason: Option<String>,
    /// Whether it does its work: as `/readyz`.
    pub(super) ready: bool,
    /// The last committed epoch.
    pub(super) epoch: u64,
    /// The pipeline's generation: how often it began anew in this process.
    pub(super) generation: u64,
    /// Seconds since the process started.
    pub(super) uptime_s: u64,
    /// `kafka` or `embedded`.
    pub(super) log: &'static str,
    /// The daemon's clock.
    pub(super) now: i64,
    /// When the process started.
    pub(super) started_at: i64,
    /// Input records that are not processed yet, over all partitions; null until it is known.
    pub(super) lag: Option<u64>,
    /// The pipeline's watermark.
    pub(super) watermark: Option<i64>,
    /// Wall clock minus the watermark, in seconds.
    pub(super) watermark_lag_s: Option<f64>,
    pub(super) checkpoint: CheckpointState,
    pub(super) rates: Rates,
    pub(super) totals: Totals,
    /// Of the last alerts; null before the first.
    pub(super) alert_latency_ms: Option<LatencyMs>,
    /// The sinks that this process runs, in the order of the configuration.
    pub(super) sinks: Vec<SinkStateBody>,
    pub(super) resources: Resources,
    /// Build time of the geo database; null without one.
    pub(super) geo_database_built_at: Option<i64>,
}

/// How checkpoints are going.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct CheckpointState {
    /// `checkpoint.interval`, in seconds.
    pub(super) interval_s: f64,
    /// Seconds since everything read was last known to be committed.
    pub(super) age_s: Option<f64>,
}

/// Per second, over the last ten seconds; committed epochs only.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(super) struct Rates {
    /// Input records.
    pub(super) source: f64,
    /// Records written to the processed topic.
    pub(super) processed: f64,
    /// Events dropped as bots.
    pub(super) bots: f64,
    /// Dead letters.
    pub(super) dead_letters: f64,
    /// Alerts.
    pub(super) alerts: f64,
    /// Windows missed by late events.
    pub(super) late: f64,
}

/// Since the process started; committed epochs only.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(super) struct Totals {
    /// Input records.
    pub(super) source: u64,
    /// Records written to the processed topic.
    pub(super) processed: u64,
    /// Events dropped as bots.
    pub(super) bots: u64,
    /// Dead letters.
    pub(super) dead_letters: u64,
    /// Tombstones.
    pub(super) skipped: u64,
    /// Windows missed by late events.
    pub(super) late: u64,
    /// Events with timestamps too far in the future.
    pub(super) future: u64,
    /// Events not counted for want of window state.
    pub(super) overflow: u64,
    /// Alerts.
    pub(super) alerts: u64,
    /// Restarts of actors.
    pub(super) restarts: u64,
}

/// From the append of the event that crossed to the commit of its alert, of the last alerts.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct LatencyMs {
    /// Median.
    pub(super) p50: f64,
    /// 99th percentile.
    pub(super) p99: f64,
}

/// One sink.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct SinkStateBody {
    pub(super) name: String,
    /// `postgres`, `elasticsearch` or `webhook`.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// The topic that it reads.
    pub(super) topic: String,
    /// `starting`, `running`, `degraded` while its destination or the log is away and it tries again, or `stopped`.
    pub(super) state: &'static str,
    /// What went wrong last, even if it is over.
    pub(super) last_error: Option<String>,
    /// Records delivered since the process started.
    pub(super) delivered: u64,
    /// Records that the destination refused, now dead letters.
    pub(super) rejected: u64,
    /// Deliveries that were tried again.
    pub(super) retries: u64,
    /// Records of the partitions that this process reads that are not delivered yet; null until it is known.
    pub(super) lag: Option<u64>,
    /// Records delivered per second, over the last ten seconds.
    pub(super) rate: f64,
}

/// What the process takes.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(super) struct Resources {
    /// Cores in use, over the last ten seconds; null where the system does not tell.
    pub(super) cpu_cores: Option<f64>,
    /// Resident memory.
    pub(super) resident_bytes: Option<u64>,
    /// Local window state on disk.
    pub(super) state_bytes: Option<u64>,
}

/// The pipeline: its stages, where records come from and go to, its actors.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct TopologyBody {
    pub(super) source: SourceBody,
    /// In the order that records go through them.
    pub(super) stages: Vec<StageBody>,
    /// The output topics.
    pub(super) sinks: Vec<SinkBody>,
    pub(super) partitions: Vec<PartitionBody>,
    /// Empty while the pipeline has no time to tell.
    pub(super) actors: Vec<ActorBody>,
}

/// Where records come from.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct SourceBody {
    pub(super) topic: String,
}

/// One stage.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct StageBody {
    /// `reader`, `filter`, `enrich`, `window` or `committer`.
    pub(super) stage: &'static str,
    /// Workers in it.
    pub(super) workers: u64,
    /// Share of the last ten seconds that they worked, 0 to 1.
    pub(super) busy: f64,
    /// Share of the last ten seconds that they waited for the next stage, 0 to 1.
    pub(super) backpressure: f64,
    /// Events that wait for the stage.
    pub(super) queue: u64,
    /// Events a second that it worked on, over the last ten seconds.
    pub(super) rate: f64,
}

/// Where records go.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct SinkBody {
    pub(super) topic: String,
    /// `processed`, `alerts`, `dead_letters` or `state`.
    pub(super) kind: &'static str,
    /// Records written since the process started.
    pub(super) records: u64,
    /// The same per second.
    pub(super) rate: f64,
    /// Names of the sinks that read it; the status tells more of them.
    pub(super) read_by: Vec<String>,
}

/// One input partition.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct PartitionBody {
    pub(super) partition: u32,
    /// Records that are not processed yet.
    pub(super) lag: Option<u64>,
    /// Offset of the next record, as of the last epoch.
    pub(super) position: Option<i64>,
    /// Its own watermark, as of the last epoch.
    pub(super) watermark: Option<i64>,
    /// It does not hold the pipeline's watermark back.
    pub(super) idle: bool,
    /// Input records since the process started.
    pub(super) records: u64,
    /// The same per second.
    pub(super) rate: f64,
}

/// One actor.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ActorBody {
    /// `reader`, `partition`, `filter`, `enrich`, `window`, `committer`, `barrier` or `store`.
    pub(super) actor: &'static str,
    /// Which of its kind.
    pub(super) index: usize,
    /// `running`, `restarting` or `stopped`.
    pub(super) state: &'static str,
    /// How often it failed and was started again.
    pub(super) restarts: u64,
    pub(super) last_failure: Option<FailureBody>,
}

/// The last failure of an actor.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct FailureBody {
    pub(super) at: i64,
    pub(super) cause: String,
}

/// The last checkpoints, oldest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct CheckpointsBody {
    /// `checkpoint.interval`, in seconds.
    pub(super) interval_s: f64,
    pub(super) checkpoints: Vec<CheckpointBody>,
}

/// One committed epoch.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct CheckpointBody {
    pub(super) epoch: u64,
    pub(super) generation: u64,
    /// When it was cut.
    pub(super) cut_at: i64,
    pub(super) phases_ms: PhasesMs,
    /// From the cut to the end of the commit: the sum of the phases.
    pub(super) total_ms: f64,
    /// Input records.
    pub(super) records: u64,
    /// Records written, state changes included.
    pub(super) written: u64,
    /// Bytes of the input records.
    pub(super) bytes: u64,
    pub(super) alerts: u64,
    pub(super) dead_letters: u64,
}

/// How long the phases of a checkpoint took; they follow each other.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct PhasesMs {
    pub(super) cut: f64,
    pub(super) align: f64,
    pub(super) flush: f64,
    pub(super) offsets: f64,
    pub(super) commit: f64,
}

/// The last alerts, oldest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct AlertsBody {
    pub(super) alerts: Vec<AlertBody>,
}

/// One committed alert.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct AlertBody {
    /// Its number in this process.
    pub(super) seq: u64,
    pub(super) committed_at: i64,
    /// From the append of the event that crossed to the commit; null for a `closed` alert.
    pub(super) latency_ms: Option<f64>,
    /// The alert as it stands in its topic.
    #[schema(value_type = Object)]
    pub(super) alert: Box<RawValue>,
}

/// Open windows, the fullest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct WindowsBody {
    /// All there are.
    pub(super) open: usize,
    pub(super) windows: Vec<WindowBody>,
}

/// One open window.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct WindowBody {
    pub(super) rule: String,
    pub(super) service: String,
    pub(super) window_start: i64,
    pub(super) window_end: i64,
    pub(super) count: u64,
    /// An alert is raised when the count passes it.
    pub(super) threshold: u64,
    /// It was.
    pub(super) crossed: bool,
}

/// Dead letters by reason.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct DeadLettersBody {
    /// All reasons, whether there were any or not.
    pub(super) reasons: Vec<ReasonBody>,
}

/// Dead letters of one reason.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ReasonBody {
    pub(super) reason: String,
    /// Since the process started.
    pub(super) total: u64,
    /// The last few, newest first.
    pub(super) samples: Vec<SampleBody>,
}

/// One dead letter.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct SampleBody {
    /// When it was committed.
    pub(super) at: i64,
    /// The sink whose destination refused it; null for a record of the input.
    pub(super) sink: Option<String>,
    /// Where it came from: partition of the input, or of the topic that the sink reads.
    pub(super) partition: u32,
    pub(super) offset: i64,
    /// What was wrong.
    pub(super) detail: String,
    /// Bytes of the value.
    pub(super) size: usize,
    /// The beginning of the value, as text.
    pub(super) value: String,
}

/// What is answered instead of what was asked for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    pub(super) error: String,
}
