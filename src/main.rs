//! Tidegate: reads events from Kafka, drops bots, adds geo data, forwards them, and raises alerts from
//! event-time windows, exactly once.

mod commands;
mod daemon;
mod exit;
mod http;
mod patterns;
mod signals;
mod traffic;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

/// One allocator for Rust and librdkafka: batches are allocated on one thread and freed on another.
#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _faults = fail::FailScenario::setup();
    match commands::Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => {
            // Nobody is left to hear about a terminal that cannot be written.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS }
        }
    }
}
