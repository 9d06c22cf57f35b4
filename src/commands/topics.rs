//! `tidegate topics plan|apply`: the topics as they are against the configuration.

use std::{process::ExitCode, time::Duration};

use serde_json::json;
use tidegate_config::{LogKind, Settings};
use tidegate_log::{Applied, Drift, TopicSpec, embedded::EmbeddedStore, kafka};
use tidegate_state::StateDir;

use super::{
    config_args,
    config_args::ConfigArgs,
    fail,
    failed::{Failed, failed},
};
use crate::{exit, wiring};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Arguments of `topics`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show what `apply` would do, and change nothing.
    Plan {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Create missing topics; never deletes anything.
    Apply {
        #[command(flatten)]
        config: ConfigArgs,
        /// Also change existing topics: add partitions, set retention and cleanup policy.
        #[arg(long)]
        alter: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let (config, alter, json) = match &args.action {
        Action::Plan { config, json } => (config, None, *json),
        Action::Apply { config, alter, json } => (config, Some(*alter), *json),
    };
    let settings = match config.load() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let outcome = match alter {
        None => plan(&settings).map(|drifts| show_plan(&drifts, json)),
        Some(alter) => apply(&settings, alter).map(|applied| show_applied(&applied, json)),
    };
    outcome.unwrap_or_else(|(code, error)| fail(code, error))
}

fn plan(settings: &Settings) -> Result<Vec<(TopicSpec, Vec<Drift>)>, Failed> {
    let specs = wiring::topic_specs(settings);
    let planned = match settings.log {
        LogKind::Kafka => kafka::plan(&wiring::kafka_config(settings), &specs, TIMEOUT),
        // Looking must not create anything.
        LogKind::Embedded if !wiring::embedded_dir(settings).is_dir() => {
            return Ok(specs.into_iter().map(|spec| (spec, vec![Drift::Missing])).collect());
        }
        LogKind::Embedded => embedded(settings)?.1.plan(&specs),
    };
    planned.map_err(failed)
}

fn apply(settings: &Settings, alter: bool) -> Result<Vec<Applied>, Failed> {
    let specs = wiring::topic_specs(settings);
    let applied = match settings.log {
        LogKind::Kafka => kafka::apply(&wiring::kafka_config(settings), &specs, alter, TIMEOUT),
        LogKind::Embedded => embedded(settings)?.1.apply(&specs, alter),
    };
    applied.map_err(failed)
}

/// The embedded log, while no daemon has it.
fn embedded(settings: &Settings) -> Result<(StateDir, EmbeddedStore), Failed> {
    let lock = StateDir::open(&settings.state_dir).map_err(|error| (exit::FAILED, error.to_string()))?;
    Ok((lock, wiring::embedded_store(settings).map_err(failed)?))
}

fn show_plan(drifts: &[(TopicSpec, Vec<Drift>)], json: bool) -> ExitCode {
    if json {
        let rows: Vec<_> = drifts
            .iter()
            .map(|(spec, drifts)| json!({ "topic": spec.name, "drift": texts(drifts) }))
            .collect();
        return config_args::print(&format!("{}\n", json!(rows)));
    }
    let mut text = String::new();
    for (spec, drifts) in drifts {
        if drifts.is_empty() {
            text += &format!("{}: ok\n", spec.name);
        }
        for drift in drifts {
            text += &format!("{}: {drift}{}\n", spec.name, way_out(drift, spec));
        }
    }
    config_args::print(&text)
}

fn way_out(drift: &Drift, spec: &TopicSpec) -> &'static str {
    match drift {
        Drift::Missing => "; `topics apply` creates it",
        drift if drift.is_reconcilable(spec) => "; `topics apply --alter` changes it",
        _ => "; needs a person with the log's own tools, or another configuration",
    }
}

fn show_applied(applied: &[Applied], json: bool) -> ExitCode {
    let failed = applied.iter().any(|topic| {
        topic.error.is_some() || topic.remaining.iter().any(|drift| drift.is_serious(&topic.spec))
    });
    let code = if failed { ExitCode::from(exit::FAILED) } else { ExitCode::SUCCESS };
    if json {
        let rows: Vec<_> = applied
            .iter()
            .map(|topic| {
                json!({
                    "topic": topic.spec.name,
                    "done": texts(&topic.done),
                    "drift": texts(&topic.remaining),
                    "error": topic.error.as_ref().map(ToString::to_string),
                })
            })
            .collect();
        config_args::print(&format!("{}\n", json!(rows)));
        return code;
    }
    let mut text = String::new();
    for Applied { spec, done, remaining, error } in applied {
        for drift in done {
            text += &match drift {
                Drift::Missing => format!(
                    "{}: created with {} partitions and replication factor {}\n",
                    spec.name, spec.partitions, spec.replication_factor
                ),
                drift => format!("{}: changed, it {drift}\n", spec.name),
            };
        }
        for drift in remaining {
            let level = if drift.is_serious(spec) { "error" } else { "warning" };
            eprintln!("{level}: {} {drift}{}", spec.name, way_out(drift, spec));
        }
        if let Some(error) = error {
            eprintln!("error: {}: {error}", spec.name);
        }
        if done.is_empty() && remaining.is_empty() && error.is_none() {
            text += &format!("{}: ok\n", spec.name);
        }
    }
    let printed = config_args::print(&text);
    if failed { code } else { printed }
}

fn texts(drifts: &[Drift]) -> Vec<String> {
    drifts.iter().map(ToString::to_string).collect()
}
