//! From what is observed to what is answered.

use std::time::Duration;

use serde_json::value::RawValue;
use tidegate_core::{Epoch, PartitionId, TimestampMs, event::Reason, record::Topic, window::OpenWindow};
use tidegate_supervision::ActorView;
use tidegate_telemetry::{AlertEntry, CheckpointEntry, CheckpointPhase, DeadLetterSample, Stage, process};

use super::bodies::{
    ActorBody, AlertBody, AlertsBody, CheckpointBody, CheckpointState, CheckpointsBody, DeadLettersBody,
    FailureBody, LatencyMs, PartitionBody, PhasesMs, Rates, ReasonBody, Resources, SampleBody, SinkBody,
    SinkStateBody, SourceBody, StageBody, StatusBody, TopologyBody, Totals, WindowBody, WindowsBody,
};
use crate::http::observed::{Observed, Seconds, SinkFacts};

/// The first of the outputs.
const PROCESSED: usize = 0;

pub(super) fn status(state: &Observed) -> StatusBody {
    let status = state.status.borrow().clone();
    let seconds = state.seconds.borrow();
    let now = state.clock.now();
    let uptime = state.started.elapsed();
    let watermark = state.metrics.watermark();
    let known = |bytes: f64| bytes as u64;
    let built_at = state.metrics.geo_database_build_timestamp().get().filter(|seconds| *seconds > 0.0);
    StatusBody {
        version: env!("CARGO_PKG_VERSION"),
        phase: status.phase.as_str(),
        ready: status.ready().is_ok(),
        epoch: status.epoch.0,
        generation: status.generation.0,
        uptime_s: uptime.as_secs(),
        log: state.facts.log,
        now: now.0,
        started_at: now.0 - uptime.as_millis() as i64,
        lag: state.lag(),
        watermark: watermark.map(|watermark| watermark.0),
        watermark_lag_s: watermark.map(|watermark| (now.0 - watermark.0) as f64 / 1e3),
        checkpoint: CheckpointState {
            interval_s: state.facts.checkpoint_interval.as_secs_f64(),
            age_s: state.metrics.checkpoint_age().map(|age| age.as_secs_f64()),
        },
        rates: rates(&seconds),
        totals: totals(&seconds),
        alert_latency_ms: alert_latency(state),
        sinks: sink_states(state, &seconds),
        resources: Resources {
            cpu_cores: seconds.cpu_cores(),
            resident_bytes: process::resident_memory_bytes().map(known),
            state_bytes: state.metrics.state_bytes().get().map(known),
        },
        geo_database_built_at: built_at.map(|seconds| (seconds * 1e3) as i64),
        reason: status.reason,
    }
}

fn rates(seconds: &Seconds) -> Rates {
    Rates {
        source: seconds.rate(|sample| sample.read.iter().sum()),
        processed: seconds.rate(|sample| sample.written[PROCESSED]),
        bots: seconds.rate(|sample| sample.counts.bots),
        dead_letters: seconds.rate(|sample| sample.counts.dead_letters),
        alerts: seconds.rate(|sample| sample.counts.alerts),
        late: seconds.rate(|sample| sample.counts.late),
    }
}

fn totals(seconds: &Seconds) -> Totals {
    let Some(last) = seconds.last() else { return Totals::default() };
    let counts = last.counts;
    Totals {
        source: last.read.iter().sum(),
        processed: last.written[PROCESSED],
        bots: counts.bots,
        dead_letters: counts.dead_letters,
        skipped: counts.skipped,
        late: counts.late,
        future: counts.future,
        overflow: counts.overflow,
        alerts: counts.alerts,
        restarts: counts.restarts,
    }
}

fn alert_latency(state: &Observed) -> Option<LatencyMs> {
    let alerts = state.journal.alerts_after(0);
    let mut latencies: Vec<_> = alerts.iter().filter_map(|alert| alert.latency).collect();
    latencies.sort_unstable();
    let at = |share: f64| {
        let rank = (latencies.len() as f64 * share).ceil() as usize;
        latencies.get(rank.saturating_sub(1)).copied().map(millis)
    };
    Some(LatencyMs { p50: at(0.5)?, p99: at(0.99)? })
}

fn sink_states(state: &Observed, seconds: &Seconds) -> Vec<SinkStateBody> {
    let sink = |(index, facts): (usize, &SinkFacts)| {
        let meter = state.metrics.sink(facts.id);
        let (condition, last_error) = meter.state();
        SinkStateBody {
            name: facts.name.clone(),
            kind: facts.kind,
            topic: facts.topic.clone(),
            state: condition.as_str(),
            last_error,
            delivered: meter.delivered.get(),
            rejected: meter.rejected.get(),
            retries: meter.retries.get(),
            lag: meter.lag.get().map(|lag| lag as u64),
            rate: seconds.rate(|sample| sample.delivered[index]),
        }
    };
    state.facts.sinks.iter().enumerate().map(sink).collect()
}

pub(super) async fn topology(state: &Observed) -> TopologyBody {
    let actors = state.actors().await;
    let seconds = state.seconds.borrow();
    TopologyBody {
        source: SourceBody { topic: state.facts.input.clone() },
        stages: Stage::ALL.iter().map(|of| stage(state, *of)).collect(),
        sinks: sinks(state, &seconds),
        partitions: partitions(state, &seconds),
        actors: actors.iter().map(actor).collect(),
    }
}

fn stage(state: &Observed, stage: Stage) -> StageBody {
    let meter = state.metrics.stage(stage);
    StageBody {
        stage: stage.as_str(),
        workers: meter.workers(),
        busy: meter.busy_ratio(),
        backpressure: meter.backpressure_ratio(),
        queue: meter.queue().get(),
        rate: meter.rate(),
    }
}

fn sinks(state: &Observed, seconds: &Seconds) -> Vec<SinkBody> {
    let readers = &state.facts.sinks;
    let sink = |(index, (name, topic)): (usize, (&String, Topic))| SinkBody {
        topic: name.clone(),
        kind: topic.as_str(),
        records: state.metrics.sink_records(topic).get(),
        rate: seconds.rate(|sample| sample.written[index]),
        read_by: readers.iter().filter(|sink| sink.topic == *name).map(|sink| sink.name.clone()).collect(),
    };
    state.facts.outputs.iter().zip(Topic::OUTPUTS).enumerate().map(sink).collect()
}

fn partitions(state: &Observed, seconds: &Seconds) -> Vec<PartitionBody> {
    let entries = state.journal.partitions();
    let partition = |partition: u32| {
        let index = partition as usize;
        let entry = entries.get(index);
        PartitionBody {
            partition,
            lag: state.lag_of(partition),
            position: entry.map(|entry| entry.position),
            watermark: entry.and_then(|entry| entry.watermark).map(|watermark| watermark.0),
            idle: entry.is_some_and(|entry| entry.idle),
            records: state.metrics.source_records(PartitionId(partition)).get(),
            rate: seconds.rate(|sample| sample.read.get(index).copied().unwrap_or_default()),
        }
    };
    (0..state.partitions()).map(partition).collect()
}

fn actor(view: &ActorView) -> ActorBody {
    let failure = |(TimestampMs(at), cause)| FailureBody { at, cause };
    ActorBody {
        actor: view.kind.as_str(),
        index: view.index,
        state: view.state.as_str(),
        restarts: view.restarts,
        last_failure: view.last_failure.clone().map(failure),
    }
}

pub(super) fn checkpoints(state: &Observed, after: Option<Epoch>) -> CheckpointsBody {
    let checkpoints = state.journal.checkpoints_after(after);
    CheckpointsBody {
        interval_s: state.facts.checkpoint_interval.as_secs_f64(),
        checkpoints: checkpoints.iter().map(|entry| checkpoint(entry)).collect(),
    }
}

fn checkpoint(entry: &CheckpointEntry) -> CheckpointBody {
    let phase = |wanted: CheckpointPhase| {
        let of = entry.phases.iter().filter(|(phase, _)| *phase == wanted);
        millis(of.map(|(_, duration)| *duration).sum())
    };
    CheckpointBody {
        epoch: entry.epoch.0,
        generation: entry.generation.0,
        cut_at: entry.cut_at.0,
        phases_ms: PhasesMs {
            cut: phase(CheckpointPhase::Cut),
            align: phase(CheckpointPhase::Align),
            flush: phase(CheckpointPhase::Flush),
            offsets: phase(CheckpointPhase::Offsets),
            commit: phase(CheckpointPhase::Commit),
        },
        total_ms: millis(entry.total()),
        records: entry.records,
        written: entry.written,
        bytes: entry.bytes,
        alerts: entry.alerts,
        dead_letters: entry.dead_letters,
    }
}

pub(super) fn alerts(state: &Observed, after: u64) -> AlertsBody {
    let alerts = state.journal.alerts_after(after);
    AlertsBody { alerts: alerts.iter().filter_map(|entry| alert(entry)).collect() }
}

fn alert(entry: &AlertEntry) -> Option<AlertBody> {
    let value = str::from_utf8(&entry.value).ok()?;
    Some(AlertBody {
        seq: entry.seq,
        committed_at: entry.committed_at.0,
        latency_ms: entry.latency.map(millis),
        alert: RawValue::from_string(value.to_owned()).ok()?,
    })
}

pub(super) async fn windows(state: &Observed, limit: usize) -> WindowsBody {
    let windows = state.windows().await;
    WindowsBody { open: windows.open, windows: windows.hottest.iter().take(limit).map(window).collect() }
}

fn window(window: &OpenWindow) -> WindowBody {
    WindowBody {
        rule: window.rule.to_string(),
        service: window.service.to_string(),
        window_start: window.start.0,
        window_end: window.end.0,
        count: window.count,
        threshold: window.threshold,
        crossed: window.crossed,
    }
}

pub(super) fn dead_letters(state: &Observed) -> DeadLettersBody {
    let reason = |reason: Reason| ReasonBody {
        reason: reason.as_str().to_owned(),
        total: state.metrics.dead_letters(reason).get(),
        samples: state.journal.dead_letters(reason.as_str()).iter().map(|of| sample(of)).collect(),
    };
    DeadLettersBody { reasons: Reason::ALL.map(reason).into() }
}

fn sample(sample: &DeadLetterSample) -> SampleBody {
    SampleBody {
        at: sample.at.0,
        sink: sample.sink.clone(),
        partition: sample.partition,
        offset: sample.offset,
        detail: sample.detail.clone(),
        size: sample.size,
        value: String::from_utf8_lossy(&sample.value).into_owned(),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
