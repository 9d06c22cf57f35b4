//! The names of all metrics, as Prometheus and OTLP see them. `docs/metrics.md` says what they mean to a
//! user, and a test compares the two.

/// What identifies an instrument.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    /// Full name: nothing is added to it on export, neither a unit nor `_total`.
    pub(crate) name: &'static str,
    /// Unit as UCUM writes it, for OTLP; empty if there is none.
    pub(crate) unit: &'static str,
    /// One line for `# HELP`.
    pub(crate) help: &'static str,
}

macro_rules! specs {
    ($($constant:ident = $name:literal, $unit:literal, $help:literal;)+) => {
        $(pub(crate) const $constant: Spec = Spec { name: $name, unit: $unit, help: $help };)+
    };
}

specs! {
    SOURCE_RECORDS = "tidegate_source_records_total", "{record}",
        "Input records of committed epochs";
    SINK_RECORDS = "tidegate_sink_records_total", "{record}",
        "Records written in committed epochs";
    BOT_EVENTS = "tidegate_bot_events_total", "{event}",
        "Events dropped as bots";
    DEAD_LETTERS = "tidegate_dead_letters_total", "{record}",
        "Records sent to the dead-letter topic";
    SKIPPED = "tidegate_skipped_total", "{record}",
        "Input records skipped";
    LATE_EVENTS = "tidegate_late_events_total", "{event}",
        "Windows missed by late events";
    FUTURE_EVENTS = "tidegate_future_events_total", "{event}",
        "Events too far in the future to be counted";
    WINDOW_OVERFLOW = "tidegate_window_overflow_total", "{event}",
        "Events not counted for want of window state";
    CONSUMER_LAG = "tidegate_consumer_lag_records", "{record}",
        "Records between the position and the end of the input";
    WATERMARK_LAG = "tidegate_watermark_lag_seconds", "s",
        "Wall clock minus watermark";
    BUSY_RATIO = "tidegate_busy_ratio", "1",
        "Share of the last ten seconds spent working";
    BACKPRESSURE_RATIO = "tidegate_backpressure_ratio", "1",
        "Share of the last ten seconds spent waiting for the next stage";
    QUEUE_EVENTS = "tidegate_queue_events", "{event}",
        "Events waiting for the stage";
    CHECKPOINT_DURATION = "tidegate_checkpoint_duration_seconds", "s",
        "Duration of checkpoints by phase";
    CHECKPOINT_LAST_EPOCH = "tidegate_checkpoint_last_epoch", "",
        "Number of the last committed epoch";
    CHECKPOINT_AGE = "tidegate_checkpoint_age_seconds", "s",
        "Time since everything read was last known to be committed";
    ALERTS = "tidegate_alerts_total", "{alert}",
        "Alerts written in committed epochs";
    ALERT_LATENCY = "tidegate_alert_latency_seconds", "s",
        "Append of the crossing event to commit of its alert";
    RESTARTS = "tidegate_restarts_total", "{restart}",
        "Restarts caused by failures of the kind of actor";
    GEO_BUILD = "tidegate_geo_database_build_timestamp_seconds", "s",
        "Build time of the geo database in use, 0 without one";
    STATE_BYTES = "tidegate_state_bytes", "By",
        "Size of the local state store on disk";
    SINK_UP = "tidegate_sink_up", "",
        "1 while the sink works, 0 while its destination is away";
    SINK_DELIVERED = "tidegate_sink_delivered_total", "{record}",
        "Records delivered to the sink's destination";
    SINK_REJECTED = "tidegate_sink_rejected_total", "{record}",
        "Records that the sink's destination refused, now dead letters";
    SINK_RETRIES = "tidegate_sink_retries_total", "{delivery}",
        "Deliveries of the sink that were tried again";
    SINK_LAG = "tidegate_sink_lag_records", "{record}",
        "Records between the sink's position and the end of what it reads";
    SINK_DELIVERY = "tidegate_sink_delivery_seconds", "s",
        "Append of the record to its delivery";
    TELEMETRY_DROPPED = "tidegate_telemetry_dropped_total", "",
        "Spans, log lines and exports of metrics that did not reach the collector";
    BUILD_INFO = "tidegate_build_info", "",
        "1, with the version as a label";
    PROCESS_CPU = "process_cpu_seconds_total", "s",
        "User and system CPU time spent";
    PROCESS_MEMORY = "process_resident_memory_bytes", "By",
        "Resident memory";
    PROCESS_FDS = "process_open_fds", "{file}",
        "Open file descriptors";
    PROCESS_START = "process_start_time_seconds", "s",
        "Start time of the process since the Unix epoch";
    PROCESS_THREADS = "process_threads", "{thread}",
        "Operating system threads";
}
