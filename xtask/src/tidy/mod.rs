//! `cargo xtask tidy`: the rules of the house that neither the compiler nor clippy knows.
//!
//! Each rule is a function from the files of the checkout to what it found, with a test that breaks it.

mod circles;
mod comments;
mod crates;
mod docs;
mod forgotten;
mod modules;
mod sizes;
mod tree;

use std::{fmt, process::ExitCode};

use self::tree::Tree;
use crate::Error;

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// From the root of the checkout.
    file: String,
    /// From 1.
    line: usize,
    /// What is wrong.
    what: String,
    /// What to do about it.
    way_out: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    {}", self.file, self.line, self.what, self.way_out)
    }
}

/// Checks the checkout; prints what breaks a rule.
pub(crate) fn run(args: &[String]) -> Result<ExitCode, Error> {
    if !args.is_empty() {
        return Err("tidy takes no arguments".into());
    }
    let found = check(&Tree::read(crate::root())?)?;
    for finding in &found {
        println!("{finding}");
    }
    if found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{} against the rules of the house", found.len());
    Ok(ExitCode::FAILURE)
}

fn check(tree: &Tree) -> Result<Vec<Finding>, Error> {
    let mut found = sizes::check(tree)?;
    found.extend(circles::check(tree)?);
    found.extend(crates::check(tree)?);
    found.extend(comments::check(tree)?);
    found.extend(docs::check(tree));
    found.extend(forgotten::check(tree));
    found.sort();
    Ok(found)
}

/// Line and words of what was found, for tests.
#[cfg(test)]
fn lines_and_words(found: Vec<Finding>) -> Vec<(usize, String)> {
    found.into_iter().map(|finding| (finding.line, finding.what)).collect()
}
