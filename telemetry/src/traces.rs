//! Traces: a span per batch and stage, per epoch and phase, per sampled event, per alert.
//!
//! With tracing off, and for all that is not sampled, a span is an empty handle, so that a stage need not ask. Names
//! and attributes follow the OpenTelemetry conventions for messaging; what has none there begins with `tidegate`.

mod producer;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::trace::SdkTracer;

pub use producer::ProducerHeaders;

use tidegate_host::wall_time;

use crate::CheckpointPhase;

/// Identifies a span of ours or of somebody else's.
pub type TraceContext = SpanContext;

/// Producers of a batch that its span links to, at most.
pub const MAX_LINKS: usize = 32;

const SYSTEM: &str = "messaging.system";
const OPERATION: &str = "messaging.operation.name";
const OPERATION_TYPE: &str = "messaging.operation.type";
const DESTINATION: &str = "messaging.destination.name";
const PARTITION: &str = "messaging.destination.partition.id";
const GROUP: &str = "messaging.consumer.group.name";
const OFFSET: &str = "messaging.kafka.offset";
const BATCH_COUNT: &str = "messaging.batch.message_count";

/// Where spans are made; a clone is another handle of the same. The default is off.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Tracing>>);

#[derive(Debug)]
struct Tracing {
    tracer: SdkTracer,
    names: TraceNames,
}

/// What spans say about where they are.
#[derive(Debug, Clone)]
pub struct TraceNames {
    /// `kafka`, or the log that stands in for it.
    pub system: &'static str,
    /// The input topic.
    pub input: String,
    /// The consumer group.
    pub group: String,
    /// The topic of alerts.
    pub alerts: String,
}

/// Where an event stands in the input.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Input partition.
    pub partition: u32,
    /// Offset in it.
    pub offset: i64,
}

/// What the span of an alert says about it.
#[derive(Debug, Clone, Copy)]
pub struct AlertNames<'a> {
    /// Name of its rule.
    pub rule: &'a str,
    /// `crossed` or `closed`.
    pub phase: &'static str,
    /// The service it is about.
    pub service: &'a str,
    /// Partition of the topic of alerts that it goes to.
    pub partition: u32,
}

impl Traces {
    /// Spans made by `tracer`.
    #[must_use]
    pub fn new(tracer: SdkTracer, names: TraceNames) -> Self {
        Self(Some(Arc::new(Tracing { tracer, names })))
    }

    /// Whether anything can come of asking.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    fn start(&self, parent: &Context, build: impl FnOnce(&TraceNames) -> SpanBuilder) -> Span {
        let Some(tracing) = &self.0 else { return Span::default() };
        let span = tracing.tracer.build_with_context(build(&tracing.names), parent);
        if !span.is_recording() {
            return Span::default();
        }
        Span(Some(Box::new(Open { span, traces: self.clone() })))
    }

    /// Begins the span of a batch of `records` records of one input partition.
    #[must_use]
    pub fn batch(&self, partition: u32, records: usize) -> Span {
        self.start(&Context::new(), |names| {
            let name = format!("process {}", names.input);
            let count = KeyValue::new(BATCH_COUNT, records as i64);
            SpanBuilder::from_name(name)
                .with_kind(SpanKind::Consumer)
                .with_attributes(input_attributes(names, partition).chain([count]))
        })
    }

    /// Makes the span of an event whose producer keeps its own, as a child of that, and returns the `traceparent` to
    /// hand on. `None` if no such span is kept: the event then hands on what it came with, since a span that nobody
    /// exports would leave a hole in the trace.
    #[must_use]
    pub fn event(&self, producer: &ProducerHeaders<'_>, place: Place, batch: &Parent) -> Option<String> {
        if !self.is_on() || !producer.is_sampled() {
            return None;
        }
        let parent = Context::new().with_remote_span_context(producer.context()?);
        let mut span = self.start(&parent, |names| {
            let offset = KeyValue::new(OFFSET, place.offset);
            SpanBuilder::from_name(format!("process {}", names.input))
                .with_kind(SpanKind::Consumer)
                .with_attributes(input_attributes(names, place.partition).chain([offset]))
        });
        batch.context().into_iter().for_each(|batch| span.link(batch));
        span.traceparent()
    }

    /// Begins the span of an epoch that was cut so long ago, linked to batches that it commits.
    #[must_use]
    pub fn epoch(&self, epoch: u64, generation: u64, cut_ago: Duration, batches: &[Parent]) -> Span {
        let mut span = self.start(&Context::new(), |names| {
            SpanBuilder::from_name("epoch")
                .with_kind(SpanKind::Internal)
                .with_start_time(before(cut_ago))
                .with_attributes([
                    KeyValue::new(SYSTEM, names.system),
                    KeyValue::new("tidegate.epoch", epoch as i64),
                    KeyValue::new("tidegate.generation", generation as i64),
                ])
        });
        batches.iter().filter_map(Parent::context).take(MAX_LINKS).for_each(|batch| span.link(batch));
        span
    }

    /// Begins the span of an alert, linked to the events that made it. With such it is always kept.
    #[must_use]
    pub fn alert(&self, alert: AlertNames<'_>, origins: Vec<TraceContext>) -> Span {
        self.start(&Context::new(), |names| {
            let links = origins.into_iter().map(opentelemetry::trace::Link::with_context).collect();
            SpanBuilder::from_name(format!("send {}", names.alerts))
                .with_kind(SpanKind::Producer)
                .with_links(links)
                .with_attributes([
                    KeyValue::new(SYSTEM, names.system),
                    KeyValue::new(OPERATION, "send"),
                    KeyValue::new(OPERATION_TYPE, "send"),
                    KeyValue::new(DESTINATION, names.alerts.clone()),
                    KeyValue::new(PARTITION, alert.partition.to_string()),
                    KeyValue::new("tidegate.rule", alert.rule.to_owned()),
                    KeyValue::new("tidegate.alert.phase", alert.phase),
                    KeyValue::new("tidegate.service", alert.service.to_owned()),
                ])
        })
    }
}

fn input_attributes(names: &TraceNames, partition: u32) -> impl Iterator<Item = KeyValue> + use<> {
    [
        KeyValue::new(SYSTEM, names.system),
        KeyValue::new(OPERATION, "process"),
        KeyValue::new(OPERATION_TYPE, "process"),
        KeyValue::new(DESTINATION, names.input.clone()),
        KeyValue::new(GROUP, names.group.clone()),
        KeyValue::new(PARTITION, partition.to_string()),
    ]
    .into_iter()
}

fn before(ago: Duration) -> SystemTime {
    let now = wall_time();
    now.checked_sub(ago).unwrap_or(now)
}

/// A span, if it is kept. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    span: opentelemetry_sdk::trace::Span,
    traces: Traces,
}

impl Span {
    /// Whether it is kept, so that it is worth the while to say more about it.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// What identifies it, if it is kept.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|open| open.span.span_context().clone())
    }

    /// What identifies it in a record's header, if it is kept.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.0.as_ref().map(|open| traceparent(open.span.span_context()))
    }

    /// A handle under which others are made, anywhere and even after this one has ended.
    #[must_use]
    pub fn parent(&self) -> Parent {
        let parent = self.0.as_ref().map(|open| (open.traces.clone(), open.span.span_context().clone()));
        Parent(parent.map(Arc::new))
    }

    /// Adds a link.
    pub fn link(&mut self, context: TraceContext) {
        if let Some(open) = &mut self.0 {
            open.span.add_link(context, Vec::new());
        }
    }

    /// Ends the span of an epoch with its phases, which followed each other up to now, as children.
    pub fn end_with_phases(self, phases: &[(CheckpointPhase, Duration)]) {
        let parent = self.parent();
        if parent.0.is_none() {
            return;
        }
        let mut start = before(phases.iter().map(|(_, duration)| *duration).sum());
        for (phase, duration) in phases {
            let end = start + *duration;
            let mut span = parent.begin(phase.as_str(), Some(start));
            if let Some(open) = &mut span.0 {
                open.span.end_with_timestamp(end);
            }
            start = end;
        }
    }
}

/// Where further spans belong; empty if they would not be kept.
#[derive(Debug, Clone, Default)]
pub struct Parent(Option<Arc<(Traces, TraceContext)>>);

impl Parent {
    /// Begins a span.
    #[must_use]
    pub fn child(&self, name: &'static str) -> Span {
        self.begin(name, None)
    }

    fn begin(&self, name: &'static str, start: Option<SystemTime>) -> Span {
        let Some(parent) = &self.0 else { return Span::default() };
        let (traces, context) = &**parent;
        traces.start(&Context::new().with_remote_span_context(context.clone()), |_| SpanBuilder {
            start_time: start,
            ..SpanBuilder::from_name(name).with_kind(SpanKind::Internal)
        })
    }

    /// Whether spans under it are kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|parent| parent.1.clone())
    }
}

fn traceparent(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8() & 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Mutex;

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{Sampler, SdkTracerProvider, SpanData, SpanProcessor},
    };

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _span: &mut opentelemetry_sdk::trace::Span, _context: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().unwrap().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    /// Traces of which this share is kept by chance, and what is.
    fn traces(ratio: f64) -> (Traces, Kept) {
        let kept = Kept::default();
        let sampler =
            crate::otlp::KeepLinked(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))));
        let provider =
            SdkTracerProvider::builder().with_span_processor(kept.clone()).with_sampler(sampler).build();
        (Traces::new(provider.tracer("test"), names()), kept)
    }

    fn names() -> TraceNames {
        TraceNames {
            system: "kafka",
            input: "raw-events".into(),
            group: "tidegate".into(),
            alerts: "alerts".into(),
        }
    }

    const PRODUCER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(traceparent: &str) -> ProducerHeaders<'_> {
        ProducerHeaders { traceparent, tracestate: "" }
    }

    fn place() -> Place {
        Place { partition: 3, offset: 17 }
    }

    #[test]
    fn a_batch_that_is_not_kept_costs_its_stages_nothing_and_leaves_nothing() {
        let (traces, kept) = traces(0.0);
        let batch = traces.batch(3, 10);
        assert!(!batch.is_kept() && !batch.parent().child("filter").is_kept());
        assert!(!Traces::default().batch(3, 10).is_kept());
        drop(batch);
        assert!(kept.0.lock().unwrap().is_empty());
    }

    #[test]
    fn stages_are_children_of_their_batch_and_phases_of_their_epoch() {
        let (traces, kept) = traces(1.0);
        let batch = traces.batch(3, 10);
        drop(batch.parent().child("filter"));
        let batch_id = batch.context().unwrap().span_id();
        let epoch = traces.epoch(7, 1, Duration::from_millis(10), &[batch.parent()]);
        let epoch_id = epoch.context().unwrap().span_id();
        epoch.end_with_phases(&[
            (CheckpointPhase::Cut, Duration::from_millis(4)),
            (CheckpointPhase::Align, Duration::from_millis(6)),
        ]);
        drop(batch);
        let spans = kept.0.lock().unwrap();
        let by_name = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        assert_eq!(by_name("filter").parent_span_id, batch_id);
        assert_eq!(by_name("process raw-events").span_kind, SpanKind::Consumer);
        assert_eq!(by_name("epoch").links[0].span_context.span_id(), batch_id);
        assert_eq!((by_name("cut").parent_span_id, by_name("align").parent_span_id), (epoch_id, epoch_id));
        assert_eq!(by_name("cut").end_time, by_name("align").start_time);
    }

    #[test]
    fn an_event_hands_on_a_kept_child_of_its_producers_span_or_nothing_of_its_own() {
        let (traces, kept) = traces(0.0);
        let handed_on = traces.event(&headers(PRODUCER), place(), &Parent::default()).unwrap();
        assert_eq!((&handed_on[..36], &handed_on[52..]), (&PRODUCER[..36], "-01"));
        let unsampled = PRODUCER.replace("-01", "-00");
        assert_eq!(traces.event(&headers(&unsampled), place(), &Parent::default()), None);
        let spans = kept.0.lock().unwrap();
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0].parent_span_id.to_string(), PRODUCER[ProducerHeaders::SPAN_ID]);
        assert_eq!(spans[0].span_context.span_id().to_string(), handed_on[ProducerHeaders::SPAN_ID]);
        // A sampler that keeps nothing, whatever the producer says.
        let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
        let never = Traces::new(provider.tracer("test"), names());
        assert_eq!(never.event(&headers(PRODUCER), place(), &Parent::default()), None);
    }

    #[test]
    fn headers_that_make_no_sense_are_nobodys() {
        let (traces, _) = traces(1.0);
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        for text in ["", "00", zeros, &PRODUCER[..50], &"ü".repeat(40), &PRODUCER.replace("00-", "ff-")] {
            assert!(traces.event(&headers(text), place(), &Parent::default()).is_none(), "{text}");
        }
    }

    #[test]
    fn an_alert_of_events_that_are_kept_is_kept_and_links_them() {
        let (traces, kept) = traces(0.0);
        let origin = headers(PRODUCER).context().unwrap();
        let names = AlertNames { rule: "errors", phase: "crossed", service: "checkout", partition: 2 };
        drop(traces.alert(names, vec![origin.clone()]));
        assert!(!traces.alert(names, Vec::new()).is_kept());
        let spans = kept.0.lock().unwrap();
        assert_eq!(spans[0].links[0].span_context.trace_id(), origin.trace_id());
        assert_eq!((spans.len(), spans[0].name.as_ref()), (1, "send alerts"));
    }
}
