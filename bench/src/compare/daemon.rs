//! `tidegate run` as a process whose log is read as it comes, so that its lines have times of our clock.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{
    run::{Running, get},
    site::{Site, finish},
};
use crate::Error;

/// The pipeline reads and processes from here on.
pub(super) const RUNNING: &str = "pipeline running";
/// What is committed is known, and the windows are as of there.
pub(super) const RECOVERED: &str = "\"recovered\"";
/// The first output of a generation is with the writer.
pub(super) const OUTPUT_FLOWS: &str = "output flows";
/// What Rust says of a panic before anything else happens.
pub(super) const PANICKED: &str = "panicked at";

/// A line of the log, and when it came.
pub(super) struct Line {
    pub(super) at: Instant,
    pub(super) text: String,
}

/// A running daemon; dropping it kills it.
pub(super) struct Daemon {
    process: Running,
    lines: Receiver<Line>,
    http: String,
}

impl Daemon {
    /// Starts `command`, which writes to the site's log through us.
    pub(super) fn start(mut command: Command, site: &Site) -> Result<Self, Error> {
        command.env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Running(command.spawn()?);
        let pipe = process.0.stderr.take().ok_or("the daemon has no standard error")?;
        let lines = read_lines(pipe, File::options().create(true).append(true).open(&site.log)?);
        Ok(Self { process, lines, http: site.http.clone() })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// The next line that has one of these words in it.
    pub(super) fn next(&self, words: &[&str], timeout: Duration) -> Result<Line, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if words.iter().any(|word| line.text.contains(word)) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("the daemon did not say {words:?} within {timeout:?}").into());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("the daemon ended and never said {words:?}").into());
                }
            }
        }
    }

    /// SIGKILL; returns when it was sent, once the process is gone.
    pub(super) fn kill(mut self) -> Result<Instant, Error> {
        let killed = Instant::now();
        self.process.0.kill()?;
        self.process.0.wait()?;
        Ok(killed)
    }

    /// SIGTERM, and waits for an orderly end.
    pub(super) fn stop(mut self, site: &Site) -> Result<(), Error> {
        terminate(&self.process, site)?;
        let status = self.process.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the daemon ended with {status}").into()) }
    }

    /// The mean of a histogram of milliseconds, for the series that has `labels` in its braces.
    pub(super) fn mean_ms(&self, histogram: &str, labels: &str) -> Result<f64, Error> {
        let page = get(&self.http, "/metrics")?;
        let value = |end: &str| -> Option<f64> {
            let name = format!("{histogram}_{end}");
            let line = page.lines().find(|line| line.starts_with(&name) && line.contains(labels))?;
            line.rsplit_once(' ')?.1.parse().ok()
        };
        let mean = value("sum").zip(value("count")).map(|(sum, count)| sum * 1e3 / count);
        mean.ok_or_else(|| format!("the daemon has no {histogram}").into())
    }
}

/// SIGTERM.
pub(super) fn terminate(process: &Running, site: &Site) -> Result<(), Error> {
    finish(Command::new("kill").arg("-TERM").arg(process.0.id().to_string()), site)
}

fn read_lines(pipe: impl Read + Send + 'static, mut log: File) -> Receiver<Line> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for text in BufReader::new(pipe).lines().map_while(Result::ok) {
            let at = Instant::now();
            // the log file is for people who look for causes; nobody may listen any more
            let _ = writeln!(log, "{text}");
            let _ = sender.send(Line { at, text });
        }
    });
    lines
}

/// `tidegate run` with the site's configuration.
pub(super) fn run_command(tidegate: &Path, site: &Site) -> Command {
    let mut command = Command::new(tidegate);
    command.arg("run").arg("--config").arg(&site.config);
    command
}
