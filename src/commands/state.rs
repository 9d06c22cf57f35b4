//! `tidegate state show`: the windows in the local state.

use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_core::{
    Epoch,
    window::{WindowKey, WindowState},
};
use tidegate_state::{Opened, StateDir, Store};

use super::{config_args, config_args::ConfigArgs, fail};
use crate::exit;

/// Arguments of `state`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the open windows; the daemon must not be running.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Only windows of this service.
        #[arg(long)]
        service: Option<String>,
        /// Print JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let Action::Show { config, service, json } = &args.action;
    let settings = match config.load() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    if !settings.state_dir.is_dir() {
        let path = settings.state_dir.display();
        return fail(exit::FAILED, format_args!("there is no state directory {path}"));
    }
    match windows(&settings.state_dir, service.as_deref()) {
        Ok((epoch, windows)) => show(epoch, &windows, *json),
        Err(error) => fail(exit::FAILED, error),
    }
}

type Window = (WindowKey, WindowState);

fn windows(
    dir: &std::path::Path,
    service: Option<&str>,
) -> Result<(Option<Epoch>, Vec<Window>), Box<dyn std::error::Error>> {
    let dir = StateDir::open(dir)?;
    let store = match Store::open(&dir)? {
        Opened::At(store) => store,
        Opened::Missing(_) => return Ok((None, Vec::new())),
        Opened::Damaged { reason } => {
            let text = format!(
                "the local state is damaged ({reason}); the next run rebuilds it from the state topic"
            );
            return Err(text.into());
        }
    };
    let mut windows = Vec::new();
    store.scan(|key, state| {
        if service.is_none_or(|service| *key.service == *service) {
            windows.push((key, state));
        }
    })?;
    Ok((store.base().map(|base| base.epoch), windows))
}

fn show(epoch: Option<Epoch>, windows: &[Window], json: bool) -> ExitCode {
    if json {
        let lines: String = windows.iter().map(|window| format!("{}\n", as_json(window))).collect();
        return config_args::print(&lines);
    }
    let Some(epoch) = epoch else { return config_args::print("no state yet\n") };
    let mut text = format!("epoch {epoch}, {} open windows\n", windows.len());
    if !windows.is_empty() {
        text += &format!(
            "{:<24} {:<24} {:>14} {:>9} {:>8} crossed\n",
            "rule", "service", "start", "length", "count"
        );
    }
    for (key, state) in windows {
        text += &format!(
            "{:<24} {:<24} {:>14} {:>7} s {:>8} {}\n",
            key.rule,
            key.service.escape_default().to_string(),
            key.start,
            state.window_ms / 1000,
            state.count,
            if state.crossed { "yes" } else { "no" },
        );
    }
    config_args::print(&text)
}

fn as_json((key, state): &Window) -> Value {
    json!({
        "rule": *key.rule,
        "service": *key.service,
        "window_start": key.start.0,
        "window_end": key.start.0.saturating_add(state.window_ms),
        "count": state.count,
        "first_event_at": state.first_event_at.0,
        "last_event_at": state.last_event_at.0,
        "crossed": state.crossed,
        "evidence": state.evidence.iter().map(|event| json!({
            "partition": event.partition.0,
            "offset": event.offset,
            "user_id": event.user_id,
            "timestamp": event.timestamp.0,
        })).collect::<Vec<_>>(),
    })
}
