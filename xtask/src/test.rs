//! `cargo xtask test`: all tests, with real servers.

use std::{
    env,
    process::{Command, ExitCode},
};

use crate::{
    Error, root,
    server::Server,
    servers::{Kind, start_all, variables},
    signals,
};

/// Builds the tests, brings up the servers, runs them, stops them. The exit code is that of `cargo test`.
pub(crate) fn run(args: &[String]) -> Result<ExitCode, Error> {
    signals::catch_signals()?;
    // What does not compile should say so before a server starts.
    if !cargo_test(&[]).arg("--no-run").status()?.success() {
        return Ok(ExitCode::FAILURE);
    }
    let mut command = cargo_test(args);
    // Tests that break a server start one of their own with `xtask`.
    command.env("TIDEGATE_XTASK", env::current_exe()?);
    let servers = if need_servers(args) { start_for(&mut command)? } else { Vec::new() };
    let status = command.status()?;
    // What the servers say about tests that failed stays.
    let keep = !status.success() && !signals::interrupted();
    if keep {
        servers.into_iter().for_each(Server::stop_and_keep);
    }
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn need_servers(args: &[String]) -> bool {
    let ours = || args.iter().map(String::as_str).take_while(|arg| *arg != "--");
    let inside_only = ours().any(|arg| ["--lib", "--bins", "--doc"].contains(&arg));
    !inside_only || ours().any(|arg| arg.starts_with("--test") || arg == "--all-targets")
}

/// Starts the servers that nobody else runs for us, and tells the tests where they are.
fn start_for(command: &mut Command) -> Result<Vec<Server>, Error> {
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| kind.given().is_none()).collect();
    let mut servers = Vec::new();
    for (kind, outcome) in kinds.iter().zip(start_all(&kinds)) {
        command.envs(variables(*kind, &outcome));
        match outcome {
            Ok(server) => {
                eprintln!("{} at {}, log in {}", kind.name(), server.address, server.log().display());
                servers.push(server);
            }
            // Hardly a test would be left.
            Err(reason) if *kind == Kind::Kafka || signals::interrupted() => return Err(reason.into()),
            Err(reason) => eprintln!("tests that need {} will fail: {reason}", kind.name()),
        }
    }
    Ok(servers)
}

fn cargo_test(args: &[String]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root())
        .args(["test", "--locked", "--workspace", "--no-fail-fast", "--features", "tidegate/failpoints"])
        .args(args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_selection_that_leaves_the_tests_directories_out_needs_no_servers() {
        let need = |line: &str| need_servers(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(need("-p tidegate-log") && need("--test daemon pipeline::") && need("--lib --tests"));
        assert!(!need("--lib --bins") && !need("--doc -- --test-threads 1") && need("-- --lib"));
    }
}
