//! `tidegate check`: connects and reports on each thing the daemon needs. Changes nothing.

use std::{fs, path::Path, process::ExitCode, time::Duration};

use serde_json::json;
use tidegate_config::{LogKind, Settings};
use tidegate_core::geo::GeoDatabase;
use tidegate_log::{
    Drift, Log as _, LogError, Topic, TopicSpec,
    kafka::{KafkaConfig, KafkaLog, broker_facts, permissions, plan},
};
use tidegate_sinks::Level;
use tidegate_state::{StateDir, StateError};

use super::{check_refusals::refusals, config_args, config_args::ConfigArgs, sinks};
use crate::{exit, wiring};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// The daemon runs, but a person should know.
    Warning,
    /// The daemon does not run; with this exit code.
    Error(u8),
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error(_) => "error",
        }
    }
}

struct Finding {
    verdict: Verdict,
    subject: String,
    text: String,
}

#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, verdict: Verdict, subject: impl Into<String>, text: impl ToString) {
        self.0.push(Finding { verdict, subject: subject.into(), text: text.to_string() });
    }

    fn error(&mut self, subject: impl Into<String>, error: &LogError) {
        self.add(Verdict::Error(wiring::exit_code(error)), subject, error);
    }

    /// The worst finding's exit code; a missing service counts before all else.
    fn exit_code(&self) -> u8 {
        let codes = self.0.iter().filter_map(|finding| match finding.verdict {
            Verdict::Error(code) => Some(code),
            _ => None,
        });
        codes.max_by_key(|code| *code == exit::UNAVAILABLE).unwrap_or(0)
    }
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let settings = match args.config.load() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let mut report = Report::default();
    match settings.log {
        LogKind::Kafka => check_kafka(&settings, &mut report),
        LogKind::Embedded => check_embedded(&settings, &mut report),
    }
    check_sinks(&settings, &mut report);
    check_geo(&settings.geo.database, &mut report);
    check_state(&settings.state_dir, &mut report);
    if let Err(error) = wiring::pipeline_settings(&settings) {
        report.add(Verdict::Error(exit::CONFIGURATION), "bot patterns", error);
    }
    print(&report, args.json);
    ExitCode::from(report.exit_code())
}

fn print(report: &Report, as_json: bool) {
    if as_json {
        let rows: Vec<_> = report
            .0
            .iter()
            .map(|finding| json!({ "verdict": finding.verdict.as_str(), "subject": finding.subject, "text": finding.text }))
            .collect();
        config_args::print(&format!("{}\n", json!(rows)));
        return;
    }
    let line = |finding: &Finding| {
        format!("{:<8} {:<28} {}\n", finding.verdict.as_str(), finding.subject, finding.text)
    };
    config_args::print(&report.0.iter().map(line).collect::<String>());
}

fn check_kafka(settings: &Settings, report: &mut Report) {
    let config = wiring::kafka_config(settings);
    let log = match KafkaLog::new(config.clone()) {
        Ok(log) => log,
        Err(error) => return report.error("brokers", &error),
    };
    let facts = match broker_facts(&config, TIMEOUT) {
        Ok(facts) => facts,
        Err(error) => return report.error("brokers", &error),
    };
    report.add(Verdict::Ok, "brokers", facts.brokers.join(", "));
    let own = facts.transaction_timeout;
    match facts.transaction_max_timeout {
        Some(max) if own > max => report.add(
            Verdict::Error(exit::FAILED),
            "transaction timeout",
            format_args!("transaction.timeout.ms is {own:?}, the broker allows at most {max:?}: lower it in [kafka.properties], or raise the broker's transaction.max.timeout.ms"),
        ),
        Some(max) => {
            report.add(Verdict::Ok, "transaction timeout", format_args!("{own:?}, the broker allows {max:?}"));
        }
        None => report.add(
            Verdict::Warning,
            "transaction timeout",
            format_args!("{own:?}; the broker's maximum cannot be asked for"),
        ),
    }
    let drifts = match plan(&config, &wiring::topic_specs(settings), TIMEOUT) {
        Ok(drifts) => drifts,
        Err(error) => return report.error("topics", &error),
    };
    check_topics(&drifts, report);
    check_refusals(settings, &log, &drifts, report);
    let existing: Vec<_> = drifts
        .iter()
        .filter(|(_, drifts)| !drifts.contains(&Drift::Missing))
        .map(|(spec, _)| spec.name.as_str())
        .collect();
    check_permissions(&config, &existing, report);
}

/// What is in an embedded log can be seen only while no daemon has it.
fn check_embedded(settings: &Settings, report: &mut Report) {
    let dir = wiring::embedded_dir(settings);
    let specs = wiring::topic_specs(settings);
    if !dir.is_dir() {
        let missing: Vec<_> = specs.into_iter().map(|spec| (spec, vec![Drift::Missing])).collect();
        return check_topics(&missing, report);
    }
    let Ok(_lock) = StateDir::open(&settings.state_dir) else {
        let text = format_args!("{} is in use, its topics cannot be looked at", dir.display());
        return report.add(Verdict::Warning, "embedded log", text);
    };
    match wiring::embedded_store(settings).and_then(|store| store.plan(&specs)) {
        Ok(drifts) => {
            report.add(Verdict::Ok, "embedded log", dir.display());
            check_topics(&drifts, report);
        }
        Err(error) => report.error("embedded log", &error),
    }
}

fn check_topics(drifts: &[(TopicSpec, Vec<Drift>)], report: &mut Report) {
    for (spec, drifts) in drifts {
        let subject = format!("topic {}", spec.name);
        if drifts.is_empty() {
            report.add(Verdict::Ok, &subject, format_args!("{} partitions", spec.partitions));
        }
        for drift in drifts {
            let (verdict, way_out) = match drift {
                Drift::Missing => {
                    (Verdict::Error(exit::UNAVAILABLE), "; create it with `tidegate topics apply`")
                }
                drift if drift.is_serious(spec) => {
                    (Verdict::Error(exit::FAILED), "; see `tidegate topics plan`")
                }
                _ => (Verdict::Warning, "; see `tidegate topics plan`"),
            };
            report.add(verdict, &subject, format_args!("it {drift}{way_out}"));
        }
    }
}

/// What the topics will refuse, once all of them are there.
fn check_refusals(
    settings: &Settings,
    log: &KafkaLog,
    drifts: &[(TopicSpec, Vec<Drift>)],
    report: &mut Report,
) {
    match log.topics(TIMEOUT) {
        Ok(facts) => {
            for (subject, text) in refusals(settings, &facts, drifts) {
                report.add(Verdict::Warning, subject, text);
            }
        }
        // Told before.
        Err(LogError::TopicsMissing(_)) => {}
        Err(error) => report.add(Verdict::Warning, "what topics refuse", format_args!("not known: {error}")),
    }
}

fn check_permissions(config: &KafkaConfig, topics: &[&str], report: &mut Report) {
    let found = match permissions(config, topics, TIMEOUT) {
        Ok(found) => found,
        Err(error) => return report.add(Verdict::Warning, "permissions", format_args!("not known: {error}")),
    };
    for permission in found {
        let is = |topic: Topic| permission.topic == config.topics[topic as usize];
        let needs_read = is(Topic::Raw) || is(Topic::State);
        let needs_write = !is(Topic::Raw);
        for (needed, granted, action) in
            [(needs_read, permission.read, "read"), (needs_write, permission.write, "write")]
        {
            if needed && !granted {
                let text = format!("may not {action} {}", permission.topic);
                report.add(Verdict::Error(exit::FAILED), "permissions", text);
            } else if needed {
                report.add(Verdict::Ok, "permissions", format_args!("may {action} {}", permission.topic));
            }
        }
    }
    report.add(
        Verdict::Ok,
        "permissions",
        "those for kafka.transactional_id and kafka.group_id are not probed: that would fence a running daemon",
    );
}

/// A destination that is away keeps nobody from running: its sink waits for it.
fn check_sinks(settings: &Settings, report: &mut Report) {
    let all: Vec<_> = settings.sinks.iter().collect();
    match sinks::ask(settings, &all, async |setup| setup.check().await) {
        Err(error) => report.add(Verdict::Error(exit::FAILED), "sinks", error),
        Ok(found) => {
            for (name, notes) in found {
                let subject = format!("sink {name}");
                match notes {
                    Err(error) => report.add(Verdict::Error(exit::UNAVAILABLE), subject, error),
                    Ok(notes) => {
                        for note in notes {
                            let verdict = match note.level {
                                Level::Ok | Level::Changed => Verdict::Ok,
                                Level::Differs => Verdict::Warning,
                                Level::Missing => Verdict::Error(exit::FAILED),
                            };
                            report.add(verdict, &subject, note.text);
                        }
                    }
                }
            }
        }
    }
}

fn check_geo(path: &Path, report: &mut Report) {
    let shown = path.display();
    let loaded = fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| GeoDatabase::from_bytes(bytes).map_err(|error| error.to_string()));
    match loaded {
        Ok(database) => {
            let built = database.build_time().map_or_else(
                || "does not say when it was built".to_owned(),
                |built| format!("built at {built} (unix time)"),
            );
            let kind = database.database_type();
            report.add(Verdict::Ok, "geo database", format_args!("{shown}: {kind}, {built}"));
            if !database.missing().is_empty() {
                let missing = database.missing().join(", ");
                let text = format!("no {missing} in the records that were looked at; geo will lack them");
                report.add(Verdict::Warning, "geo database", text);
            }
        }
        Err(error) => report.add(
            Verdict::Warning,
            "geo database",
            format_args!("{shown}: {error}; geo will be null for all events"),
        ),
    }
}

fn check_state(path: &Path, report: &mut Report) {
    let shown = path.display();
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    if !path.exists() {
        let writable = !fs::metadata(existing).is_ok_and(|metadata| metadata.permissions().readonly());
        let verdict = if writable { Verdict::Ok } else { Verdict::Error(exit::FAILED) };
        let text = if writable { "will be created" } else { "cannot be created here" };
        return report.add(verdict, "state directory", format_args!("{shown} {text}"));
    }
    match StateDir::open(path) {
        Ok(_) => report.add(Verdict::Ok, "state directory", shown),
        Err(error @ StateError::Locked { .. }) => {
            report.add(Verdict::Warning, "state directory", format_args!("{error} (a running daemon?)"));
        }
        Err(error) => report.add(Verdict::Error(exit::FAILED), "state directory", error),
    }
}
