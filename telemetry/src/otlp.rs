//! Export to an OpenTelemetry collector, by gRPC or HTTP.
//!
//! What is to be exported waits in bounded queues that threads of the SDK's own empty. A collector that is slow, down
//! or refuses costs the pipeline nothing: what does not fit or is refused is dropped and counted.

mod http;
mod queue;

use std::{env, sync::Arc, thread, time::Duration};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId, TracerProvider as _},
};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    logs::SdkLoggerProvider,
    metrics::PeriodicReader,
    trace::{Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample},
};

use crate::{Counter, TelemetryError, TraceNames, Traces, labels::Signal};

use http::Client;
use queue::{Counted, Queue};

/// What to export, and where to.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// The collector; if `None`, the standard `OTEL_EXPORTER_OTLP_ENDPOINT` says it, and else there is no export.
    pub endpoint: Option<String>,
    /// `service.name`, unless `OTEL_SERVICE_NAME` says otherwise.
    pub service_name: String,
    /// Share of traces that are kept, 0 to 1, unless `OTEL_TRACES_SAMPLER` says otherwise.
    pub trace_ratio: f64,
}

/// Things that were to be exported and were not, by signal; a clone is another handle of the same.
#[derive(Debug, Clone, Default)]
pub struct Dropped(Arc<[Counter; Signal::ALL.len()]>);

impl Dropped {
    /// Of this signal.
    #[must_use]
    pub fn of(&self, signal: Signal) -> &Counter {
        &self.0[signal as usize]
    }
}

/// The export of all three signals.
#[derive(Debug)]
pub struct Otlp {
    traces: Option<SdkTracerProvider>,
    pub(crate) logs: Option<SdkLoggerProvider>,
    metrics: Option<PeriodicReader<Counted<MetricExporter>>>,
    dropped: Dropped,
    resource: Resource,
    /// Where it goes, to be shown.
    target: String,
}

/// How long the last of it may take at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

impl Otlp {
    /// Sets the export up; `None` if nobody asked for it. Nothing is sent yet, so the collector may be away.
    ///
    /// # Errors
    /// If the settings or the environment make no sense.
    ///
    /// # Panics
    /// Outside a tokio runtime: gRPC needs one.
    pub fn new(settings: &OtlpSettings) -> Result<Option<Self>, TelemetryError> {
        let Some(target) = Target::find(settings)? else { return Ok(None) };
        let wanted = |variable| env::var(variable).map_or(true, |exporter| exporter != "none");
        let dropped = Dropped::default();
        let resource = resource(&settings.service_name);
        Ok(Some(Self {
            traces: wanted("OTEL_TRACES_EXPORTER")
                .then(|| target.traces(settings, &dropped, &resource))
                .transpose()?,
            logs: wanted("OTEL_LOGS_EXPORTER").then(|| target.logs(&dropped, &resource)).transpose()?,
            metrics: wanted("OTEL_METRICS_EXPORTER").then(|| target.metrics(&dropped)).transpose()?,
            dropped,
            resource,
            target: target.to_string(),
        }))
    }

    /// Where it goes, without what may be secret.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What was dropped.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped.clone()
    }

    /// The traces of the pipeline.
    #[must_use]
    pub fn tracing(&self, names: TraceNames) -> Traces {
        let tracer = self.traces.as_ref().map(|provider| provider.tracer("tidegate"));
        tracer.map_or_else(Traces::default, |tracer| Traces::new(tracer, names))
    }

    pub(crate) fn resource(&self) -> Resource {
        self.resource.clone()
    }

    /// The reader that exports metrics; once.
    pub(crate) fn take_metrics(&mut self) -> Option<PeriodicReader<Counted<MetricExporter>>> {
        self.metrics.take()
    }

    /// Sends what is left, for two seconds at most. Blocks.
    pub fn shut_down(self) {
        // The SDK's own time limits add up; what hangs ends with the process.
        let flush = thread::Builder::new().name("tidegate-otlp-flush".into()).spawn(move || {
            let _ = self.traces.map(|traces| traces.shutdown_with_timeout(FLUSH_TIMEOUT));
            let _ = self.logs.map(|logs| logs.shutdown_with_timeout(FLUSH_TIMEOUT));
        });
        let Ok(flush) = flush else { return };
        let began = std::time::Instant::now();
        while !flush.is_finished() && began.elapsed() < FLUSH_TIMEOUT {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What the signals say about this process, with what `OTEL_RESOURCE_ATTRIBUTES` adds.
fn resource(service_name: &str) -> Resource {
    let builder =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    match env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => builder.build(),
        _ => builder.with_service_name(service_name.to_owned()).build(),
    }
}

/// A collector, and how it is spoken to.
enum Target {
    Grpc(Option<String>),
    Http(Option<String>),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (protocol, endpoint) = match self {
            Self::Grpc(endpoint) => ("grpc", endpoint),
            Self::Http(endpoint) => ("http/protobuf", endpoint),
        };
        let endpoint = endpoint.as_deref().unwrap_or("as OTEL_EXPORTER_OTLP_ENDPOINT says");
        // User and password, if any, are before the last `@` of the authority.
        let shown = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
        let shown = shown.rsplit_once('@').map_or(shown, |(_, host)| host);
        write!(f, "{shown} ({protocol})")
    }
}

impl Target {
    fn find(settings: &OtlpSettings) -> Result<Option<Self>, TelemetryError> {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let inherited = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        let Some(endpoint) = settings.endpoint.as_ref().or(inherited.as_ref()) else { return Ok(None) };
        if !endpoint.starts_with("http://") {
            return Err(TelemetryError::Otlp(
                "the endpoint (telemetry.otlp_endpoint or OTEL_EXPORTER_OTLP_ENDPOINT) must begin with http://: no \
                 TLS is spoken here, but a collector on this machine or in its pod may speak it onwards"
                    .into(),
            ));
        }
        let by_port = endpoint.trim_end_matches('/').ends_with(":4318");
        let protocol = variable("OTEL_EXPORTER_OTLP_PROTOCOL");
        let explicit = settings.endpoint.clone();
        match protocol.as_deref() {
            Some("grpc") => Ok(Some(Self::Grpc(explicit))),
            Some("http/protobuf") => Ok(Some(Self::Http(explicit))),
            None if by_port => Ok(Some(Self::Http(explicit))),
            None => Ok(Some(Self::Grpc(explicit))),
            Some(other) => Err(TelemetryError::Otlp(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is {other:?}; this build speaks \"grpc\" and \"http/protobuf\""
            ))),
        }
    }

    fn traces(
        &self,
        settings: &OtlpSettings,
        dropped: &Dropped,
        resource: &Resource,
    ) -> Result<SdkTracerProvider, TelemetryError> {
        let exporter = match self {
            Self::Grpc(endpoint) => with(SpanExporter::builder().with_tonic(), endpoint.as_deref()).build(),
            Self::Http(endpoint) => {
                let endpoint = endpoint.as_deref().map(|base| path(base, "traces"));
                with(SpanExporter::builder().with_http().with_http_client(Client::new()), endpoint.as_deref())
                    .build()
            }
        };
        let (queue, exporter) = Queue::new(exporter.map_err(invalid)?, Signal::Traces, dropped);
        let builder = SdkTracerProvider::builder()
            .with_span_processor(queue.of_spans(exporter))
            .with_resource(resource.clone());
        if env::var_os("OTEL_TRACES_SAMPLER").is_some() {
            // The builder has read it.
            return Ok(builder.build());
        }
        let by_chance = Sampler::TraceIdRatioBased(settings.trace_ratio);
        Ok(builder.with_sampler(KeepLinked(Sampler::ParentBased(Box::new(by_chance)))).build())
    }

    fn logs(&self, dropped: &Dropped, resource: &Resource) -> Result<SdkLoggerProvider, TelemetryError> {
        let exporter = match self {
            Self::Grpc(endpoint) => with(LogExporter::builder().with_tonic(), endpoint.as_deref()).build(),
            Self::Http(endpoint) => {
                let endpoint = endpoint.as_deref().map(|base| path(base, "logs"));
                with(LogExporter::builder().with_http().with_http_client(Client::new()), endpoint.as_deref())
                    .build()
            }
        };
        let (queue, exporter) = Queue::new(exporter.map_err(invalid)?, Signal::Logs, dropped);
        Ok(SdkLoggerProvider::builder()
            .with_log_processor(queue.of_logs(exporter))
            .with_resource(resource.clone())
            .build())
    }

    fn metrics(&self, dropped: &Dropped) -> Result<PeriodicReader<Counted<MetricExporter>>, TelemetryError> {
        let exporter = match self {
            Self::Grpc(endpoint) => with(MetricExporter::builder().with_tonic(), endpoint.as_deref()).build(),
            Self::Http(endpoint) => {
                let endpoint = endpoint.as_deref().map(|base| path(base, "metrics"));
                with(
                    MetricExporter::builder().with_http().with_http_client(Client::new()),
                    endpoint.as_deref(),
                )
                .build()
            }
        };
        let (_, exporter) = Queue::new(exporter.map_err(invalid)?, Signal::Metrics, dropped);
        Ok(PeriodicReader::builder(exporter).build())
    }
}

fn with<B: opentelemetry_otlp::WithExportConfig>(builder: B, endpoint: Option<&str>) -> B {
    match endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint),
        None => builder,
    }
}

/// Where a signal goes under a base URL.
fn path(base: &str, signal: &str) -> String {
    format!("{}/v1/{signal}", base.trim_end_matches('/'))
}

fn invalid(error: impl std::fmt::Display) -> TelemetryError {
    TelemetryError::Otlp(error.to_string())
}

/// Keeps what has links to begin with: an alert whose events are kept somewhere. For all else `.0` decides.
#[derive(Debug, Clone)]
pub(crate) struct KeepLinked(pub(crate) Sampler);

impl ShouldSample for KeepLinked {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.0.should_sample(parent, trace_id, name, kind, attributes, links);
        if !links.is_empty() {
            result.decision = SamplingDecision::RecordAndSample;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn settings(endpoint: &str) -> OtlpSettings {
        OtlpSettings { endpoint: Some(endpoint.into()), service_name: "tidegate".into(), trace_ratio: 1.0 }
    }

    #[test]
    fn the_port_tells_the_protocol_and_secrets_are_not_shown() {
        let shown = |endpoint| Target::find(&settings(endpoint)).unwrap().unwrap().to_string();
        assert_eq!(shown("http://localhost:4317"), "localhost:4317 (grpc)");
        assert_eq!(shown("http://localhost:4318/"), "localhost:4318/ (http/protobuf)");
        assert_eq!(shown("http://user:secret@collector:4317"), "collector:4317 (grpc)");
    }

    #[test]
    fn an_endpoint_that_needs_tls_is_refused_with_a_way_out() {
        let error = Target::find(&settings("https://collector:4317")).err().unwrap().to_string();
        assert!(error.contains("http://"), "{error}");
    }
}
