//! Structured logs on standard error: text for people, one JSON object a line for machines.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    fmt::{self, Write as _},
    io::{self, IsTerminal as _},
    panic,
};

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing::{Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    field::MakeExt as _,
    fmt::{MakeWriter, format},
    layer::SubscriberExt as _,
    registry::LookupSpan,
};

use crate::{Otlp, TelemetryError};

/// Format of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// JSON, one object a line.
    Json,
}

/// Where a filter may come from; the first that is set wins.
const FILTER_VARIABLES: [&str; 2] = ["TIDEGATE_LOG", "RUST_LOG"];

/// In force below a user's filter too: what these say at `info` is of no use to who runs the daemon, and a
/// filter that names them still gets all of it.
const QUIET: &str = "ractor=warn,rdkafka=warn,librdkafka=warn,sled=warn,hyper=warn,opentelemetry=warn,\
                     opentelemetry_sdk=warn,opentelemetry-prometheus=warn";

/// What this module's part that exports says of failures; never exported itself, lest a failure begets another.
pub(crate) const EXPORT_TARGET: &str = "tidegate_telemetry::export";

/// What never goes to a collector: what speaks to it would speak of itself.
const NOT_EXPORTED: &str = "tidegate_telemetry::export=off,opentelemetry=off,opentelemetry_sdk=off,\
                            opentelemetry_otlp=off,tonic=off,hyper=off,hyper_util=off,h2=off,tower=off,ureq=off,\
                            ureq_proto=off";

/// Sets logging up for the whole process, and makes panics log lines like all others.
///
/// The filter comes from `TIDEGATE_LOG` or `RUST_LOG`; if neither is set it is `default_filter`, such as `info`.
/// Text has colours on a terminal only, and not if `NO_COLOR` is set. With `otlp` all lines are exported too.
///
/// # Errors
/// If the filter cannot be understood, or if logging is set up already.
pub fn init(format: LogFormat, default_filter: &str, otlp: Option<&Otlp>) -> Result<(), TelemetryError> {
    let terminal = io::stderr().is_terminal();
    let json = format == LogFormat::Json || (format == LogFormat::Auto && !terminal);
    let colours = terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (variable, directives) = FILTER_VARIABLES
        .into_iter()
        .filter_map(|variable| Some((variable, env::var(variable).ok()?)))
        .find(|(_, directives)| !directives.is_empty())
        .unwrap_or((FILTER_VARIABLES[0], default_filter.to_owned()));
    let filter = |directives: &str| {
        filter(directives).map_err(|error| TelemetryError::LogFilter { variable, cause: error.to_string() })
    };
    let export = otlp.and_then(|otlp| otlp.logs.as_ref()).map(OpenTelemetryTracingBridge::new);
    let export_filter = filter(&format!("{directives},{NOT_EXPORTED}"))?;
    let export = export.map(|export| export.with_filter(export_filter));
    let lines = subscriber(json, colours, filter(&directives)?, io::stderr);
    tracing::subscriber::set_global_default(lines.with(export))
        .map_err(|error| TelemetryError::LogsAlreadySet(error.to_string()))?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn filter(directives: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::builder().parse(format!("{QUIET},{directives}"))
}

/// Writes lines. Further layers, such as one that exports, go on top.
fn subscriber<W>(
    json: bool,
    colours: bool,
    filter: EnvFilter,
    writer: W,
) -> impl Subscriber + for<'l> LookupSpan<'l> + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if json {
        Box::new(lines.json().flatten_event(true).with_span_list(false))
    } else {
        let fields = format::debug_fn(text_field).delimited(" ");
        Box::new(lines.with_ansi(colours).fmt_fields(fields))
    };
    Registry::default().with(lines.with_filter(filter))
}

/// Writes one field as text. Values may come from records, so whatever could end the line, move the cursor or
/// turn the reading direction is escaped; tracing-subscriber itself escapes only a part of that, and not in
/// all fields.
fn text_field(writer: &mut format::Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => {}
        name if writer.has_ansi_escapes() => write!(writer, "\x1b[2m{name}=\x1b[0m")?,
        name => write!(writer, "{name}=")?,
    }
    write!(Escaped(writer), "{value:?}")
}

/// Escapes control characters and the like on their way through.
struct Escaped<'a, 'w>(&'a mut format::Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unsafe) {
            let (harmless, tail) = rest.split_at(at);
            let mut chars = tail.chars();
            self.0.write_str(harmless)?;
            if let Some(char) = chars.next() {
                write!(self.0, "{}", char.escape_default())?;
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Control characters, line and paragraph separators, and the marks that reorder text in both directions.
fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The default hook writes several lines of plain text, in which a record's bytes could forge others.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        thread = std::thread::current().name(),
        location = info.location().map(tracing::field::display),
        backtrace,
        "panic: {}",
        info.payload_as_str().unwrap_or("(no message)"),
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Capture(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Capture {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, directives: &str, log: impl FnOnce()) -> String {
        let capture = Capture::default();
        let writer = capture.clone();
        let subscriber = subscriber(json, false, filter(directives).unwrap(), move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        let bytes = capture.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const HOSTILE: &str = "a\nERROR forged\r\x1b[2J\u{9b}\u{202e}\u{2028}\0\u{7f}é";

    fn log_hostile() {
        tracing::error!(shown = %HOSTILE, debugged = ?HOSTILE, plain = HOSTILE, "seen: {HOSTILE}");
    }

    #[test]
    fn hostile_values_stay_on_one_line_of_text_without_control_characters() {
        let text = logged(false, "info", log_hostile);
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(is_unsafe), "{line:?}");
        assert!(
            line.contains(
                r"seen: a\nERROR forged\r\u{1b}[2J\u{9b}\u{202e}\u{2028}\u{0}\u{7f}é shown=a\nERROR"
            )
        );
        assert!(line.contains(" debugged=\"a\\n") && line.contains(" plain=\"a\\n"), "{line}");
    }

    #[test]
    fn hostile_values_stay_one_json_object_on_one_line() {
        let text = logged(true, "info", log_hostile);
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'));
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(object["shown"], HOSTILE);
        assert_eq!(object["message"], format!("seen: {HOSTILE}"));
        assert_eq!(object["level"], "ERROR");
    }

    #[test]
    fn libraries_stay_quiet_unless_the_filter_names_them() {
        let log = || {
            tracing::info!(target: "ractor", "noise");
            tracing::debug!("detail");
        };
        let text = logged(false, "debug", log);
        assert!(text.contains("detail") && !text.contains("noise"), "{text}");
        assert!(logged(false, "ractor=info", log).contains("noise"));
    }
}
