//! The pace of sample traffic.

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use tidegate_core::TimestampMs;
use tidegate_host::Clock;
use tidegate_log::LogError;
use tidegate_traffic::{SampleEvent, Traffic};

use super::Sink;

/// Events in a second of event time when nothing else is said.
const DEFAULT_RATE: u32 = 1000;
/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(5);
/// Events between two looks at the clock when it goes as fast as possible.
const BURST: u64 = 2000;

/// How fast, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Event time is the wall clock.
    Paced { rate: u32, events: Option<u64> },
    /// As fast as possible; event time lies in the past, so that the last event is now.
    AtOnce { events: u64 },
}

impl Plan {
    /// What `--rate` and `--events` ask for; a rate of 0 is as fast as possible.
    ///
    /// # Errors
    /// If it would never end and never wait.
    pub(crate) fn new(rate: Option<u32>, events: Option<u64>) -> Result<Self, &'static str> {
        match (rate, events) {
            (None | Some(0), Some(events)) => Ok(Self::AtOnce { events }),
            (Some(0), None) => Err("--rate 0 needs --events, or it would never end"),
            (rate, events) => Ok(Self::Paced { rate: rate.unwrap_or(DEFAULT_RATE), events }),
        }
    }
}

/// Writes sample traffic into a sink, at its pace.
pub(crate) struct Generator {
    sink: Sink,
    traffic: Traffic,
    plan: Plan,
    started: Instant,
    written: u64,
    bytes: u64,
    progress: Progress,
}

impl Generator {
    /// A generator that begins now.
    pub(crate) fn new(sink: Sink, seed: u64, plan: Plan) -> Self {
        let now_ms = Clock::start().now().0;
        let (start_ms, rate) = match plan {
            Plan::Paced { rate, .. } => (now_ms, rate),
            Plan::AtOnce { events } => {
                let span_ms = i64::try_from(events).unwrap_or(now_ms) * 1000 / i64::from(DEFAULT_RATE);
                (now_ms.saturating_sub(span_ms).max(0), DEFAULT_RATE)
            }
        };
        let traffic = Traffic::new(seed, TimestampMs(start_ms), f64::from(rate));
        Self { sink, traffic, plan, started: Instant::now(), written: 0, bytes: 0, progress: Progress::new() }
    }

    /// The same without a word about how far it is.
    pub(crate) fn quiet(self) -> Self {
        Self { progress: Progress { every: Duration::MAX, ..self.progress }, ..self }
    }

    /// Writes until there are enough, or until it is told to stop.
    ///
    /// # Errors
    /// If the sink refuses an event: see [`Sink::send`].
    pub(crate) fn run(&mut self, stop: &AtomicBool) -> Result<Summary, LogError> {
        let mut event = SampleEvent::default();
        while let Some(due) = self.due().filter(|_| !stop.load(Ordering::Relaxed)) {
            while self.written < due {
                self.traffic.next(&mut event);
                self.sink.send(&event)?;
                self.written += 1;
                self.bytes += event.value.len() as u64;
            }
            self.sink.hand_on()?;
            self.progress.show(self.written, self.started.elapsed());
            if matches!(self.plan, Plan::Paced { .. }) {
                thread::sleep(TICK);
            }
        }
        self.progress.end();
        self.sink.flush()?;
        Ok(Summary { events: self.written, bytes: self.bytes, took: self.started.elapsed() })
    }

    /// How many events should be written by now; `None` when all are.
    fn due(&self) -> Option<u64> {
        let (due, limit) = match self.plan {
            Plan::AtOnce { events } => (self.written + BURST, events),
            Plan::Paced { rate, events } => {
                let due = self.started.elapsed().as_secs_f64() * f64::from(rate);
                (due as u64, events.unwrap_or(u64::MAX))
            }
        };
        (self.written < limit).then_some(due.min(limit))
    }
}

/// What was written.
pub(crate) struct Summary {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.took.as_secs_f64().max(1e-3);
        let (rate, mib) = (self.events as f64 / seconds, self.bytes as f64 / f64::from(1 << 20));
        write!(f, "{} events, {mib:.1} MiB in {seconds:.1} s: {rate:.0} events/s", self.events)
    }
}

/// One line that changes on a terminal, a line now and then otherwise.
struct Progress {
    terminal: bool,
    every: Duration,
    shown: Duration,
}

impl Progress {
    fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let every = if terminal { Duration::from_millis(200) } else { Duration::from_secs(5) };
        Self { terminal, every, shown: Duration::ZERO }
    }

    fn show(&mut self, written: u64, elapsed: Duration) {
        if elapsed - self.shown < self.every {
            return;
        }
        self.shown = elapsed;
        let rate = written as f64 / elapsed.as_secs_f64();
        if self.terminal {
            eprint!("\r{written} events, {rate:.0}/s  ");
        } else {
            eprintln!("{written} events, {rate:.0}/s");
        }
    }

    fn end(&self) {
        if self.terminal && !self.shown.is_zero() {
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_rate_a_number_of_events_is_written_at_once() {
        assert_eq!(Plan::new(None, Some(5)), Ok(Plan::AtOnce { events: 5 }));
        assert_eq!(Plan::new(Some(0), Some(5)), Ok(Plan::AtOnce { events: 5 }));
        assert_eq!(Plan::new(Some(7), Some(5)), Ok(Plan::Paced { rate: 7, events: Some(5) }));
        assert_eq!(Plan::new(None, None), Ok(Plan::Paced { rate: 1000, events: None }));
        assert!(Plan::new(Some(0), None).is_err());
    }
}
