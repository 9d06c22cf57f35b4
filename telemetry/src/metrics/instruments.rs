//! How the metrics are registered, and the few whose value is worked out when it is read.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

use opentelemetry::{
    KeyValue,
    metrics::{self, Meter, MeterProvider},
};
use opentelemetry_sdk::metrics::{SdkMeterProvider, Stream};
use prometheus::Registry;
use tidegate_core::{
    Epoch, TimestampMs, alert::AlertPhase, bots::Category, event::Reason, supervision::Part,
};
use tidegate_host::wall_time;

use crate::{
    CheckpointPhase, Counter, Dropped, Gauge, Histogram, Labels, Otlp, Signal, SinkMeter, Stage, StageMeter,
    TelemetryError,
    families::{Family, UNLABELLED, by, counters, counters_and_spare, gauges, observe, observe_count},
    names::{self, Spec},
    process,
};

/// Upper bounds of the buckets of durations, in seconds: from a commit on a local log to a stuck one.
const DURATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Partitions beyond the configured number are counted too: the topic may have more than it should.
const MAX_PARTITIONS: u32 = 1024;

/// The cells and instruments behind [`Metrics`](super::Metrics).
pub(super) struct Instruments {
    pub(super) source_records: Family<Counter>,
    pub(super) sink_records: Family<Counter>,
    pub(super) bot_events: Family<Counter>,
    pub(super) dead_letters: Family<Counter>,
    pub(super) skipped: Family<Counter>,
    pub(super) late_events: Family<Counter>,
    pub(super) future_events: Family<Counter>,
    pub(super) window_overflow: Family<Counter>,
    pub(super) alerts: Family<Counter>,
    pub(super) restarts: Family<Counter>,
    pub(super) consumer_lag: Family<Gauge>,
    pub(super) geo_build: Family<Gauge>,
    pub(super) state_bytes: Family<Gauge>,
    pub(super) watermark: Family<Watermark>,
    pub(super) checkpoint: Family<Checkpoint>,
    pub(super) stages: Family<StageMeter>,
    pub(super) checkpoint_duration: Vec<Histogram>,
    pub(super) alert_latency: Histogram,
    pub(super) sinks: Family<SinkMeter>,
    pub(super) sink_delivery: Vec<Histogram>,
    pub(super) registry: Registry,
    /// Dropping it would end the collection.
    _provider: SdkMeterProvider,
}

/// The pipeline's watermark; the lag grows between updates too, so a stuck pipeline shows.
#[derive(Debug)]
pub(super) struct Watermark(AtomicI64);

impl Default for Watermark {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Watermark {
    pub(super) fn set(&self, watermark: TimestampMs) {
        self.0.store(watermark.0, Relaxed);
    }

    pub(super) fn get(&self) -> Option<TimestampMs> {
        let watermark_ms = self.0.load(Relaxed);
        (watermark_ms != i64::MIN).then_some(TimestampMs(watermark_ms))
    }

    fn lag_seconds(&self) -> Option<f64> {
        self.get().map(|TimestampMs(watermark_ms)| (wall_clock_ms() - watermark_ms as f64) / 1000.0)
    }
}

/// What is known about the last checkpoint.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    last_epoch: Gauge,
    current_at: Mutex<Option<Instant>>,
}

impl Checkpoint {
    pub(super) fn committed(&self, epoch: Epoch) {
        self.set_last(epoch);
        self.set_current();
    }

    pub(super) fn set_last(&self, epoch: Epoch) {
        self.last_epoch.set(epoch.0 as f64);
    }

    pub(super) fn set_current(&self) {
        *self.current_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn age(&self) -> Option<Duration> {
        let current_at = *self.current_at.lock().unwrap_or_else(PoisonError::into_inner);
        current_at.map(|at| at.elapsed())
    }
}

impl Instruments {
    pub(super) fn register(labels: &Labels, otlp: Option<&mut Otlp>) -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        let dropped = otlp.as_ref().map(|otlp| otlp.dropped()).unwrap_or_default();
        let provider = provider(&registry, labels, otlp)?;
        let meter = &provider.meter("tidegate");
        build_info(meter);
        telemetry_dropped(meter, dropped);
        process::register(meter);
        let partitions = || by("partition", (0..labels.partitions.max(MAX_PARTITIONS)).map(i64::from));
        let rules = || by("rule", labels.rules.iter().cloned());
        let rule_phases = labels.rules.iter().flat_map(|rule| {
            AlertPhase::ALL.into_iter().map(move |phase| {
                vec![KeyValue::new("rule", rule.clone()), KeyValue::new("phase", phase.as_str())]
            })
        });
        let actors = by("actor", Part::ALL.map(Part::as_str));
        let geo_build = gauges(meter, names::GEO_BUILD, UNLABELLED);
        geo_build.get(0).set(0.0);
        Ok(Self {
            source_records: counters_and_spare(
                meter,
                names::SOURCE_RECORDS,
                partitions(),
                labels.partitions as usize,
            ),
            sink_records: counters(meter, names::SINK_RECORDS, by("topic", labels.topics.iter().cloned())),
            bot_events: counters(
                meter,
                names::BOT_EVENTS,
                by("category", Category::ALL.map(Category::as_str)),
            ),
            dead_letters: counters(meter, names::DEAD_LETTERS, by("reason", Reason::ALL.map(Reason::as_str))),
            skipped: counters(meter, names::SKIPPED, by("reason", ["tombstone"])),
            late_events: counters(meter, names::LATE_EVENTS, rules()),
            future_events: counters(meter, names::FUTURE_EVENTS, UNLABELLED),
            window_overflow: counters(meter, names::WINDOW_OVERFLOW, UNLABELLED),
            alerts: counters(meter, names::ALERTS, rule_phases),
            restarts: counters(meter, names::RESTARTS, actors),
            consumer_lag: gauges(meter, names::CONSUMER_LAG, partitions()),
            geo_build,
            state_bytes: gauges(meter, names::STATE_BYTES, UNLABELLED),
            watermark: watermark(meter),
            checkpoint: checkpoint(meter),
            stages: stages(meter),
            checkpoint_duration: checkpoint_duration(meter),
            alert_latency: Histogram {
                instrument: durations(meter, names::ALERT_LATENCY),
                attributes: Vec::new(),
            },
            sinks: sinks(meter, labels),
            sink_delivery: sink_delivery(meter, labels),
            registry,
            _provider: provider,
        })
    }
}

/// A provider whose metrics come out of `registry` under exactly their own names and labels.
fn provider(
    registry: &Registry,
    labels: &Labels,
    otlp: Option<&mut Otlp>,
) -> Result<SdkMeterProvider, TelemetryError> {
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_units()
        .without_counter_suffixes()
        .without_target_info()
        .scope_info_enabled(false)
        .build()
        .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
    // The SDK would fold what is beyond 2000 series of a metric into one.
    let series = (labels.partitions.max(MAX_PARTITIONS) as usize)
        .max(labels.rules.len() * AlertPhase::ALL.len())
        .max(2000);
    let mut builder = SdkMeterProvider::builder()
        .with_reader(exporter)
        .with_view(move |_| Stream::builder().with_cardinality_limit(series).build().ok());
    if let Some(otlp) = otlp {
        builder = builder.with_resource(otlp.resource());
        if let Some(reader) = otlp.take_metrics() {
            builder = builder.with_reader(reader);
        }
    }
    Ok(builder.build())
}

fn watermark(meter: &Meter) -> Family<Watermark> {
    let family = Family::new(UNLABELLED);
    observe(meter, names::WATERMARK_LAG, &family, Watermark::lag_seconds);
    family
}

fn checkpoint(meter: &Meter) -> Family<Checkpoint> {
    let family = Family::<Checkpoint>::new(UNLABELLED);
    observe(meter, names::CHECKPOINT_LAST_EPOCH, &family, |checkpoint| checkpoint.last_epoch.get());
    observe(meter, names::CHECKPOINT_AGE, &family, |checkpoint| {
        checkpoint.age().map(|age| age.as_secs_f64())
    });
    family
}

fn stages(meter: &Meter) -> Family<StageMeter> {
    let family = Family::<StageMeter>::new(by("stage", Stage::ALL.iter().map(|stage| stage.as_str())));
    observe(meter, names::BUSY_RATIO, &family, |stage| Some(stage.busy_ratio()));
    observe(meter, names::BACKPRESSURE_RATIO, &family, |stage| Some(stage.backpressure_ratio()));
    observe(meter, names::QUEUE_EVENTS, &family, |stage| Some(stage.queue().get() as f64));
    family
}

fn checkpoint_duration(meter: &Meter) -> Vec<Histogram> {
    let instrument = durations(meter, names::CHECKPOINT_DURATION);
    by("phase", CheckpointPhase::ALL.iter().map(|phase| phase.as_str()))
        .map(|attributes| Histogram { instrument: instrument.clone(), attributes })
        .collect()
}

fn sinks(meter: &Meter, labels: &Labels) -> Family<SinkMeter> {
    let family = Family::<SinkMeter>::new(by("sink", labels.sinks.iter().cloned()));
    observe(meter, names::SINK_UP, &family, SinkMeter::up);
    observe(meter, names::SINK_LAG, &family, |sink| sink.lag.get());
    type Count = fn(&SinkMeter) -> u64;
    let counts: [(Spec, Count); 3] = [
        (names::SINK_DELIVERED, |sink| sink.delivered.get()),
        (names::SINK_REJECTED, |sink| sink.rejected.get()),
        (names::SINK_RETRIES, |sink| sink.retries.get()),
    ];
    for (spec, count) in counts {
        observe_count(meter, spec, &family, usize::MAX, count);
    }
    family
}

fn sink_delivery(meter: &Meter, labels: &Labels) -> Vec<Histogram> {
    let instrument = durations(meter, names::SINK_DELIVERY);
    by("sink", labels.sinks.iter().cloned())
        .map(|attributes| Histogram { instrument: instrument.clone(), attributes })
        .collect()
}

fn durations(meter: &Meter, spec: Spec) -> metrics::Histogram<f64> {
    meter
        .f64_histogram(spec.name)
        .with_unit(spec.unit)
        .with_description(spec.help)
        .with_boundaries(DURATION_BUCKETS.to_vec())
        .build()
}

fn telemetry_dropped(meter: &Meter, dropped: Dropped) {
    let Spec { name, unit, help } = names::TELEMETRY_DROPPED;
    meter
        .u64_observable_counter(name)
        .with_unit(unit)
        .with_description(help)
        .with_callback(move |observer| {
            for signal in Signal::ALL {
                observer.observe(dropped.of(*signal).get(), &[KeyValue::new("signal", signal.as_str())]);
            }
        })
        .build();
}

fn build_info(meter: &Meter) {
    let family = gauges(meter, names::BUILD_INFO, by("version", [env!("CARGO_PKG_VERSION")]));
    family.get(0).set(1.0);
}

/// Milliseconds since the Unix epoch, with the precision of a gauge.
fn wall_clock_ms() -> f64 {
    wall_time().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1000.0)
}
