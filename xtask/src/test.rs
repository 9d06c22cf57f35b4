//! `cargo xtask test`: all tests, with a real broker.

use std::{
    env, fs,
    process::{Command, ExitCode},
};

use crate::{Error, broker::Broker, root, signals};

/// Builds the tests, brings up a broker, runs them, stops it. The exit code is that of `cargo test`.
pub(crate) fn run(args: &[String]) -> Result<ExitCode, Error> {
    signals::catch_signals()?;
    // What does not compile should say so before a broker starts.
    if !cargo_test(&[]).arg("--no-run").status()?.success() {
        return Ok(ExitCode::FAILURE);
    }
    let given = env::var("TIDEGATE_TEST_KAFKA").ok().filter(|address| !address.is_empty());
    let broker = match given {
        Some(_) => None,
        None => {
            let dir = root().join(format!("target/kafka/test-{}", std::process::id()));
            Some(Broker::start(&dir, None, &[])?)
        }
    };
    let mut command = cargo_test(args);
    // Tests that break a broker start one of their own with `xtask kafka`.
    command.env("TIDEGATE_XTASK", env::current_exe()?);
    if let Some(broker) = &broker {
        eprintln!("kafka at {}, log in {}", broker.address, broker.dir.join("broker.log").display());
        command.env("TIDEGATE_TEST_KAFKA", &broker.address);
    }
    let status = command.status()?;
    if let Some(broker) = broker {
        let dir = broker.dir.clone();
        drop(broker);
        if status.success() {
            fs::remove_dir_all(dir)?;
        }
    }
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn cargo_test(args: &[String]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root())
        .args(["test", "--locked", "--workspace", "--no-fail-fast", "--features", "tidegate/failpoints"])
        .args(args);
    command
}
