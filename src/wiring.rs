//! From the configuration to what the parts take.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tidegate_actors::PipelineSettings;
use tidegate_config::{LogFormat, LogKind, Settings, Sink, Start, Topic};
use tidegate_core::{
    SinkId,
    bots::{self, BotFilter, Pattern},
    event::EventParser,
    recovery::StartAt,
};
use tidegate_log::{
    Log, LogError, TopicSpec,
    embedded::{EmbeddedConfig, EmbeddedLog, EmbeddedStore},
    kafka::{KafkaConfig, KafkaLog},
};
use tidegate_sinks::SinkParts;
use tidegate_telemetry::{Journal, Labels, Metrics, OtlpSettings, TraceNames, logs};

use crate::{
    exit,
    http::{Facts, SinkFacts},
    patterns,
};

/// Where the embedded log is, within the state directory.
pub(crate) fn embedded_dir(settings: &Settings) -> PathBuf {
    settings.state_dir.join("log")
}

/// Opens the embedded log; whoever does holds the state directory's lock.
///
/// # Errors
/// [`LogError::Unavailable`] if it is in use; [`LogError::Damaged`].
pub(crate) fn embedded_store(settings: &Settings) -> Result<EmbeddedStore, LogError> {
    EmbeddedStore::open(embedded_dir(settings), settings.embedded.retention_bytes)
}

/// The log that the settings name, and the embedded one if that is it.
///
/// # Errors
/// [`LogError::Misconfigured`]; of an embedded log [`LogError::Unavailable`] if it is in use, and [`LogError::Damaged`].
/// Nothing is asked of a broker yet.
pub(crate) fn connect(settings: &Settings) -> Result<(Arc<dyn Log>, Option<EmbeddedStore>), LogError> {
    match settings.log {
        LogKind::Kafka => Ok((Arc::new(KafkaLog::new(kafka_config(settings))?), None)),
        LogKind::Embedded => {
            let store = embedded_store(settings)?;
            Ok((embedded_log(settings, store.clone()), Some(store)))
        }
    }
}

fn embedded_log(settings: &Settings, store: EmbeddedStore) -> Arc<dyn Log> {
    let config = EmbeddedConfig {
        group_id: settings.kafka.group_id.clone(),
        writer_id: settings.kafka.transactional_id.clone(),
        topics: topic_names(settings),
    };
    Arc::new(EmbeddedLog::new(store, config))
}

/// The log for everything but the pipeline, so that what goes wrong there says nothing of the pipeline.
///
/// # Errors
/// As [`connect`]; nothing is asked of a broker yet.
pub(crate) fn another(
    settings: &Settings,
    embedded: Option<&EmbeddedStore>,
) -> Result<Arc<dyn Log>, LogError> {
    match embedded {
        None => Ok(Arc::new(KafkaLog::new(kafka_config(settings))?)),
        Some(store) => Ok(embedded_log(settings, store.clone())),
    }
}

/// What each sink is made of.
pub(crate) fn sink_parts(
    settings: &Settings,
    log: &Arc<dyn Log>,
    metrics: &Metrics,
    journal: &Journal,
) -> Vec<SinkParts> {
    let parts = |(index, sink): (usize, &Sink)| SinkParts {
        id: SinkId(index),
        settings: sink.clone(),
        log: Arc::clone(log),
        topic_name: topic_name(settings, sink.topic).to_owned(),
        group_id: settings.kafka.group_id.clone(),
        paths: settings.event.clone(),
        metrics: metrics.clone(),
        journal: journal.clone(),
    };
    settings.sinks.iter().enumerate().map(parts).collect()
}

/// How to reach Kafka.
pub(crate) fn kafka_config(settings: &Settings) -> KafkaConfig {
    let kafka = &settings.kafka;
    KafkaConfig {
        bootstrap_servers: kafka.bootstrap_servers.clone(),
        group_id: kafka.group_id.clone(),
        transactional_id: kafka.transactional_id.clone(),
        properties: kafka
            .properties
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect(),
        topics: topic_names(settings),
        epoch_of: tidegate_state::committed_epoch,
        settle: None,
    }
}

/// The five topics as they should be.
pub(crate) fn topic_specs(settings: &Settings) -> Vec<TopicSpec> {
    let spec = |topic: &Topic| TopicSpec {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication_factor: match settings.log {
            LogKind::Kafka => topic.replication_factor,
            LogKind::Embedded => 1,
        },
        retention_ms: topic.retention.map(millis),
        compacted: topic.retention.is_none(),
    };
    topics(settings).into_iter().map(spec).collect()
}

/// The real name of a topic.
pub(crate) fn topic_name(settings: &Settings, topic: tidegate_log::Topic) -> &str {
    &topics(settings)[topic as usize].name
}

/// Names of the topics, in the order of [`tidegate_log::Topic`].
pub(crate) fn topic_names(settings: &Settings) -> [String; 5] {
    topics(settings).map(|topic| topic.name.clone())
}

/// In the order of [`tidegate_log::Topic`].
fn topics(settings: &Settings) -> [&Topic; 5] {
    let topics = &settings.topics;
    [&topics.raw, &topics.processed, &topics.alerts, &topics.dead_letters, &topics.state]
}

/// What the pipeline needs.
///
/// # Errors
/// If the bot patterns cannot be read or used.
pub(crate) fn pipeline_settings(settings: &Settings) -> Result<PipelineSettings, String> {
    Ok(PipelineSettings {
        parser: EventParser::new(&settings.event),
        bots: bot_filter(settings)?,
        rules: settings.rules.clone().into(),
        start: match settings.kafka.start {
            Start::Latest => StartAt::Latest,
            Start::Earliest => StartAt::Earliest,
        },
        max_disorder_ms: millis(settings.time.max_disorder),
        idle_after_ms: millis(settings.time.idle_after),
        max_future_ms: millis(settings.time.max_future),
        allowed_lateness_ms: millis(settings.time.allowed_lateness),
        alert_evidence: settings.alert_evidence,
        filter_workers: settings.pools.filter,
        enrich_workers: settings.pools.enrich,
        window_actors: settings.pools.window,
        checkpoint_interval: settings.checkpoint_interval,
        in_flight_bytes: settings.limits.in_flight_bytes,
        open_windows: settings.limits.open_windows,
        key_groups: settings.topics.state.partitions,
        max_restarts: settings.supervision.max_restarts,
        restart_window: settings.supervision.window,
    })
}

/// The bot filter; `None` if it is off.
fn bot_filter(settings: &Settings) -> Result<Option<Arc<BotFilter>>, String> {
    if !settings.filter.enabled {
        return Ok(None);
    }
    compile_bot_filter(settings).map(|filter| Some(Arc::new(filter)))
}

/// Compiles the patterns of the configuration, also if the filter is off.
pub(crate) fn compile_bot_filter(settings: &Settings) -> Result<BotFilter, String> {
    let filter = &settings.filter;
    let mut patterns: Vec<Pattern> = match &filter.patterns_file {
        None => bots::embedded(),
        Some(path) => patterns::read(path).map_err(|wrong| wrong.join("\n"))?,
    };
    // The first match decides, and what somebody added for himself goes before the list.
    let own = filter.patterns.iter().map(|regex| Pattern { regex: regex.clone(), category: None });
    patterns.splice(0..0, own);
    BotFilter::new(&patterns, &filter.categories).map_err(|error| format!("filter.patterns: {error}"))
}

/// The label values of the metrics.
pub(crate) fn labels(settings: &Settings) -> Labels {
    let [raw, outputs @ ..] = topics(settings);
    Labels {
        partitions: raw.partitions,
        topics: outputs.map(|topic| topic.name.clone()).to_vec(),
        rules: settings.rules.iter().map(|rule| rule.name.clone()).collect(),
        sinks: settings.sinks.iter().map(|sink| sink.name.clone()).collect(),
    }
}

/// What spans say about where they are.
pub(crate) fn trace_names(settings: &Settings) -> TraceNames {
    let [raw, _, alerts, ..] = topic_names(settings);
    let (system, group) = (log_name(settings), settings.kafka.group_id.clone());
    TraceNames { system, input: raw, group, alerts }
}

/// What to export of telemetry.
pub(crate) fn otlp_settings(settings: &Settings) -> OtlpSettings {
    let telemetry = &settings.telemetry;
    OtlpSettings {
        endpoint: telemetry.otlp_endpoint.clone(),
        service_name: telemetry.service_name.clone(),
        trace_ratio: telemetry.trace_ratio,
    }
}

/// What the HTTP server tells of the settings; `config` is all of them, without secrets, and `sinks` what this process
/// runs.
pub(crate) fn facts(settings: &Settings, sinks: &[SinkParts], config: String) -> Facts {
    let [raw, outputs @ ..] = topics(settings);
    let sink = |parts: &SinkParts| SinkFacts {
        id: parts.id,
        name: parts.settings.name.clone(),
        kind: parts.settings.destination.kind(),
        topic: parts.topic_name.clone(),
    };
    Facts {
        log: log_name(settings),
        input: raw.name.clone(),
        outputs: outputs.map(|topic| topic.name.clone()).to_vec(),
        partitions: raw.partitions,
        rules: settings.rules.len(),
        sinks: sinks.iter().map(sink).collect(),
        checkpoint_interval: settings.checkpoint_interval,
        config,
    }
}

fn log_name(settings: &Settings) -> &'static str {
    match settings.log {
        LogKind::Kafka => "kafka",
        LogKind::Embedded => "embedded",
    }
}

/// The format of the logs.
pub(crate) fn log_format(settings: &Settings) -> logs::LogFormat {
    match settings.telemetry.log_format {
        LogFormat::Auto => logs::LogFormat::Auto,
        LogFormat::Text => logs::LogFormat::Text,
        LogFormat::Json => logs::LogFormat::Json,
    }
}

/// The exit code of a command that ends with this error of the log.
pub(crate) fn exit_code(error: &LogError) -> u8 {
    match error {
        LogError::Unavailable { .. }
        | LogError::Broken { .. }
        | LogError::NoSpace(_)
        | LogError::Backlog(_)
        | LogError::TopicsMissing(_) => exit::UNAVAILABLE,
        LogError::Misconfigured(_) => exit::CONFIGURATION,
        LogError::Fenced(_)
        | LogError::TopicReplaced(_)
        | LogError::Undecided(_)
        | LogError::Refused(_)
        | LogError::OffsetOutOfRange { .. }
        | LogError::NotPermitted { .. }
        | LogError::Damaged { .. } => exit::FAILED,
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
