//! The command line, one file a command.

mod check;
mod check_refusals;
mod config;
mod config_args;
mod dead_letters;
mod demo;
mod explain_agent;
mod failed;
mod generate;
mod offsets;
mod run;
mod sinks;
mod state;
mod top;
mod topics;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Kafka + Flink pipelines in one small daemon: filter, enrich, count in event time, alert, exactly once.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work: everything in one process with generated traffic, no broker needed.
    Demo(demo::Args),
    /// Run the daemon.
    Run(run::Args),
    /// Check a configuration offline and print every problem with line and column.
    Validate(validate::Args),
    /// Connect and check all that is needed: brokers, topics, permissions, geo database, state directory.
    Check(check::Args),
    /// Compare the topics with the configuration, or create what is missing.
    Topics(topics::Args),
    /// Compare the destinations of the sinks with the configuration, or create what is missing there.
    Sinks(sinks::Args),
    /// Write sample traffic into the input topic.
    Generate(generate::Args),
    /// Print the default configuration, its JSON Schema, or the resolved configuration.
    Config(config::Args),
    /// Say whether a user agent is taken for a bot, of which category, and why.
    ExplainAgent(explain_agent::Args),
    /// Watch a running daemon in the terminal.
    Top(top::Args),
    /// Put lost input offsets back, or settle a transaction whose fate cannot be told; no daemon may be running.
    Offsets(offsets::Args),
    /// Look at records that could not be processed or delivered, and send them again.
    DeadLetters(dead_letters::Args),
    /// Look into the local state.
    State(state::Args),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

impl Cli {
    /// Carries out the command.
    pub(crate) fn run(self) -> ExitCode {
        match self.command {
            Command::Demo(args) => demo::run(&args),
            Command::Run(args) => run::run(&args),
            Command::Validate(args) => validate::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Topics(args) => topics::run(&args),
            Command::Sinks(args) => sinks::run(&args),
            Command::Generate(args) => generate::run(&args),
            Command::Config(args) => config::run(&args),
            Command::ExplainAgent(args) => explain_agent::run(&args),
            Command::Top(args) => top::run(&args),
            Command::Offsets(args) => offsets::run(&args),
            Command::DeadLetters(args) => dead_letters::run(&args),
            Command::State(args) => state::run(&args),
            Command::Completions { shell } => completions(shell),
        }
    }
}

fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
    config_args::print(&String::from_utf8_lossy(&script))
}

/// Says what went wrong, for a command that ends with it.
fn fail(code: u8, error: impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(code)
}
