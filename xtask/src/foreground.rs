//! Servers in the foreground: to play with, and the private ones of tests that break them.

use std::{path::PathBuf, process::ExitCode, thread, time::Duration};

use crate::{
    Error, root,
    server::{Server, Setting},
    servers::{Kind, start_all},
    signals::{catch_signals, interrupted, stop_at_the_end_of_stdin},
};

/// `cargo xtask NAME`: runs one server.
pub(crate) fn one(kind: Kind, args: &[String]) -> Result<ExitCode, Error> {
    let (mut dir, mut port, mut settings) = (None, None, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--dir" => dir = Some(PathBuf::from(value()?)),
            "--port" => port = Some(value()?.parse()?),
            "--set" => settings.push(setting(value()?)?),
            "--with-stdin" => stop_at_the_end_of_stdin(),
            _ => return Err(format!("unknown argument {arg:?}; `cargo xtask help` shows all").into()),
        }
    }
    catch_signals()?;
    // What is played with goes on where it was.
    let usual = (kind == Kind::Kafka).then(|| root().join("target/kafka/play"));
    let server = kind.start(dir.or(usual), port, &settings)?;
    println!("{}", server.address);
    let (name, dir) = (kind.name(), server.dir.display());
    eprintln!("{name} runs: process {}, data and log in {dir}; ctrl-C stops it", server.id());
    until_interrupted(vec![server])
}

/// `cargo xtask servers`: runs those that are named, or all that sinks deliver to.
pub(crate) fn several(names: &[String]) -> Result<ExitCode, Error> {
    let named = |name: &String| Kind::of_name(name).ok_or_else(|| format!("there is no server {name:?}"));
    let mut kinds = names.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    if kinds.is_empty() {
        kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Kafka).collect();
    }
    catch_signals()?;
    let servers = start_all(&kinds).into_iter().collect::<Result<Vec<_>, _>>()?;
    for (kind, server) in kinds.iter().zip(&servers) {
        println!("# {} at {}, log in {}", kind.name(), server.address, server.log().display());
        println!("{}", kind.sink(server));
    }
    eprintln!("ctrl-C stops them and removes their data");
    until_interrupted(servers)
}

fn until_interrupted(mut servers: Vec<Server>) -> Result<ExitCode, Error> {
    while !interrupted() {
        servers.iter_mut().try_for_each(Server::check)?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(ExitCode::SUCCESS)
}

fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("--set {text}: not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}
