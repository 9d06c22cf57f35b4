//! `tidegate run`: the daemon.

use std::process::ExitCode;

use super::config_args::ConfigArgs;
use crate::daemon;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match args.config.load() {
        Ok(settings) => daemon::run(&settings),
        Err(code) => code,
    }
}
