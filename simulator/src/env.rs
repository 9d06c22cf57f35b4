//! What all actors stand in: the log, the disks, the time, chance, and those who look on.

use std::time::{Duration, Instant};

use crate::{
    check::Check,
    disk::Disk,
    faults::{Fault, Faults},
    log::Log,
    random::Random,
    shape::Shape,
};

/// Adds a line to the readable schedule, if somebody wants it.
macro_rules! note {
    ($env:expr, $($text:tt)*) => {
        if let Some(story) = &mut $env.story {
            let line = format!($($text)*);
            story.push($env.now, line);
        }
    };
}
pub(crate) use note;

/// Hosts: a process that is started beside one that lives runs on the other.
pub(crate) const HOSTS: usize = 2;

pub(crate) struct Env {
    pub(crate) shape: Shape,
    pub(crate) log: Log,
    pub(crate) disks: [Disk; HOSTS],
    pub(crate) check: Check,
    pub(crate) random: Random,
    /// Since the schedule began.
    pub(crate) now: Duration,
    /// For those who want an instant.
    pub(crate) origin: Instant,
    pub(crate) story: Option<Story>,
    pub(crate) faults: Faults,
    /// Faults may happen.
    pub(crate) is_faulty: bool,
}

impl Env {
    pub(crate) fn now_ms(&self) -> i64 {
        self.now.as_millis() as i64
    }

    /// Whether this fault happens now, where it has a chance of one in `n`.
    pub(crate) fn fails(&mut self, fault: Fault, n: u64) -> bool {
        if !self.is_faulty || !self.shape.faults.contains(&fault) || !self.random.one_in(n) {
            return false;
        }
        self.faults.count(fault);
        true
    }
}

/// The readable schedule.
#[derive(Debug, Default)]
pub(crate) struct Story {
    lines: Vec<String>,
}

impl Story {
    pub(crate) fn push(&mut self, now: Duration, line: String) {
        self.lines.push(format!("{:>9.1} ms  {line}", now.as_secs_f64() * 1000.0));
    }

    /// Its last lines.
    pub(crate) fn last(&self, lines: usize) -> &[String] {
        &self.lines[self.lines.len().saturating_sub(lines)..]
    }
}
