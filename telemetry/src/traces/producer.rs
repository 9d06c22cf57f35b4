//! The span that a record's producer names in its headers, as W3C Trace Context has it.

use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator as _},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use super::TraceContext;

/// The headers in which a producer names its span.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProducerHeaders<'a> {
    /// `traceparent`.
    pub traceparent: &'a str,
    /// `tracestate`, or empty.
    pub tracestate: &'a str,
}

impl ProducerHeaders<'_> {
    /// Length of a `traceparent` of version 0, which all others begin with.
    pub const LEN: usize = 55;
    /// Where in it the span's id is.
    pub const SPAN_ID: std::ops::Range<usize> = 36..52;

    /// Whether the producer keeps its trace; asked before anything is parsed.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        let flags = self.traceparent.as_bytes().get(54);
        flags.is_some_and(|flags| char::from(*flags).to_digit(16).is_some_and(|flags| flags & 1 == 1))
    }

    /// The producer's span, if the headers make sense.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), self);
        let context = context.span().span_context().clone();
        context.is_valid().then_some(context)
    }
}

impl Extractor for ProducerHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.traceparent),
            "tracestate" => Some(self.tracestate).filter(|state| !state.is_empty()),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
