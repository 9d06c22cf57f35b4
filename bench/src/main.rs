//! How fast Tidegate is beside the same work written by hand.
//!
//! `copy` and `ceiling` are two programs to compare with, each exactly once with a transaction per checkpoint
//! interval, like the product: the first only copies the input, the second does the whole work of the default
//! configuration in one loop that can do nothing else. `compare` runs them and `tidegate run` in turn, checks
//! that the outputs are equal, and reports. `cargo xtask bench` brings up what it needs.

mod batch;
mod ceiling;
mod client;
mod compare;
mod copy;
mod native;

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tidegate_config::{Settings, Source};

/// The product's allocator, for a fair comparison.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What went wrong, in words for the person at the terminal.
type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "tidegate-bench", about = "Benchmarks of Tidegate; see `cargo xtask bench`")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy the input topic to the processed topic, as far as it goes now, and print figures as JSON.
    Copy(Job),
    /// Do the work of `tidegate run` on what is in the input topic now, and print figures as JSON.
    Ceiling(Job),
    /// Measure both and `tidegate run` side by side.
    Compare(compare::Args),
    /// Measure from the crossing of a threshold to its alert, under live load.
    Latency(compare::LatencyArgs),
    /// Measure the throughput with checkpoints more and less often.
    Checkpoint(compare::VariantsArgs),
    /// Measure the throughput with and without telemetry.
    Telemetry(compare::VariantsArgs),
    /// Measure what an event costs with more partitions, services, rules and bytes, and longer windows.
    Growth(compare::GrowthArgs),
    /// Measure from failures to work again, under live load.
    Recovery(compare::RecoveryArgs),
}

/// What to do: the configuration that `tidegate run` would take.
#[derive(Debug, clap::Args)]
struct Job {
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Job {
    fn settings(&self) -> Result<Settings, Error> {
        let load = |source: Source| tidegate_config::load(&source, &|name| std::env::var(name).ok());
        Source::read(&self.config, Vec::new()).and_then(load).map_err(|problems| problems.to_string().into())
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Copy(job) => job.settings().and_then(|settings| copy::run(&settings)).and_then(show),
        Command::Ceiling(job) => job.settings().and_then(|settings| ceiling::run(&settings)).and_then(show),
        Command::Compare(args) => compare::run(&args),
        Command::Latency(args) => compare::latency(&args),
        Command::Checkpoint(args) => compare::checkpoint(&args),
        Command::Telemetry(args) => compare::telemetry(&args),
        Command::Growth(args) => compare::growth(&args),
        Command::Recovery(args) => compare::recovery(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(figures: client::Figures) -> Result<(), Error> {
    print(&format!("{}\n", figures.json()))
}

/// Writes to standard output; a reader that goes away is an error.
fn print(text: &str) -> Result<(), Error> {
    Ok(stdout().write_all(text.as_bytes())?)
}
