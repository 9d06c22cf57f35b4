//! The hot path, one function at a time, for `cargo xtask instructions` to count under callgrind.
//!
//! Counts do not depend on what else the machine does, so they can tell a few per cent where times cannot. A
//! case runs once inside [`measured`], which callgrind is told to count; what is set up before is not counted.
//! Without arguments the names of the cases are printed, with a name the case is run, and the number of its
//! events (or calls) printed.

mod batch;
mod cases;
mod sample;

use std::{
    env,
    io::{Write as _, stdout},
    process::ExitCode,
};

use cases::CASES;

/// What went wrong, in words for the person at the terminal.
type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: Option<&str>) -> Result<(), Error> {
    let mut out = stdout();
    let Some(name) = name else {
        for (name, _) in CASES {
            writeln!(out, "{name}")?;
        }
        return Ok(());
    };
    let (_, case) = CASES.iter().find(|(known, _)| *known == name).ok_or("there is no such case")?;
    let events = case()?;
    Ok(writeln!(out, "{events}")?)
}

/// Counts `work` on each of `inputs`, and returns how many these are.
fn count_each<T>(inputs: &[T], mut work: impl FnMut(&T)) -> usize {
    measured(&mut || inputs.iter().for_each(&mut work));
    inputs.len()
}

/// What is counted. callgrind knows this function by its name; `dyn` keeps it one function.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}
