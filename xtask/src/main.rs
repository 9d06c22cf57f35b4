//! Chores of the project, run as `cargo xtask`.

#![allow(clippy::print_stdout, reason = "for people at a terminal")]

mod bench;
mod docs;
mod flink;
mod foreground;
mod guard;
mod instructions;
mod maven;
mod server;
mod servers;
mod signals;
mod simulate;
mod test;
mod tidy;

use std::process::ExitCode;

use servers::Kind;

/// What went wrong, in words for the person at the terminal.
type Error = Box<dyn std::error::Error>;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  kafka|postgres|opensearch|alertmanager [--dir DIR] [--port N] [--set NAME=VALUE]... [--with-stdin]
                       run this server until ctrl-C; the first line it prints is its address.
                       A DIR that was used before is used again; --set sets a setting of the server;
                       --with-stdin stops it at the end of standard input as well
  servers [NAME]...    run these servers until ctrl-C, or all that sinks deliver to; prints what to write
                       into the daemon's configuration for each
  test [ARGUMENTS]     bring up all servers, run all tests with them, stop them; ARGUMENTS go to `cargo test`
  bench [--events N] [--rounds N] [--flink [--flink-rounds N]] [--json]
                       bring up a Kafka and measure the profile `dist` beside the same work written by
                       hand, and on Apache Flink (fetched by maven) if asked to; a run of the default size
                       writes docs/benchmarks.md and .svg
  bench latency [--alerts N] [--rates N,...] [--json]
                       from the event that crosses a threshold to its alert, under live load
  bench checkpoint [--events N] [--rounds N] [--json]
                       throughput by checkpoint.interval
  bench telemetry [--events N] [--rounds N] [--json]
                       what being watched costs: metrics scraped, everything exported
  bench growth [--events N] [--rounds N] [--json]
                       cost of an event by number of partitions, services and rules, by size and window
  bench recovery [--times N] [--rate N] [--json]
                       from panics and kill -9 to work again, under live load
  instructions [--check|--write]
                       count the instructions of the hot path under callgrind and compare them with
                       bench/instructions/baseline.txt: --check fails on more than 5 % above it
  simulate [--seed N [--lines N]] [--first-seed N] [--schedules N]
                       run schedules of the simulator, or one of them again
  simulate --mutants [--only TEXT] [--schedules N]
                       break the protocol in each way of a list, and see that the simulator notices
  docs [--check]       write the generated documents, or only check that they are current
  tidy                 check the rules of the house: sizes, circles of files, arrows between crates,
                       unused dependencies, comments, names of files in documents

environment: `test` uses these instead of starting one of its own:
  TIDEGATE_TEST_KAFKA=HOST:PORT
  TIDEGATE_TEST_POSTGRES=postgres://USER:PASSWORD@HOST:PORT/DATABASE   who may create databases
  TIDEGATE_TEST_POSTGRES_CA=FILE                  the certificate that its own is signed by
  TIDEGATE_TEST_OPENSEARCH=http://HOST:PORT
  TIDEGATE_TEST_ALERTMANAGER=http://HOST:PORT";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let command = if args.is_empty() { String::new() } else { args.remove(0) };
    let outcome = match command.as_str() {
        name if let Some(kind) = Kind::of_name(name) => foreground::one(kind, &args),
        "servers" => foreground::several(&args),
        "test" => test::run(&args),
        "bench" => bench::run(&args),
        "instructions" => instructions::run(&args),
        "docs" => docs::run(&args),
        "simulate" => simulate::run(&args),
        "tidy" => tidy::run(&args),
        "" | "-h" | "--help" | "help" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("unknown command {command:?}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::FAILURE
    })
}

/// The checkout's root: all paths are taken from there, wherever the command was called.
fn root() -> &'static std::path::Path {
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}
