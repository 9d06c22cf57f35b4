//! One run of one program, watched from outside.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    Program,
    process::{machine_busy, memory_bytes, snapshot},
    report::Idle,
    site::{Site, Workshop, log_into},
    visible::Visible,
};
use crate::Error;

/// Between two looks; the error of all times.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A program that takes longer hangs.
const RUN_DEADLINE: Duration = Duration::from_secs(900);
const VISIBLE_DEADLINE: Duration = Duration::from_secs(30);
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How long the machine may take to come to rest; on a shared one it never does.
const REST_DEADLINE: Duration = Duration::from_secs(20);
/// At rest less than this share of one core is busy.
const REST_SHARE: f64 = 0.15;
/// How long an idle daemon is watched, after as long a time for it to settle.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// A program's run.
pub(super) struct Run {
    pub(super) program: Program,
    /// Counted from 0.
    pub(super) round: usize,
    pub(super) figures: Figures,
}

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// From the start of the process until all output was visible to `read_committed` consumers.
    pub(super) wall: Duration,
    /// From the start of the process until the first of it was.
    pub(super) first_output: Duration,
    /// User and system time of the process.
    pub(super) cpu: Duration,
    /// Of the broker meanwhile, if it can be seen.
    pub(super) broker_cpu: Option<Duration>,
    pub(super) peak_rss_bytes: u64,
    /// The part without start and end.
    pub(super) warm: Option<Warm>,
    /// Cores that were busy with something else; without a broker that can be seen, with that too.
    pub(super) other_cores: f64,
}

/// From 40 % to 95 % of the output, by when it was visible.
#[derive(Debug, Clone, Copy)]
pub(super) struct Warm {
    /// Share of the output.
    pub(super) share: f64,
    pub(super) wall: Duration,
    /// User and system time of the process.
    pub(super) cpu: Duration,
}

/// A child that does not outlive us.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program that writes into the site's log.
pub(super) fn start(mut command: Command, site: &Site) -> Result<Running, Error> {
    log_into(&mut command, site)?;
    Ok(Running(command.spawn()?))
}

/// Runs the program on the site's input and watches its output appear.
pub(super) fn measure(
    site: &Site,
    program: Program,
    workshop: &Workshop,
    broker: Option<u32>,
) -> Result<Figures, Error> {
    let visible = Visible::new(&workshop.kafka, site)?;
    wait_for_rest();
    let command = program.command(site, workshop)?;
    let broker_cpu = || Some(snapshot(broker?)?.cpu);
    let own_cpu = || snapshot(std::process::id()).map_or(Duration::ZERO, |own| own.cpu);
    let (broker_before, own_before, busy_before) = (broker_cpu(), own_cpu(), machine_busy());
    let began = Instant::now();
    let mut process = start(command, site)?;

    let mut watch = Watch::new(&visible, began);
    let (cpu, peak_rss_bytes) = watch.until_end(process.0.id())?;
    let status = process.0.wait()?;
    if !status.success() {
        return Err(format!("ended with {status}").into());
    }
    watch.until_all_is_visible()?;
    let seen = began.elapsed();
    let broker_cpu = broker_cpu().zip(broker_before).map(|(after, before)| after - before);
    let known = cpu + broker_cpu.unwrap_or_default() + (own_cpu() - own_before);
    let other = (machine_busy() - busy_before).saturating_sub(known);
    Ok(Figures {
        wall: watch.last_change,
        first_output: watch.first_output.ok_or("no output was seen")?,
        cpu,
        broker_cpu,
        peak_rss_bytes,
        warm: watch.warm(),
        other_cores: other.as_secs_f64() / seen.as_secs_f64(),
    })
}

/// Follows the last stable offsets of the outputs.
struct Watch<'a> {
    visible: &'a Visible,
    began: Instant,
    ends: Vec<i64>,
    first_output: Option<Duration>,
    last_change: Duration,
    /// At each change while the process ran: when, how much was visible, and the CPU time so far.
    changes: Vec<(Duration, i64, Duration)>,
}

impl<'a> Watch<'a> {
    fn new(visible: &'a Visible, began: Instant) -> Self {
        Self {
            visible,
            began,
            ends: Vec::new(),
            first_output: None,
            last_change: Duration::ZERO,
            changes: Vec::new(),
        }
    }

    fn look(&mut self) -> Result<(), Error> {
        let ends = self.visible.stable()?;
        let now = self.began.elapsed();
        if ends != self.ends {
            self.ends = ends;
            self.last_change = now;
        }
        if self.first_output.is_none() && self.ends.iter().any(|end| *end > 0) {
            self.first_output = Some(now);
        }
        Ok(())
    }

    /// Looks until the process has ended; returns its CPU time and its peak memory in bytes.
    fn until_end(&mut self, pid: u32) -> Result<(Duration, u64), Error> {
        let mut peak_rss_bytes = 0;
        loop {
            let process = snapshot(pid).ok_or("the process is gone")?;
            peak_rss_bytes = peak_rss_bytes.max(memory_bytes(pid, "VmHWM").unwrap_or_default());
            if process.has_ended {
                return Ok((process.cpu, peak_rss_bytes));
            }
            if self.began.elapsed() > RUN_DEADLINE {
                return Err(format!("not done within {RUN_DEADLINE:?}").into());
            }
            self.look()?;
            if self.changes.last().is_none_or(|(at, ..)| *at != self.last_change) {
                self.changes.push((self.last_change, self.ends.iter().sum(), process.cpu));
            }
            sleep(LOOK_EVERY);
        }
    }

    fn warm(&self) -> Option<Warm> {
        let all = self.ends.iter().sum::<i64>() as f64;
        let share = |(_, visible, _): &&(Duration, i64, Duration)| *visible as f64 / all;
        let from = self.changes.iter().find(|change| share(change) >= 0.4)?;
        let to = self.changes.iter().rfind(|change| share(change) <= 0.95)?;
        let wall = to.0.checked_sub(from.0).filter(|wall| !wall.is_zero())?;
        Some(Warm { share: share(&to) - share(&from), wall, cpu: to.2 - from.2 })
    }

    /// The broker finishes the last transaction a moment after it has answered.
    fn until_all_is_visible(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + VISIBLE_DEADLINE;
        loop {
            self.look()?;
            if self.ends == self.visible.all()? {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("a transaction was left open".into());
            }
            sleep(LOOK_EVERY);
        }
    }
}

/// The broker still tidies up after the last run.
pub(super) fn wait_for_rest() {
    let deadline = Instant::now() + REST_DEADLINE;
    while Instant::now() < deadline {
        let (began, before) = (Instant::now(), machine_busy());
        sleep(Duration::from_millis(500));
        let share = (machine_busy() - before).as_secs_f64() / began.elapsed().as_secs_f64();
        if share < REST_SHARE {
            return;
        }
    }
}

/// Starts the daemon where it has nothing left to do.
pub(super) fn measure_idle(site: &Site, workshop: &Workshop) -> Result<Idle, Error> {
    let mut command = Command::new(&workshop.tidegate);
    command.arg("run").arg("--config").arg(&site.config);
    let process = start(command, site)?;
    let pid = process.0.id();
    let deadline = Instant::now() + READY_DEADLINE;
    while !is_ready(&site.http) {
        if Instant::now() > deadline || snapshot(pid).is_none_or(|process| process.has_ended) {
            return Err(format!("the idle daemon is not ready; see {}", site.log.display()).into());
        }
        sleep(Duration::from_millis(50));
    }
    watch_idle(pid)
}

/// Lets a process settle, and watches it do nothing.
pub(super) fn watch_idle(pid: u32) -> Result<Idle, Error> {
    sleep(IDLE_TIME);
    let cpu = || snapshot(pid).map(|process| process.cpu).ok_or("the idle daemon is gone");
    let (began, before) = (Instant::now(), cpu()?);
    sleep(IDLE_TIME);
    let rss_bytes = memory_bytes(pid, "VmRSS").ok_or("the idle daemon is gone")?;
    Ok(Idle { cores: (cpu()? - before).as_secs_f64() / began.elapsed().as_secs_f64(), rss_bytes })
}

fn is_ready(address: &str) -> bool {
    get(address, "/readyz").is_ok_and(|answer| answer.split_ascii_whitespace().nth(1) == Some("200"))
}

/// What the daemon's HTTP server answers, with status and headers.
pub(super) fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
