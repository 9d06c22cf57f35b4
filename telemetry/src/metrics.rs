//! All metrics of the daemon as typed handles.

mod instruments;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus::TextEncoder;
use tidegate_core::{
    Epoch, PartitionId, RuleId, SinkId, TimestampMs, alert::AlertPhase, bots::Category, event::Reason,
    record::Topic, supervision::Part,
};

use crate::{
    CheckpointPhase, Counter, Gauge, Histogram, Labels, Otlp, SinkMeter, Stage, StageMeter, TelemetryError,
};

use instruments::Instruments;

/// Handles of all metrics; a clone is another handle of the same.
///
/// A partition or a rule that [`Labels`] does not have is counted, and not shown.
#[derive(Clone)]
pub struct Metrics(Arc<Instruments>);

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`] if the exporter cannot be built.
    pub fn new(labels: &Labels) -> Result<Self, TelemetryError> {
        Self::exported(labels, None)
    }

    /// Registers all metrics and exports them to a collector too.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn exported(labels: &Labels, otlp: Option<&mut Otlp>) -> Result<Self, TelemetryError> {
        Ok(Self(Arc::new(Instruments::register(labels, otlp)?)))
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`] if they cannot be written out.
    pub fn encode(&self) -> Result<String, TelemetryError> {
        TextEncoder::new()
            .encode_to_string(&self.0.registry.gather())
            .map_err(|error| TelemetryError::Metrics(error.to_string()))
    }

    /// Works the ratios of the stages out anew. Meant to be called once a second.
    pub fn tick(&self) {
        let now = Instant::now();
        self.0.stages.cells().for_each(|stage| stage.tick(now));
    }

    /// Input records of a partition.
    #[must_use]
    pub fn source_records(&self, partition: PartitionId) -> &Counter {
        self.0.source_records.get(partition.0 as usize)
    }

    /// Records written to an output topic.
    #[must_use]
    pub fn sink_records(&self, topic: Topic) -> &Counter {
        // The input is no output.
        self.0.sink_records.get((topic as usize).wrapping_sub(1))
    }

    /// Events dropped as bots of a category.
    #[must_use]
    pub fn bot_events(&self, category: Category) -> &Counter {
        self.0.bot_events.get(category as usize)
    }

    /// Events dropped as bots, of all categories.
    #[must_use]
    pub fn all_bot_events(&self) -> u64 {
        Category::ALL.into_iter().map(|category| self.bot_events(category).get()).sum()
    }

    /// Dead letters for a reason.
    #[must_use]
    pub fn dead_letters(&self, reason: Reason) -> &Counter {
        self.0.dead_letters.get(reason as usize)
    }

    /// Tombstones skipped.
    #[must_use]
    pub fn skipped_tombstones(&self) -> &Counter {
        self.0.skipped.get(0)
    }

    /// Windows of a rule of [`Labels::rules`] that late events missed.
    #[must_use]
    pub fn late_events(&self, rule: RuleId) -> &Counter {
        self.0.late_events.get(rule.0)
    }

    /// Events too far in the future to be counted.
    #[must_use]
    pub fn future_events(&self) -> &Counter {
        self.0.future_events.get(0)
    }

    /// Events that were not counted because too many windows were open.
    #[must_use]
    pub fn window_overflow(&self) -> &Counter {
        self.0.window_overflow.get(0)
    }

    /// Alerts of a rule of [`Labels::rules`].
    #[must_use]
    pub fn alerts(&self, rule: RuleId, phase: AlertPhase) -> &Counter {
        self.0.alerts.get(rule.0 * AlertPhase::ALL.len() + phase as usize)
    }

    /// Restarts that failures of a kind of actor caused, of the worker alone or of the whole generation.
    #[must_use]
    pub fn restarts(&self, part: Part) -> &Counter {
        self.0.restarts.get(part as usize)
    }

    /// Records between the position in a partition and its end.
    #[must_use]
    pub fn consumer_lag(&self, partition: PartitionId) -> &Gauge {
        self.0.consumer_lag.get(partition.0 as usize)
    }

    /// Build time of the geo database in use, in seconds since the Unix epoch; 0 (as at the start) if there
    /// is none.
    #[must_use]
    pub fn geo_database_build_timestamp(&self) -> &Gauge {
        self.0.geo_build.get(0)
    }

    /// Size of the local state store in bytes.
    #[must_use]
    pub fn state_bytes(&self) -> &Gauge {
        self.0.state_bytes.get(0)
    }

    /// Sets the pipeline's watermark; the lag follows from it and the wall clock.
    pub fn set_watermark(&self, watermark: TimestampMs) {
        self.0.watermark.get(0).set(watermark);
    }

    /// The pipeline's watermark, once there is one.
    #[must_use]
    pub fn watermark(&self) -> Option<TimestampMs> {
        self.0.watermark.get(0).get()
    }

    /// Time since everything read was last known to be committed.
    #[must_use]
    pub fn checkpoint_age(&self) -> Option<Duration> {
        self.0.checkpoint.get(0).age()
    }

    /// An epoch was committed: sets the last epoch and the age to zero.
    pub fn epoch_committed(&self, epoch: Epoch) {
        self.0.checkpoint.get(0).committed(epoch);
    }

    /// An epoch was committed, but not the work that is waited for: sets the last epoch alone.
    pub fn epoch_without_progress(&self, epoch: Epoch) {
        self.0.checkpoint.get(0).set_last(epoch);
    }

    /// An epoch was empty and need not be committed: sets the age to zero.
    pub fn epoch_empty(&self) {
        self.0.checkpoint.get(0).set_current();
    }

    /// Durations of a phase of checkpoints.
    #[must_use]
    pub fn checkpoint_duration(&self, phase: CheckpointPhase) -> &Histogram {
        &self.0.checkpoint_duration[phase as usize]
    }

    /// From the append of a crossing event to the commit of its alert.
    #[must_use]
    pub fn alert_latency(&self) -> &Histogram {
        &self.0.alert_latency
    }

    /// Numbers and state of a sink of [`Labels::sinks`].
    #[must_use]
    pub fn sink(&self, SinkId(index): SinkId) -> &SinkMeter {
        self.0.sinks.get(index)
    }

    /// From the append of a record to its delivery by a sink of [`Labels::sinks`].
    #[must_use]
    pub fn sink_delivery(&self, SinkId(index): SinkId) -> Option<&Histogram> {
        self.0.sink_delivery.get(index)
    }

    /// Work, waiting and queue of a stage.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> &StageMeter {
        self.0.stages.get(stage as usize)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
