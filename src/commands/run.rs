//! `tidegate run`: the daemon.

use std::process::ExitCode;

use super::config_args::{ConfigArgs, report};
use crate::daemon::{self, Only};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Process what is in the input as of the start, then exit.
    ///
    /// Records that come later are left to the next run, and so are windows that are still open: they stay in
    /// the state, and the next run goes on with them. Exits 1 if a signal stops it before it is there.
    #[arg(long)]
    until_end: bool,
    /// Run a part alone, so that the parts can be spread over processes or machines.
    ///
    /// Several processes with `--only sinks` share the partitions of each sink. With an embedded log all parts run in one
    /// process.
    #[arg(long, value_enum, conflicts_with = "until_end")]
    only: Option<Only>,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match args.config.resolve() {
        Ok(resolved) => {
            let shown = resolved.to_toml();
            daemon::run(&resolved.into_settings(), shown, args.until_end, args.only)
        }
        Err(problems) => report(&problems),
    }
}
