#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use super::*;

const PAGE: &str = include_str!("../../../docs/metrics.md");

fn metrics() -> Metrics {
    Metrics::new(&Labels {
        partitions: 2,
        topics: vec!["processed-events".into(), "alerts".into()],
        rules: vec!["high-error-rate".into(), "logins".into()],
        sinks: vec!["warehouse".into()],
    })
    .unwrap()
}

/// Gives every metric a value.
fn fill(metrics: &Metrics) {
    metrics.consumer_lag(PartitionId(1)).set(7.0);
    metrics.state_bytes().set(4096.0);
    metrics.set_watermark(TimestampMs(0));
    metrics.epoch_committed(Epoch(12));
    metrics.checkpoint_duration(CheckpointPhase::Flush).record(Duration::from_millis(3));
    metrics.alert_latency().record(Duration::from_millis(40));
    metrics.sink(SinkId(0)).works();
    metrics.sink(SinkId(0)).lag.set(3.0);
    metrics.sink_delivery(SinkId(0)).unwrap().record(Duration::from_millis(40));
}

/// Name and type of each metric in the exposition.
fn exported(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// Name and type of each metric in the rows of the page's tables: the first two cells.
fn documented(page: &str) -> BTreeMap<&str, &str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(' ')?.0)))
        .collect()
}

fn assert_has(text: &str, line: &str) {
    assert!(text.lines().any(|other| other == line), "no line {line:?} in\n{text}");
}

// Elsewhere there is no `process_*`.
#[cfg(target_os = "linux")]
#[test]
fn the_page_and_the_exposition_have_the_same_names_and_types() {
    let metrics = metrics();
    fill(&metrics);
    assert_eq!(documented(PAGE), exported(&metrics.encode().unwrap()));
}

#[test]
fn known_label_values_are_exported_as_zero_from_the_start_and_nothing_else_is_added_to_them() {
    let text = metrics().encode().unwrap();
    for line in [
        r#"tidegate_source_records_total{partition="0"} 0"#,
        r#"tidegate_source_records_total{partition="1"} 0"#,
        r#"tidegate_sink_records_total{topic="processed-events"} 0"#,
        r#"tidegate_bot_events_total{category="http-library"} 0"#,
        r#"tidegate_bot_events_total{category="own"} 0"#,
        r#"tidegate_dead_letters_total{reason="too_large"} 0"#,
        r#"tidegate_skipped_total{reason="tombstone"} 0"#,
        r#"tidegate_late_events_total{rule="logins"} 0"#,
        r#"tidegate_alerts_total{phase="closed",rule="high-error-rate"} 0"#,
        r#"tidegate_restarts_total{actor="partition"} 0"#,
        r#"tidegate_busy_ratio{stage="reader"} 0"#,
        "tidegate_geo_database_build_timestamp_seconds 0",
    ] {
        assert_has(&text, line);
    }
    assert!(!text.contains("otel_scope") && !text.contains("target_info"), "{text}");
}

#[test]
fn what_is_not_known_yet_is_absent() {
    let metrics = metrics();
    let text = metrics.encode().unwrap();
    for name in ["consumer_lag", "watermark_lag", "checkpoint_age", "checkpoint_last_epoch", "state_bytes"] {
        assert!(!text.contains(name), "{name} in\n{text}");
    }
    metrics.consumer_lag(PartitionId(1)).set(7.0);
    assert_has(&metrics.encode().unwrap(), r#"tidegate_consumer_lag_records{partition="1"} 7"#);
    metrics.consumer_lag(PartitionId(1)).clear();
    assert!(!metrics.encode().unwrap().contains("consumer_lag"));
}

#[test]
fn handles_count_into_their_own_series_and_every_scraper_sees_the_same() {
    let metrics = metrics();
    fill(&metrics);
    metrics.source_records(PartitionId(1)).add(3);
    // More than the configuration says.
    metrics.source_records(PartitionId(99)).add(7);
    metrics.source_records(PartitionId(9999)).add(1000);
    metrics.alerts(RuleId(1), AlertPhase::Crossed).add(2);
    metrics.dead_letters(Reason::TooLarge).add(5);
    metrics.stage(Stage::Enrich).queue().add(9);
    for _ in 0..2 {
        let text = metrics.clone().encode().unwrap();
        assert_has(&text, r#"tidegate_source_records_total{partition="0"} 0"#);
        assert_has(&text, r#"tidegate_source_records_total{partition="1"} 3"#);
        assert_has(&text, r#"tidegate_source_records_total{partition="99"} 7"#);
        assert!(!text.contains(r#"partition="98""#), "a partition that is not there is shown");
        assert_has(&text, r#"tidegate_alerts_total{phase="crossed",rule="logins"} 2"#);
        assert_has(&text, r#"tidegate_dead_letters_total{reason="too_large"} 5"#);
        assert_has(&text, r#"tidegate_queue_events{stage="enrich"} 9"#);
        assert_has(&text, "tidegate_checkpoint_last_epoch 12");
        assert_has(&text, r#"tidegate_checkpoint_duration_seconds_bucket{phase="flush",le="0.0025"} 0"#);
        assert_has(&text, r#"tidegate_checkpoint_duration_seconds_bucket{phase="flush",le="0.005"} 1"#);
        assert_has(&text, "tidegate_alert_latency_seconds_count 1");
        assert!(!text.contains("1000"), "{text}");
    }
}

#[test]
fn thousands_of_partitions_each_keep_their_own_series() {
    let metrics = Metrics::new(&Labels { partitions: 5000, ..Labels::default() }).unwrap();
    metrics.source_records(PartitionId(4999)).add(1);
    let text = metrics.encode().unwrap();
    assert_eq!(text.matches("tidegate_source_records_total{").count(), 5000);
    assert_has(&text, r#"tidegate_source_records_total{partition="4999"} 1"#);
    assert!(!text.contains("overflow=") && !text.contains("otel"));
}
