//! Applies one mutant at a time to a copy of the workspace, and has the simulator look for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use super::{
    PACKAGE, cargo,
    mutants::{MUTANTS, Mutant},
};
use crate::{Error, root};

/// What came of a mutant.
enum Outcome {
    /// The seed at which it was caught, and the rule that it broke.
    Caught(String, String),
    Survived,
    /// It does not compile, or is not there any more.
    Void(String),
}

/// Tries all mutants whose name has this text.
pub(super) fn run(only: &str, schedules: u64) -> Result<ExitCode, Error> {
    let dir = root().join("target/mutants");
    let work = dir.join("work");
    copy_workspace(&work)?;
    let wanted: Vec<&Mutant> = MUTANTS.iter().filter(|mutant| mutant.name.contains(only)).collect();
    let mut failed = 0;
    for (number, mutant) in wanted.iter().enumerate() {
        let outcome = attempt(mutant, &work, &dir.join("build"), schedules)?;
        let number = number + 1;
        match outcome {
            Outcome::Caught(seed, violation) => {
                println!("{number:>3} caught at seed {seed:<6} {}\n      {violation}", mutant.name);
            }
            Outcome::Survived => {
                failed += 1;
                println!("{number:>3} SURVIVED {schedules} schedules: {}", mutant.name);
            }
            Outcome::Void(why) => {
                failed += 1;
                println!("{number:>3} VOID: {}: {why}", mutant.name);
            }
        }
    }
    println!("{} of {} mutants were caught", wanted.len() - failed, wanted.len());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn attempt(mutant: &Mutant, work: &Path, build: &Path, schedules: u64) -> Result<Outcome, Error> {
    let file = work.join(mutant.file);
    let original = fs::read_to_string(&file)?;
    let mutated = match mutant.apply(&original) {
        Ok(mutated) => mutated,
        Err(why) => return Ok(Outcome::Void(why)),
    };
    fs::write(&file, mutated)?;
    let outcome = look_for(work, build, schedules);
    fs::write(&file, original)?;
    outcome
}

fn look_for(work: &Path, build: &Path, schedules: u64) -> Result<Outcome, Error> {
    let mut compile = cargo();
    compile.current_dir(work).env("CARGO_TARGET_DIR", build);
    let output = compile.args(["build", "--quiet", "--locked", "-p", PACKAGE]).output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let error = errors.lines().find(|line| line.starts_with("error")).unwrap_or("it does not compile");
        return Ok(Outcome::Void(error.to_owned()));
    }
    let output =
        Command::new(build.join("debug/simulate")).args(["--schedules", &schedules.to_string()]).output()?;
    if output.status.success() {
        return Ok(Outcome::Survived);
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.lines().next().and_then(|line| line.strip_prefix("seed ")?.split_once(": "));
    match found {
        Some((seed, violation)) => {
            Ok(Outcome::Caught(seed.to_owned(), violation.chars().take(160).collect()))
        }
        None => Ok(Outcome::Void(format!("the simulator ended with {} and said nothing", output.status))),
    }
}

/// Copies what git knows of; files that are there already and equal keep their time, so that little is built again.
fn copy_workspace(work: &Path) -> Result<(), Error> {
    let files = Command::new("git").current_dir(root()).args(["ls-files", "-z"]).output()?;
    if !files.status.success() {
        return Err("the files of the workspace are what git knows of, and git does not say".into());
    }
    for name in String::from_utf8(files.stdout)?.split('\0').filter(|name| !name.is_empty()) {
        let (from, to): (PathBuf, PathBuf) = (root().join(name), work.join(name));
        // A file that was deleted and is not committed yet.
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|present| present == content) {
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&to, content)?;
    }
    Ok(())
}
