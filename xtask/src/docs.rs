//! `cargo xtask docs`: documents that are generated from code.

use std::{fs, process::ExitCode};

use crate::{Error, root};

/// Writes the generated documents, or with `--check` fails if one is not current.
pub(crate) fn run(args: &[String]) -> Result<ExitCode, Error> {
    let check = match args {
        [] => false,
        [arg] if arg == "--check" => true,
        _ => return Err("docs takes only --check".into()),
    };
    let path = root().join("docs/configuration.md");
    let current = tidegate_config::reference_markdown();
    if check {
        if fs::read_to_string(&path).unwrap_or_default() != current {
            return Err("docs/configuration.md is not current: run `cargo xtask docs`".into());
        }
    } else {
        fs::write(path, current)?;
    }
    Ok(ExitCode::SUCCESS)
}
