//! `cargo xtask simulate`: runs the simulator, or tries whether it sees what is broken on purpose.

mod mutants;
mod trial;

use std::{
    env,
    process::{Command, ExitCode},
};

use crate::{Error, root};

const PACKAGE: &str = "tidegate-simulator";
/// What a mutant may live through, if not said otherwise.
const SCHEDULES: u64 = 100_000;

/// Arguments go to the simulator, but for `--mutants [--only TEXT] [--schedules N]`.
pub(crate) fn run(args: &[String]) -> Result<ExitCode, Error> {
    if args.first().is_some_and(|first| first == "--mutants") {
        let (mut only, mut schedules) = (String::new(), SCHEDULES);
        for pair in args[1..].chunks(2) {
            match pair {
                [flag, value] if flag == "--only" => only.clone_from(value),
                [flag, value] if flag == "--schedules" => schedules = value.parse()?,
                _ => return Err("usage: cargo xtask simulate --mutants [--only TEXT] [--schedules N]".into()),
            }
        }
        return trial::run(&only, schedules);
    }
    let mut cargo = cargo();
    cargo.current_dir(root()).args(["run", "--quiet", "--locked", "-p", PACKAGE, "--"]).args(args);
    Ok(if cargo.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
