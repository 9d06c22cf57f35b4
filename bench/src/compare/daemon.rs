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
/// What the log says of a panic, before anything else happens.
pub(super) const PANICKED: &str = "\"panic: ";

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

    /// What a histogram of seconds has so far, in the series that has `labels` in its braces.
    pub(super) fn sums(&self, histogram: &str, labels: &str) -> Result<Sums, Error> {
        let page = get(&self.http, "/metrics")?;
        let value = |end: &str| {
            let name = format!("{histogram}_{end}");
            series(&page, &name).find(|(line, _)| line.contains(labels)).map_or(0.0, |(_, value)| value)
        };
        Ok(Sums { seconds: value("sum"), count: value("count") })
    }

    /// Waits until at most `records` are left to be read.
    pub(super) fn wait_for_lag(&self, records: f64, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let page = get(&self.http, "/metrics")?;
            let lag: f64 = series(&page, "tidegate_consumer_lag_records").map(|(_, lag)| lag).sum();
            if lag <= records {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the daemon did not catch up: {lag} records are left to be read").into());
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The series of one metric on a page of `/metrics`: line and value.
fn series<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    let lines = page.lines().filter(move |line| line.starts_with(name));
    lines.filter_map(|line| Some((line, line.rsplit_once(' ')?.1.parse().ok()?)))
}

/// Sum and number of what a histogram has seen.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    seconds: f64,
    count: f64,
}

impl Sums {
    /// Mean of what came since `earlier`, in ms; not a number if nothing did.
    pub(super) fn mean_ms_since(self, earlier: Self) -> f64 {
        (self.seconds - earlier.seconds) * 1e3 / (self.count - earlier.count)
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
            // The log file is for people who look for causes; nobody may listen any more.
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
