//! A server that runs for tests, or to play with.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Error, guard::Guarded, signals::interrupted};

/// A server that was killed may have to recover when it comes back, and Kafka waits about 17 s for its own old
/// session; machines are slow.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// Name and value of one of a server's own settings.
pub(crate) type Setting = (String, String);

/// A running server; dropping it stops it.
pub(crate) struct Server {
    /// What its clients connect to: `HOST:PORT` or a URL.
    pub(crate) address: String,
    pub(crate) dir: PathBuf,
    name: &'static str,
    process: Guarded,
    // After the process: fields are dropped in this order.
    temporary: Option<TempDir>,
}

impl Server {
    /// Takes over a process that was started in `dir` with the output of [`output_to_log`], and waits until it is
    /// `ready`.
    pub(crate) fn new(
        name: &'static str,
        address: String,
        dir: &Path,
        process: Guarded,
        ready: impl Fn() -> Result<bool, Error>,
    ) -> Result<Self, Error> {
        let mut server = Self { address, dir: dir.to_owned(), name, process, temporary: None };
        fs::write(dir.join(format!("{name}.pid")), server.id().to_string())?;
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            server.check()?;
            if ready()? {
                return Ok(server);
            }
            if interrupted() {
                return Err("interrupted".into());
            }
            if Instant::now() > deadline {
                let tail = server.log_tail();
                return Err(format!("{name} was not ready within {START_DEADLINE:?}\n{tail}").into());
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Ties a temporary directory to the server's life.
    pub(crate) fn with(self, temporary: Option<TempDir>) -> Self {
        Self { temporary, ..self }
    }

    /// Stops the server but leaves its temporary directory.
    pub(crate) fn stop_and_keep(mut self) {
        if let Some(dir) = &mut self.temporary {
            dir.disable_cleanup(true);
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn log(&self) -> PathBuf {
        log(&self.dir, self.name)
    }

    /// An error with the end of the server's log, if it is not running any more.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        match self.process.exited()? {
            None => Ok(()),
            Some(status) => Err(format!("{} ended with {status}\n{}", self.name, self.log_tail()).into()),
        }
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "{}, last lines:\n{}",
            self.log().display(),
            lines[lines.len().saturating_sub(40)..].join("\n")
        )
    }
}

fn log(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}

/// What a command writes is added to the log of the server of this name.
pub(crate) fn output_to_log(command: &mut Command, dir: &Path, name: &str) -> Result<(), Error> {
    let log = File::options().create(true).append(true).open(log(dir, name))?;
    command.stdout(log.try_clone()?).stderr(log);
    Ok(())
}

pub(crate) fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The port itself, as soon as it is free.
pub(crate) fn wait_for_port(port: u16) -> Result<u16, Error> {
    let bind = || TcpListener::bind(("127.0.0.1", port));
    soon(|| bind().is_ok());
    bind().map(|_| port).map_err(|error| format!("port {port}: {error}").into())
}

/// Waits a while for what a server that was just killed gives back in a moment.
pub(crate) fn soon(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() && Instant::now() < deadline {
        sleep(Duration::from_millis(50));
    }
}

/// The text of a page, if it is there.
pub(crate) fn answers(url: &str) -> Option<String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build();
    ureq::Agent::from(config).get(url).call().ok()?.body_mut().read_to_string().ok()
}

/// Runs a command that belongs to a server's start.
///
/// # Errors
/// Says what it wrote, if it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&words)).into())
}
