//! `cargo xtask kafka`: a broker to play with, and the private brokers of tests that break them.

use std::{
    io::Read,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Error, broker::Broker, root};

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether ctrl-C, SIGTERM or, where asked for, the end of standard input came.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// From now on SIGINT and SIGTERM no longer end the process but make [`interrupted`] true.
pub(crate) fn catch_signals() -> Result<(), Error> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Runs a broker in the foreground.
pub(crate) fn run(args: &[String]) -> Result<ExitCode, Error> {
    let (mut dir, mut port, mut settings) = (root().join("target/kafka/play"), None, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--dir" => dir = PathBuf::from(value()?),
            "--port" => port = Some(value()?.parse()?),
            "--set" => settings.push(setting(value()?)?),
            "--with-stdin" => stop_at_the_end_of_stdin(),
            _ => return Err(format!("unknown argument {arg:?}; `cargo xtask help` shows all").into()),
        }
    }
    catch_signals()?;
    let mut broker = Broker::start(&dir, port, &settings)?;
    println!("{}", broker.address);
    eprintln!(
        "kafka runs: process {}, data and broker.log in {}; ctrl-C stops it",
        broker.id(),
        broker.dir.display()
    );
    while !interrupted() {
        broker.check()?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(ExitCode::SUCCESS)
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("--set {text}: not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// For tests: a harness that dies closes our standard input, however it dies.
fn stop_at_the_end_of_stdin() {
    let flag = Arc::clone(INTERRUPTED.get_or_init(Arc::default));
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Relaxed);
    });
}
