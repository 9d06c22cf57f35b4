//! `tidegate validate`: checks a configuration without connecting to anything.

use std::process::ExitCode;

use serde_json::{Value as Json, json};
use tidegate_config::{LogKind, Objection, Problem, Problems, Settings};
use tidegate_log::kafka;
use tidegate_sinks::Setup;
use tidegate_telemetry::Otlp;

use super::config_args::{ConfigArgs, failed, print, report};
use crate::{daemon, patterns, wiring};

/// Arguments of `tidegate validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints that the configuration is right, or everything that is wrong with it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let name = args.config.config.display();
    match (args.config.resolve_with(&objections), args.json) {
        (Ok(_), false) => print(&format!("{name}: ok\n")),
        (Ok(_), true) => print(&format!("{:#}\n", json!({ "valid": true, "problems": [] }))),
        (Err(problems), false) => report(&problems),
        (Err(problems), true) => {
            print(&format!("{:#}\n", as_json(&problems)));
            failed()
        }
    }
}

/// What `run` would refuse before it connects, beside what is wrong with the file itself.
fn objections(settings: &Settings) -> Vec<Objection> {
    let objection = |key: String, message: String| Objection { key, message, help: None };
    let mut found = Vec::new();
    if settings.log == LogKind::Kafka {
        found.extend(kafka::objections(&wiring::kafka_config(settings)).into_iter().map(|(name, words)| {
            let key = name.map_or("kafka.properties".into(), |name| format!("kafka.properties.{name}"));
            objection(key, words)
        }));
    }
    for (index, sink) in settings.sinks.iter().enumerate() {
        let topic_name = wiring::topic_name(settings, sink.topic);
        let setup = Setup { sink, topic_name, paths: &settings.event };
        let wrong = setup.objections().into_iter();
        found.extend(wrong.map(|(key, words)| objection(format!("sinks[{index}].{key}"), words)));
    }
    let file = settings.filter.patterns_file.as_deref().filter(|_| settings.filter.enabled);
    match file.map(patterns::read) {
        Some(Err(wrong)) => {
            found.extend(wrong.into_iter().map(|words| objection("filter.patterns_file".into(), words)));
        }
        _ => {
            if let Err(words) = wiring::pipeline_settings(settings) {
                found.push(objection("filter.patterns".into(), words));
            }
        }
    }
    let exporter = daemon::block_on(async {
        Otlp::new(&wiring::otlp_settings(settings)).map(drop).map_err(daemon::Failure::configuration)
    });
    if let Err(failure) = exporter {
        found.push(objection("telemetry.otlp_endpoint".into(), failure.text));
    }
    found
}

fn as_json(problems: &Problems) -> Json {
    let problem = |problem: &Problem| {
        json!({
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "text": problem.text,
            "message": problem.message,
            "help": problem.help,
        })
    };
    json!({ "valid": false, "problems": problems.iter().map(problem).collect::<Vec<_>>() })
}
