//! `tidegate generate`: sample traffic for the input topic.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tidegate_log::LogError;

use super::{config_args, config_args::ConfigArgs, fail};
use crate::{
    exit,
    traffic::{Generator, Plan, Sink, Summary},
    wiring,
};

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Events a second; 0 is as fast as possible. Default: 1000, or as fast as possible with --events.
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Stop after this many events.
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// The same seed gives the same events.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Writes until there are enough, or until a signal.
pub(crate) fn run(args: &Args) -> ExitCode {
    let plan = match Plan::new(args.rate, args.events) {
        Ok(plan) => plan,
        Err(error) => return fail(exit::USAGE, error),
    };
    let settings = match args.config.load() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let seed = args.seed;
    let produce = move |stop: &AtomicBool| -> Result<Summary, LogError> {
        Generator::new(Sink::connect(&settings)?, seed, plan).run(stop)
    };
    match until_signal(produce) {
        Ok(summary) => config_args::print(&format!("{summary}\n")),
        Err(Interrupted::Runtime(error)) => fail(exit::FAILED, error),
        Err(Interrupted::Log(error)) => fail(wiring::exit_code(&error), error),
    }
}

enum Interrupted {
    Runtime(std::io::Error),
    Log(LogError),
}

/// Runs `work` on a thread of its own and asks it to stop at SIGINT or SIGTERM.
fn until_signal(
    work: impl FnOnce(&AtomicBool) -> Result<Summary, LogError> + Send + 'static,
) -> Result<Summary, Interrupted> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Interrupted::Runtime)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(Interrupted::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Interrupted::Runtime)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut work = tokio::task::spawn_blocking(move || work(&stopped));
        let joined = tokio::select! {
            joined = &mut work => joined,
            _ = terminate.recv() => { stop.store(true, Ordering::Relaxed); work.await }
            _ = interrupt.recv() => { stop.store(true, Ordering::Relaxed); work.await }
        };
        joined.map_err(|error| Interrupted::Runtime(error.into()))?.map_err(Interrupted::Log)
    })
}
