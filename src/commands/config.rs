//! `tidegate config`: the default file, its schema, and what holds.

use std::process::ExitCode;

use super::config_args::{ConfigArgs, print, report};

/// Arguments of `tidegate config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What to print.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print a complete configuration file with comments.
    Default,
    /// Print the JSON Schema of the configuration file.
    Schema,
    /// Print the configuration as it holds after defaults, variables and overrides, with secrets hidden.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Prints what was asked for.
pub(crate) fn run(args: &Args) -> ExitCode {
    match &args.what {
        What::Default => print(&tidegate_config::default_toml()),
        What::Schema => print(&format!("{:#}\n", tidegate_config::json_schema())),
        What::Show { config, json } => match (config.resolve(), json) {
            (Ok(resolved), false) => print(&resolved.to_toml()),
            (Ok(resolved), true) => print(&format!("{:#}\n", resolved.to_json())),
            (Err(problems), _) => report(&problems),
        },
    }
}
