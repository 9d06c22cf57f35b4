//! `cargo xtask kafka`: a broker to play with, and the private brokers of tests that break them.

use std::{path::PathBuf, process::ExitCode, thread, time::Duration};

use crate::{
    Error,
    broker::Broker,
    root,
    signals::{catch_signals, interrupted, stop_at_the_end_of_stdin},
};

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
