//! Bounded queues before the SDK's own, so that what is dropped can be counted: theirs do not tell.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    logs::{self, BatchLogProcessor, LogBatch, LogExporter, LogProcessor, SdkLogRecord},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{self, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};

use crate::{Counter, labels::Signal};

use super::Dropped;

/// Spans or log lines that wait for the collector, at most. The SDK's queue behind has twice the room, so that it
/// is never full.
const QUEUE: usize = 2048;
/// An export that fails is told of once in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What waits, of one signal.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<State>);

#[derive(Debug)]
struct State {
    signal: Signal,
    waiting: AtomicUsize,
    dropped: Dropped,
    told: Mutex<Option<Instant>>,
}

impl Queue {
    /// A queue before this exporter.
    pub(super) fn new<E>(exporter: E, signal: Signal, dropped: &Dropped) -> (Self, Counted<E>) {
        let (waiting, dropped) = (AtomicUsize::new(0), dropped.clone());
        let queue = Self(Arc::new(State { signal, waiting, dropped, told: Mutex::new(None) }));
        (queue.clone(), Counted { exporter, queue })
    }

    pub(super) fn of_spans(self, exporter: Counted<opentelemetry_otlp::SpanExporter>) -> impl SpanProcessor {
        let config = trace::BatchConfigBuilder::default().with_max_queue_size(2 * QUEUE).build();
        Bounded {
            inner: BatchSpanProcessor::builder(exporter).with_batch_config(config).build(),
            queue: self,
        }
    }

    pub(super) fn of_logs(self, exporter: Counted<opentelemetry_otlp::LogExporter>) -> impl LogProcessor {
        let config = logs::BatchConfigBuilder::default().with_max_queue_size(2 * QUEUE).build();
        Bounded { inner: BatchLogProcessor::builder(exporter).with_batch_config(config).build(), queue: self }
    }

    fn dropped(&self) -> &Counter {
        self.0.dropped.of(self.0.signal)
    }

    /// Whether there is room for one more; if not, it is counted as dropped.
    fn admit(&self) -> bool {
        let admitted = self.0.waiting.fetch_add(1, Relaxed) < QUEUE;
        if !admitted {
            self.0.waiting.fetch_sub(1, Relaxed);
            self.dropped().add(1);
        }
        admitted
    }

    /// So many were handed to the collector, or could not be.
    fn exported(&self, count: usize, waited: bool, result: OTelSdkResult) -> OTelSdkResult {
        if waited {
            self.0.waiting.fetch_sub(count, Relaxed);
        }
        if let Err(error) = &result {
            self.dropped().add(count as u64);
            self.tell(error);
        }
        result
    }

    fn tell(&self, error: &OTelSdkError) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            let (signal, dropped) = (self.0.signal.as_str(), self.dropped().get());
            tracing::warn!(target: super::super::logs::EXPORT_TARGET, signal, dropped, %error, "not exported to the collector");
        }
    }
}

/// A processor that takes no more than the queue holds.
#[derive(Debug)]
struct Bounded<P> {
    inner: P,
    queue: Queue,
}

impl SpanProcessor for Bounded<BatchSpanProcessor> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.queue.admit() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl LogProcessor for Bounded<BatchLogProcessor> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.queue.admit() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An exporter whose failures are counted and told of.
#[derive(Debug)]
pub(crate) struct Counted<E> {
    exporter: E,
    queue: Queue,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.queue.exported(count, true, self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        self.queue.exported(count, true, self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Counted<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.queue.exported(1, false, self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
