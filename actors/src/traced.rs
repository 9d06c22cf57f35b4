//! How traces go through: from the headers of input records to those of output records and to alerts.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::Arc,
};

use tidegate_core::{RuleId, TimestampMs, alert::Alert};
use tidegate_log::{HEADER_LENGTHS_BYTES, Headers, RecordBatch};
use tidegate_telemetry::{MAX_LINKS, Parent, Place, ProducerHeaders, Span, TraceContext, Traces};

/// Events of one piece that get spans of their own, at most: a producer that keeps every trace must not have us
/// make a span for each of its events.
const EVENT_SPANS: usize = 32;
/// Services, each under one rule, whose traced events are remembered at a time.
const ORIGINS: usize = 1024;

/// The headers of a record that name a span, and where in them `traceparent`'s value is. Of several the last counts.
fn producer_headers(encoded: &[u8]) -> Option<(ProducerHeaders<'_>, Range<usize>)> {
    let mut at = 0;
    let mut found = None;
    let mut tracestate = "";
    for (name, value) in Headers(encoded) {
        let start = at + HEADER_LENGTHS_BYTES + name.len();
        at = start + value.map_or(0, <[u8]>::len);
        let text = value.and_then(|value| str::from_utf8(value).ok());
        match (name, text) {
            (b"traceparent", Some(text)) => found = Some((text, start..at)),
            (b"tracestate", Some(text)) => tracestate = text,
            _ => {}
        }
    }
    found.map(|(traceparent, range)| (ProducerHeaders { traceparent, tracestate }, range))
}

/// The span of a record's producer, if that is kept.
pub(crate) fn sampled_producer(encoded: &[u8]) -> Option<TraceContext> {
    if encoded.is_empty() {
        return None;
    }
    let (headers, _) = producer_headers(encoded)?;
    if headers.is_sampled() { headers.context() } else { None }
}

/// Begins the span of a batch, linked to its producers'.
pub(crate) fn batch_span(traces: &Traces, batch: &RecordBatch) -> Span {
    if batch.records.is_empty() || !traces.is_on() {
        return Span::default();
    }
    let mut span = traces.batch(batch.partition.0, batch.records.len());
    if span.is_kept() {
        let producers =
            batch.records.iter().filter_map(|record| sampled_producer(record.headers.of(&batch.arena)));
        producers.take(MAX_LINKS).for_each(|producer| span.link(producer));
    }
    span
}

/// Makes the spans of single events of a piece.
pub(crate) struct EventTraces<'a> {
    traces: &'a Traces,
    batch: Parent,
    spans_left: usize,
}

impl<'a> EventTraces<'a> {
    /// `None` if tracing is off.
    pub(crate) fn new(traces: &'a Traces, batch: &Parent) -> Option<Self> {
        traces.is_on().then(|| Self { traces, batch: batch.clone(), spans_left: EVENT_SPANS })
    }

    /// Makes the span of a traced record and puts it into the `traceparent` among its encoded headers. Where no span is
    /// made, the headers stay as they came and name the producer's.
    pub(crate) fn hand_on(&mut self, encoded: &mut [u8], place: Place) {
        if encoded.is_empty() || self.spans_left == 0 {
            return;
        }
        let Some((headers, range)) = producer_headers(encoded) else { return };
        let Some(child) = self.traces.event(&headers, place, &self.batch) else { return };
        self.spans_left -= 1;
        let id = ProducerHeaders::SPAN_ID;
        encoded[range][id.clone()].copy_from_slice(&child.as_bytes()[id]);
    }
}

/// The traced events that were counted of late, so that an alert can name those that made it.
///
/// It is forgotten with the generation: what is committed does not depend on it.
#[derive(Debug, Default)]
pub(crate) struct Origins(HashMap<(RuleId, Arc<str>), Traced>);

/// Times of events and their producers' spans, oldest first.
type Traced = VecDeque<(TimestampMs, TraceContext)>;

impl Origins {
    /// An event was counted. When too many services are remembered, a new one is not.
    pub(crate) fn counted(
        &mut self,
        rule: RuleId,
        service: &str,
        timestamp: TimestampMs,
        context: TraceContext,
    ) {
        let key = (rule, Arc::from(service));
        if self.0.len() >= ORIGINS && !self.0.contains_key(&key) {
            return;
        }
        let events = self.0.entry(key).or_default();
        if events.len() == MAX_LINKS {
            events.pop_front();
        }
        events.push_back((timestamp, context));
    }

    /// The events of an alert's window, as far as they are remembered.
    pub(crate) fn of(&self, alert: &Alert) -> Vec<TraceContext> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let window = alert.window_start..alert.window_end;
        let events = self.0.get(&(alert.rule, Arc::clone(&alert.service)));
        events
            .into_iter()
            .flatten()
            .filter(|(at, _)| window.contains(at))
            .map(|(_, context)| context.clone())
            .collect()
    }

    /// Forgets events that are in no open window, given the watermark and how long windows are of each rule.
    pub(crate) fn forget(&mut self, watermark: TimestampMs, open_ms: impl Fn(RuleId) -> i64) {
        self.0.retain(|(rule, _), events| {
            let since = watermark.0.saturating_sub(open_ms(*rule));
            events.retain(|(at, _)| at.0 >= since);
            !events.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::alert::AlertPhase;
    use tidegate_log::push_header;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn context() -> TraceContext {
        ProducerHeaders { traceparent: PARENT, tracestate: "" }.context().expect("valid")
    }

    #[test]
    fn the_last_traceparent_is_found_among_other_headers_and_where_it_is() {
        let mut encoded = Vec::new();
        push_header(&mut encoded, b"a", None);
        push_header(&mut encoded, b"traceparent", Some(b"first"));
        push_header(&mut encoded, b"traceparent", Some(PARENT.as_bytes()));
        push_header(&mut encoded, b"b", Some(b"\xff"));
        let (headers, range) = producer_headers(&encoded).expect("there is one");
        assert_eq!((headers.traceparent, &encoded[range]), (PARENT, PARENT.as_bytes()));
        assert_eq!(sampled_producer(&encoded), Some(context()));
        assert!(sampled_producer(&[]).is_none());
    }

    #[test]
    fn without_tracing_headers_stay_as_they_are() {
        assert!(EventTraces::new(&Traces::default(), &Parent::default()).is_none());
    }

    #[test]
    fn an_alert_is_given_the_events_of_its_window_only_and_old_ones_are_forgotten() {
        let mut origins = Origins::default();
        for at in [5, 15, 25] {
            origins.counted(RuleId(0), "checkout", TimestampMs(at), context());
        }
        origins.counted(RuleId(1), "checkout", TimestampMs(15), context());
        let alert = Alert {
            rule: RuleId(0),
            phase: AlertPhase::Crossed,
            service: "checkout".into(),
            window_start: TimestampMs(10),
            window_end: TimestampMs(30),
            count: 2,
            first_event_at: TimestampMs(15),
            last_event_at: TimestampMs(25),
            evidence: Vec::new(),
            appended_at: None,
        };
        assert_eq!(origins.of(&alert).len(), 2);
        origins.forget(TimestampMs(30), |_| 10);
        assert_eq!(origins.of(&alert).len(), 1);
        origins.forget(TimestampMs(100), |_| 10);
        assert!(origins.0.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut origins = Origins::default();
        for service in 0..2 * ORIGINS {
            for _ in 0..2 * MAX_LINKS {
                origins.counted(RuleId(0), &service.to_string(), TimestampMs(0), context());
            }
        }
        assert_eq!(origins.0.len(), ORIGINS);
        assert!(origins.0.values().all(|events| events.len() == MAX_LINKS));
    }
}
