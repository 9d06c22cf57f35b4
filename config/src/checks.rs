//! Checks that concern several keys, unknown keys, and what this version does not have yet.

use std::time::Duration;

use crate::{
    note::Note,
    settings::{LogKind, Settings, Topic},
    sink::Destination,
    source::Report,
    suggest::nearest,
    walk::{Unknown, Walk},
};

/// Most sliding windows that one event may fall into.
const MAX_WINDOWS_PER_EVENT: i64 = 1000;

/// librdkafka's default.
const DEFAULT_TRANSACTION_TIMEOUT_MS: u64 = 60_000;

/// All checks of settings whose keys are right one by one.
pub(crate) fn check(settings: &Settings, walk: &mut Walk<'_>) {
    bootstrap_servers(settings, walk);
    topic_names(settings, walk);
    unique_names("rules", &settings.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), walk);
    unique_names("sinks", &settings.sinks.iter().map(|sink| sink.name.as_str()).collect::<Vec<_>>(), walk);
    rules_of_sinks(settings, walk);
    slides(settings, walk);
    transaction_timeout(settings, walk);
    otlp_endpoint(settings, walk);
}

fn bootstrap_servers(settings: &Settings, walk: &mut Walk<'_>) {
    if settings.log == LogKind::Kafka && !walk.is_written("kafka.bootstrap_servers") {
        let help = "add `bootstrap_servers = \"host:9092\"` below `[kafka]`";
        let place: &[&str] = if walk.is_in_file("kafka") { &["kafka"] } else { &[] };
        walk.conflict(place, "`kafka.bootstrap_servers` is missing".into(), help);
    }
}

fn topic_names(settings: &Settings, walk: &mut Walk<'_>) {
    let topics = &settings.topics;
    let topics: [(&str, &Topic); 5] = [
        ("topics.raw.name", &topics.raw),
        ("topics.processed.name", &topics.processed),
        ("topics.alerts.name", &topics.alerts),
        ("topics.dead_letters.name", &topics.dead_letters),
        ("topics.state.name", &topics.state),
    ];
    // Kafka refuses topics that differ in `.` and `_` alone, as their metrics would have the same name.
    let folded = |topic: &Topic| topic.name.replace('.', "_");
    for (i, (later, topic)) in topics.iter().enumerate() {
        if let Some((earlier, _)) = topics[..i].iter().find(|(_, other)| folded(other) == folded(topic)) {
            let message = format!("`{later}` is the same topic as `{earlier}`");
            walk.conflict(
                &[later, earlier],
                message,
                "allowed: five different names; `.` and `_` count as one",
            );
        }
    }
}

/// Elements of an array of tables have names of their own. A name that is missing is told elsewhere.
fn unique_names(section: &str, names: &[&str], walk: &mut Walk<'_>) {
    for (i, name) in names.iter().enumerate() {
        if let Some(first) = names[..i].iter().position(|other| other == name && !name.is_empty()) {
            let message = format!("`{section}[{i}].name` is the same as `{section}[{first}].name`");
            let (later, element) = (format!("{section}[{i}].name"), format!("{section}[{i}]"));
            let earlier = format!("{section}[{first}].name");
            let help = format!("allowed: a name of its own for each of `{section}`");
            walk.conflict(&[&later, &element, &earlier], message, &help);
        }
    }
}

/// What a webhook asks for by name is there.
fn rules_of_sinks(settings: &Settings, walk: &mut Walk<'_>) {
    for (i, sink) in settings.sinks.iter().enumerate() {
        let Destination::Webhook(webhook) = &sink.destination else { continue };
        let is_rule = |name: &String| settings.rules.iter().any(|rule| rule.name == *name);
        if let Some(stray) = webhook.rules.iter().position(|name| !is_rule(name)) {
            let path = format!("sinks[{i}].rules");
            let message = format!("`{path}[{stray}]` is not the name of a rule");
            let help = "allowed: names in `[[rules]]`; without this key, alerts of all rules are sent";
            walk.conflict(&[&path, "rules"], message, help);
        }
    }
}

fn slides(settings: &Settings, walk: &mut Walk<'_>) {
    for (i, rule) in settings.rules.iter().enumerate() {
        let (window, slide) = (format!("rules[{i}].window"), format!("rules[{i}].slide"));
        let wrong = if rule.slide_ms > rule.window_ms {
            "is longer than"
        } else if rule.window_ms % rule.slide_ms != 0 {
            "does not divide"
        } else if rule.window_ms / rule.slide_ms > MAX_WINDOWS_PER_EVENT {
            "is too short for"
        } else {
            continue;
        };
        let help = "allowed: a `slide` that divides `window`, at most 1000 times";
        walk.conflict(&[&slide, &window], format!("`{slide}` {wrong} `{window}`"), help);
    }
}

/// A transaction is open for a whole epoch; one that the broker ends before makes every epoch fail.
fn transaction_timeout(settings: &Settings, walk: &mut Walk<'_>) {
    const PROPERTY: &str = "transaction.timeout.ms";
    let written =
        settings.kafka.properties.get(PROPERTY).and_then(|value| value.expose().trim().parse().ok());
    let timeout = Duration::from_millis(written.unwrap_or(DEFAULT_TRANSACTION_TIMEOUT_MS));
    if settings.log == LogKind::Kafka && timeout <= settings.checkpoint_interval {
        let message =
            format!("`checkpoint.interval` is not shorter than `{PROPERTY}`, {} ms", timeout.as_millis());
        let help = "allowed: an interval well below it; `kafka.properties` may set a longer timeout";
        walk.conflict(&["checkpoint.interval", "kafka.properties"], message, help);
    }
}

/// No TLS is spoken to a collector, and a URL is no place for a password: it is shown in many places.
fn otlp_endpoint(settings: &Settings, walk: &mut Walk<'_>) {
    let Some(endpoint) = &settings.telemetry.otlp_endpoint else { return };
    let problem = match endpoint.strip_prefix("http://") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => "names no host",
        Some(rest) if rest.contains('@') => "has a user in it, which would be shown",
        Some(_) => return,
        None => "does not begin with `http://`",
    };
    let help = "allowed: such as `http://localhost:4317` of a collector on this machine, which may speak TLS onwards; \
                credentials belong in the variable OTEL_EXPORTER_OTLP_HEADERS";
    walk.conflict(&["telemetry.otlp_endpoint"], format!("`telemetry.otlp_endpoint` {problem}"), help);
}

/// Reports the keys that do not exist, with what was probably meant.
pub(crate) fn unknown_keys(walk: &mut Walk<'_>) {
    let known = Known::of(&walk.notes);
    let reports: Vec<Report> = walk.unknown.iter().map(|unknown| known.report(unknown)).collect();
    walk.reports.extend(reports);
}

/// Dotted paths of all keys and tables, without the numbers of elements.
struct Known(Vec<String>);

impl Known {
    fn of(notes: &[Note]) -> Self {
        let mut paths = Vec::new();
        Self::collect(notes, &mut paths);
        // Several types of an element have keys of the same name.
        paths.sort();
        paths.dedup();
        Self(paths)
    }

    fn collect(notes: &[Note], paths: &mut Vec<String>) {
        for note in notes {
            match note {
                Note::Section { section, .. } | Note::Open { section, .. } => paths.push(section.clone()),
                Note::Key(key) if key.section.is_empty() => paths.push(key.name.to_owned()),
                Note::Key(key) => paths.push(format!("{}.{}", key.section, key.name)),
                Note::Tables(tables) => {
                    paths.push(tables.section.clone());
                    Self::collect(&tables.template, paths);
                }
                Note::Variant { notes, .. } => Self::collect(notes, paths),
            }
        }
    }

    fn report(&self, unknown: &Unknown) -> Report {
        let Unknown { section, name, .. } = unknown;
        let shown: String = name.chars().take(60).collect();
        let place = if section.is_empty() { String::new() } else { format!(" in `{section}`") };
        let message = match &unknown.belongs_to {
            Some((types, element)) => {
                let (types, table) = (types.join(" and "), section.split('[').next().unwrap_or_default());
                format!("`{shown}` belongs to {types} {table}; this one is {element}")
            }
            None => format!("unknown key `{}`{place}", shown.escape_debug()),
        };
        Report { origin: Some(unknown.origin.clone()), message, help: Some(self.help(unknown)) }
    }

    fn help(&self, unknown: &Unknown) -> String {
        let Unknown { section, name, known, belongs_to, .. } = unknown;
        if section == "topics.state" && name == "retention" {
            return "the state topic is compacted and has no retention".to_owned();
        }
        let elsewhere = || if belongs_to.is_none() { self.elsewhere(name) } else { None };
        match nearest(name, known.iter().copied()).map(str::to_owned).or_else(elsewhere) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => allowed_in(section, known),
        }
    }

    /// The key of this name in another table, or the two of them.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let same: Vec<&str> =
            self.0.iter().filter(|path| path.rsplit('.').next() == Some(name)).map(String::as_str).collect();
        (1..=2).contains(&same.len()).then(|| same.join("` or `"))
    }
}

fn allowed_in(section: &str, known: &[&str]) -> String {
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    let more =
        if section == "kafka" { "; librdkafka's properties belong below `[kafka.properties]`" } else { "" };
    format!("allowed: {}{more}", names.join(", "))
}
