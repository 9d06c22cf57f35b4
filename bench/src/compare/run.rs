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
    process::{Snapshot, machine_busy, memory_bytes, snapshot},
    site::{Site, Workshop, log_into},
    visible::Visible,
};
use crate::Error;

/// Between two looks; the error of all times.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between two looks at what is written and not yet visible.
const LOOK_AT_WRITTEN_EVERY: Duration = Duration::from_millis(100);
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

/// A daemon that has nothing to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idle {
    /// Share of one core.
    pub(super) cores: f64,
    pub(super) rss_bytes: u64,
}

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// From the start of the process until all output was visible to `read_committed` consumers.
    pub(super) wall: Duration,
    /// From the start of the process until the first of it was.
    pub(super) first_output: Duration,
    /// User and system time of the process, or of all that belong to the program.
    pub(super) cpu: Duration,
    /// Of the broker meanwhile, if it can be seen.
    pub(super) broker_cpu: Option<Duration>,
    pub(super) peak_rss_bytes: u64,
    /// The part without start and end.
    pub(super) warm: Option<Warm>,
    /// Cores that were busy with something else; without a broker that can be seen, with that too.
    pub(super) other_cores: f64,
}

/// From 40 % to 95 % of the output, by when the broker had it: when it was visible says less of when the work was
/// done, the less the longer the checkpoints are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Warm {
    /// Share of the output.
    pub(super) share: f64,
    pub(super) wall: Duration,
    /// User and system time, as for the whole.
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

/// The same for a program that is several processes.
pub(super) fn start_all(commands: Vec<Command>, site: &Site) -> Result<Vec<Running>, Error> {
    commands.into_iter().map(|command| start(command, site)).collect()
}

/// Their process numbers.
pub(super) fn ids(processes: &[Running]) -> Vec<u32> {
    processes.iter().map(|process| process.0.id()).collect()
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
    let commands = program.commands(site, workshop)?;
    let broker_cpu = || Some(snapshot(broker?)?.cpu);
    let own_cpu = || snapshot(std::process::id()).map_or(Duration::ZERO, |own| own.cpu);
    let (broker_before, own_before, busy_before) = (broker_cpu(), own_cpu(), machine_busy());
    let began = Instant::now();
    let mut processes = start_all(commands, site)?;

    let mut watch = Watch::new(&visible, began);
    let (cpu, peak_rss_bytes) = watch.until_end(&ids(&processes))?;
    let status = processes[0].0.wait()?;
    if !status.success() {
        return Err(format!("ended with {status}").into());
    }
    drop(processes);
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
    /// While the process ran: when, how much was written, and the CPU time so far.
    written: Vec<(Duration, i64, Duration)>,
}

impl<'a> Watch<'a> {
    fn new(visible: &'a Visible, began: Instant) -> Self {
        Self {
            visible,
            began,
            ends: Vec::new(),
            first_output: None,
            last_change: Duration::ZERO,
            written: Vec::new(),
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

    /// Looks until the first of the program's processes has ended; returns the CPU time and the peak memory in bytes
    /// of all of them.
    fn until_end(&mut self, pids: &[u32]) -> Result<(Duration, u64), Error> {
        let mut peaks = vec![0; pids.len()];
        loop {
            let processes: Option<Vec<Snapshot>> = pids.iter().map(|pid| snapshot(*pid)).collect();
            let processes = processes.ok_or("the process is gone")?;
            for (peak, pid) in peaks.iter_mut().zip(pids) {
                *peak = memory_bytes(*pid, "VmHWM").unwrap_or_default().max(*peak);
            }
            let cpu = processes.iter().map(|process| process.cpu).sum();
            if processes[0].has_ended {
                return Ok((cpu, peaks.iter().sum()));
            }
            if processes.iter().any(|process| process.has_ended) {
                return Err("one of its processes has ended".into());
            }
            if self.began.elapsed() > RUN_DEADLINE {
                return Err(format!("not done within {RUN_DEADLINE:?}").into());
            }
            self.look()?;
            let now = self.began.elapsed();
            if self.written.last().is_none_or(|(at, ..)| now - *at >= LOOK_AT_WRITTEN_EVERY) {
                self.written.push((now, self.visible.all()?.iter().sum(), cpu));
            }
            sleep(LOOK_EVERY);
        }
    }

    fn warm(&self) -> Option<Warm> {
        let all = self.ends.iter().sum::<i64>() as f64;
        let share = |(_, written, _): &&(Duration, i64, Duration)| *written as f64 / all;
        let from = self.written.iter().find(|look| share(look) >= 0.4)?;
        let to = self.written.iter().rfind(|look| share(look) <= 0.95)?;
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
    watch_idle(&[pid])
}

/// Lets a program's processes settle, and watches them do nothing.
pub(super) fn watch_idle(pids: &[u32]) -> Result<Idle, Error> {
    const GONE: &str = "the idle program is gone";
    sleep(IDLE_TIME);
    let cpu = || pids.iter().map(|pid| Some(snapshot(*pid)?.cpu)).sum::<Option<Duration>>().ok_or(GONE);
    let (began, before) = (Instant::now(), cpu()?);
    sleep(IDLE_TIME);
    let rss_bytes = pids.iter().map(|pid| memory_bytes(*pid, "VmRSS")).sum::<Option<u64>>().ok_or(GONE)?;
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
