//! The arguments of every command that needs a configuration, and how such commands answer.

use std::{
    io::{ErrorKind, Write, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use tidegate_config::{Objection, Problems, Resolved, Secret, Settings, Source};

use crate::exit;

/// Where the configuration is, and what to override in it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file.
    #[arg(long, env = "TIDEGATE_CONFIG", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Override one key, such as `--set checkpoint.interval=100ms`; may be repeated.
    // What is overridden may be a password, and arguments end up in debug output.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) set: Vec<Secret>,
}

impl ConfigArgs {
    /// The checked configuration. Problems go to standard error; then the result is the exit code.
    pub(crate) fn load(&self) -> Result<Settings, ExitCode> {
        self.resolve().map(Resolved::into_settings).map_err(|problems| report(&problems))
    }

    /// The checked configuration in a form that can also be shown.
    pub(crate) fn resolve(&self) -> Result<Resolved, Problems> {
        self.resolve_with(&|_| Vec::new())
    }

    /// The same, with what `object` has against it.
    pub(crate) fn resolve_with(
        &self,
        object: &dyn Fn(&Settings) -> Vec<Objection>,
    ) -> Result<Resolved, Problems> {
        let overrides = self.set.iter().map(|set| set.expose().to_owned()).collect();
        let source = Source::read(&self.config, overrides)?;
        tidegate_config::resolve_with(&source, &|name| std::env::var(name).ok(), object)
    }
}

/// Prints all problems and how many they are to standard error.
pub(crate) fn report(problems: &Problems) -> ExitCode {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    // Nobody is left to hear about a standard error that cannot be written.
    let _ = writeln!(stderr(), "{problems}\n\n{count} in the configuration");
    failed()
}

/// The exit code when the configuration is wrong.
pub(crate) fn failed() -> ExitCode {
    ExitCode::from(exit::CONFIGURATION)
}

/// Writes to standard output. A reader that has enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> ExitCode {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "error: standard output cannot be written: {error}");
            ExitCode::from(exit::FAILED)
        }
    }
}

/// A missing `=` is wrong usage, not a wrong configuration.
pub(crate) fn key_and_value(argument: &str) -> Result<Secret, String> {
    match argument.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => Ok(Secret::new(argument)),
        _ => Err("write it as KEY=VALUE, such as checkpoint.interval=100ms".into()),
    }
}
