//! Runs schedules: `simulate [--seed N [--lines N]] [--first-seed N] [--schedules N]`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use tidegate_simulator::{TOLD, run_many, tell};

const USAGE: &str = "\
usage: simulate [--first-seed N] [--schedules N]    run many schedules and say how they went
       simulate --seed N [--lines N]                run one, and tell its last lines if it fails";
/// As many as the test runs.
const SCHEDULES: u64 = 100_000;
/// The machine may have others to serve.
const THREADS: usize = 2;

/// What is asked for.
struct Wanted {
    seed: Option<u64>,
    first: u64,
    schedules: u64,
    lines: usize,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(wanted) = parse(&args) else {
        say(USAGE);
        return ExitCode::from(64);
    };
    let outcome = match wanted.seed {
        Some(seed) => {
            tell(seed, wanted.lines).map(|summary| format!("seed {seed} breaks no rule: {summary:?}"))
        }
        None => run_many(wanted.first, wanted.schedules, THREADS).map(|totals| totals.to_string()),
    };
    match outcome {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            say(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Option<Wanted> {
    let mut wanted = Wanted { seed: None, first: 0, schedules: SCHEDULES, lines: TOLD };
    for pair in args.chunks(2) {
        let [name, value] = pair else { return None };
        let number: u64 = value.parse().ok()?;
        match name.as_str() {
            "--seed" => wanted.seed = Some(number),
            "--first-seed" => wanted.first = number,
            "--schedules" => wanted.schedules = number,
            "--lines" => wanted.lines = number as usize,
            _ => return None,
        }
    }
    Some(wanted)
}

fn say(text: &str) {
    // Nobody may be reading any more.
    let _ = writeln!(io::stdout(), "{text}");
}
