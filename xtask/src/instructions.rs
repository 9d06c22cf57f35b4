//! `cargo xtask instructions`: counts the instructions of the hot path under callgrind, and compares.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
};

use crate::{Error, root};

const PACKAGE: &str = "tidegate-instructions";
/// More than this above the baseline fails; as much below it asks for a new baseline.
const TOLERANCE: f64 = 0.05;
/// The first lines of the baseline.
const HEAD: &str = "\
# Instructions per event of the hot path (x86-64, the profile `dist` in one piece), compared by `cargo xtask instructions --check`
# and written by `cargo xtask instructions --write`.
";

/// What becomes of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Show,
    Check,
    Write,
}

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Error> {
    let mode = match args {
        [] => Mode::Show,
        [flag] if flag == "--check" => Mode::Check,
        [flag] if flag == "--write" => Mode::Write,
        _ => return Err("usage: cargo xtask instructions [--check|--write]".into()),
    };
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err("valgrind is missing: install the package of that name".into());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--quiet", "--profile", "dist", "--locked", "-p", PACKAGE];
    // Builds in pieces inline other things whenever the pieces are cut elsewhere: up to a tenth more or less.
    let mut cargo = Command::new(cargo);
    cargo.current_dir(root()).args(build).env("CARGO_INCREMENTAL", "0");
    cargo.env("CARGO_PROFILE_DIST_CODEGEN_UNITS", "1");
    if !cargo.status()?.success() {
        return Ok(ExitCode::FAILURE);
    }
    let found = count_all()?;
    let path = root().join("bench/instructions/baseline.txt");
    if mode == Mode::Write {
        let lines: String = found.iter().map(|(name, count)| format!("{name} {count:.1}\n")).collect();
        fs::write(&path, format!("{HEAD}{lines}"))?;
    }
    let text = fs::read_to_string(&path)?;
    let baseline = parse(&text)?;
    let (table, regressed) = compare(&baseline, &found);
    print!("{table}");
    let failed = regressed && mode == Mode::Check;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Every case by itself, in its order: instructions per event.
fn count_all() -> Result<Vec<(String, f64)>, Error> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let binary = target.join("dist").join(PACKAGE);
    let names = output(&mut Command::new(&binary))?;
    let names = String::from_utf8(names.stdout)?;
    names.lines().map(|name| Ok((name.to_owned(), count(&binary, name)?))).collect()
}

fn count(binary: &Path, name: &str) -> Result<f64, Error> {
    let mut valgrind = Command::new("valgrind");
    // Only what runs inside this function is counted; the file with the details is not needed.
    valgrind.args(["--tool=callgrind", "--toggle-collect=tidegate_instructions::measured*"]);
    valgrind.arg("--callgrind-out-file=/dev/null").arg(binary).arg(name);
    let Output { stdout, stderr, .. } = output(&mut valgrind)?;
    let (events, report) = (String::from_utf8(stdout)?, String::from_utf8_lossy(&stderr).into_owned());
    let events: u32 = events.trim().parse()?;
    let collected = collected(&report).filter(|collected| *collected > 0);
    let collected = collected.ok_or_else(|| format!("callgrind counted nothing of {name}:\n{report}"))?;
    Ok(collected as f64 / f64::from(events))
}

/// The number in callgrind's `==123== Collected : 4567`.
fn collected(report: &str) -> Option<u64> {
    report.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

fn output(command: &mut Command) -> Result<Output, Error> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

/// `name count` a line.
fn parse(baseline: &str) -> Result<BTreeMap<&str, f64>, Error> {
    let lines = baseline.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').and_then(|(name, count)| Some((name, count.parse().ok()?))))
        .collect::<Option<_>>()
        .ok_or_else(|| "the baseline is damaged; write it again with --write".into())
}

/// A table, and whether something got worse than is tolerated or has no baseline.
fn compare(baseline: &BTreeMap<&str, f64>, found: &[(String, f64)]) -> (String, bool) {
    let mut table = format!("{:<16} {:>12} {:>12} {:>8}\n", "per event", "baseline", "now", "change");
    let (mut worse, mut better) = (false, false);
    for (name, now) in found {
        let Some(before) = baseline.get(name.as_str()) else {
            table += &format!("{name:<16} {:>12} {now:>12.1}   no baseline\n", "-");
            worse = true;
            continue;
        };
        let change = now / before - 1.0;
        let verdict = match change {
            _ if change > TOLERANCE => "  too much",
            _ if change < -TOLERANCE => "  less",
            _ => "",
        };
        worse |= change > TOLERANCE;
        better |= change < -TOLERANCE;
        table += &format!("{name:<16} {before:>12.1} {now:>12.1} {:>+7.1}%{verdict}\n", change * 100.0);
    }
    if worse || better {
        table += "where it is meant, write a new baseline: cargo xtask instructions --write\n";
    }
    (table, worse)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn callgrinds_report_is_read() {
        assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 1234\n==7==\n"), Some(1234));
        assert_eq!(collected("==7== nothing"), None);
    }

    #[test]
    fn more_than_five_per_cent_and_an_unknown_case_are_regressions_and_less_is_not() {
        let baseline = parse("# head\nparse 1000.0\n").unwrap();
        let regressed = |name: &str, count| compare(&baseline, &[(name.to_owned(), count)]).1;
        assert!(!regressed("parse", 1049.0));
        assert!(regressed("parse", 1051.0));
        assert!(!regressed("parse", 500.0));
        assert!(regressed("new", 1.0));
        assert!(parse("parse much").is_err());
    }
}
