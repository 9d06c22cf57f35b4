//! `tidegate sinks plan|apply`: the destinations of the sinks as they are against the configuration.

use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_config::{Settings, Sink};
use tidegate_sinks::{Level, Note, Setup};

use super::{
    config_args::{self, ConfigArgs},
    fail,
};
use crate::{daemon, exit, wiring};

/// Arguments of `sinks`.
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
        common: Common,
    },
    /// Create missing tables and index templates; never drops anything.
    Apply {
        #[command(flatten)]
        common: Common,
        /// Also change what is there: add columns and keys, update index templates.
        #[arg(long)]
        alter: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only this sink; may be repeated.
    #[arg(long, value_name = "NAME")]
    sink: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was found at the destination of a sink, or why nothing could be.
pub(super) type Found = (String, Result<Vec<Note>, String>);

pub(crate) fn run(args: &Args) -> ExitCode {
    let (common, alter) = match &args.action {
        Action::Plan { common } => (common, None),
        Action::Apply { common, alter } => (common, Some(*alter)),
    };
    let settings = match common.config.load() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    if let Some(unknown) =
        common.sink.iter().find(|name| settings.sinks.iter().all(|sink| sink.name != **name))
    {
        let names: Vec<_> = settings.sinks.iter().map(|sink| sink.name.as_str()).collect();
        return fail(
            exit::USAGE,
            format_args!("there is no sink {unknown:?}; there are: {}", names.join(", ")),
        );
    }
    let wanted = |sink: &&Sink| common.sink.is_empty() || common.sink.contains(&sink.name);
    let sinks: Vec<&Sink> = settings.sinks.iter().filter(wanted).collect();
    match ask(&settings, &sinks, async |setup| match alter {
        None => setup.plan().await,
        Some(alter) => setup.apply(alter).await,
    }) {
        Ok(found) => show(&found, alter.is_some(), common.json),
        Err(error) => fail(exit::FAILED, error),
    }
}

/// Asks the destinations of sinks, one after the other.
pub(super) fn ask(
    settings: &Settings,
    sinks: &[&Sink],
    question: impl AsyncFn(Setup<'_>) -> Result<Vec<Note>, String>,
) -> Result<Vec<Found>, String> {
    daemon::block_on(async {
        let mut found = Vec::new();
        for sink in sinks {
            let topic_name = wiring::topic_name(settings, sink.topic);
            let setup = Setup { sink, topic_name, paths: &settings.event };
            found.push((sink.name.clone(), question(setup).await));
        }
        Ok(found)
    })
    .map_err(|failure| failure.text)
}

fn show(found: &[Found], was_applied: bool, as_json: bool) -> ExitCode {
    let printed = if as_json {
        config_args::print(&format!("{:#}\n", found.iter().map(json_of).collect::<Value>()))
    } else {
        let text: String = found.iter().map(text_of).collect();
        config_args::print(if text.is_empty() { "no sinks are configured\n" } else { &text })
    };
    let is_missing = |notes: &Vec<Note>| notes.iter().any(|note| note.level == Level::Missing);
    let (mut is_away, mut is_left) = (false, false);
    for (name, notes) in found {
        match notes {
            Ok(notes) => is_left |= was_applied && is_missing(notes),
            Err(error) => {
                is_away = true;
                if !as_json {
                    eprintln!("error: {name}: {error}");
                }
            }
        }
    }
    match (is_away, is_left) {
        (true, _) => ExitCode::from(exit::UNAVAILABLE),
        (false, true) => ExitCode::from(exit::FAILED),
        (false, false) => printed,
    }
}

fn text_of((name, notes): &Found) -> String {
    let mut text = String::new();
    for note in notes.as_ref().map(Vec::as_slice).unwrap_or_default() {
        let word = match note.level {
            Level::Ok => "ok: ",
            Level::Changed => "done: ",
            Level::Differs => "warning: ",
            Level::Missing => "",
        };
        text += &format!("{name}: {word}{}\n", note.text);
        if let Some(sql) = &note.sql {
            text.extend(sql.lines().map(|line| format!("    {line}\n")));
        }
    }
    text
}

fn json_of((name, notes): &Found) -> Value {
    match notes {
        Err(error) => json!({ "sink": name, "error": error }),
        Ok(notes) => {
            let note = |note: &Note| json!({ "level": word(note.level), "text": note.text, "sql": note.sql });
            json!({ "sink": name, "notes": notes.iter().map(note).collect::<Vec<_>>() })
        }
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Changed => "changed",
        Level::Differs => "differs",
        Level::Missing => "missing",
    }
}
