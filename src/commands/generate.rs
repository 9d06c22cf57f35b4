//! `tidegate generate`: sample traffic for the input topic.

use std::{
    io::IsTerminal,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tidegate_actors::Clock;
use tidegate_core::TimestampMs;
use tidegate_log::{
    Log, LogError, Topic,
    kafka::{KafkaConfig, KafkaLog, PlainProducer},
};

use super::{config_args::ConfigArgs, fail};
use crate::{
    exit,
    traffic::{SampleEvent, Traffic},
    wiring,
};

/// Events in a second of event time when nothing else is said.
const DEFAULT_RATE: u32 = 1000;
/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(5);
/// Events between two looks at the clock when it goes as fast as possible.
const BURST: u64 = 2000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Events a second; 0 is as fast as possible. Default: 1000, or as fast as possible with --events
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// The same seed gives the same events
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// How fast, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Event time is the wall clock.
    Paced { rate: u32, events: Option<u64> },
    /// As fast as possible; event time lies in the past, so that the last event is now.
    AtOnce { events: u64 },
}

/// Writes until there are enough, or until a signal.
pub(crate) fn run(args: &Args) -> ExitCode {
    let plan = match plan(args.rate, args.events) {
        Ok(plan) => plan,
        Err(error) => return fail(exit::USAGE, error),
    };
    let settings = match args.config.load() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let config = wiring::kafka_config(&settings);
    let topic = config.topics[Topic::Raw as usize].clone();
    let seed = args.seed;
    let produce = move |stop: &AtomicBool| -> Result<Summary, LogError> {
        require(&config, &topic)?;
        let mut generator = Generator::new(PlainProducer::new(&config, &topic)?, seed, plan);
        generator.run(stop)
    };
    match until_signal(produce) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(Interrupted::Runtime(error)) => fail(exit::FAILED, error),
        Err(Interrupted::Log(error)) => fail(wiring::exit_code(&error), error),
    }
}

fn plan(rate: Option<u32>, events: Option<u64>) -> Result<Plan, &'static str> {
    match (rate, events) {
        (None | Some(0), Some(events)) => Ok(Plan::AtOnce { events }),
        (Some(0), None) => Err("--rate 0 needs --events, or it would never end"),
        (rate, events) => Ok(Plan::Paced { rate: rate.unwrap_or(DEFAULT_RATE), events }),
    }
}

/// A topic that is missing, or a broker, would only show when records time out.
fn require(config: &KafkaConfig, topic: &str) -> Result<(), LogError> {
    match KafkaLog::new(config.clone())?.topics(CONNECT_TIMEOUT) {
        Err(LogError::TopicsMissing(missing)) if !missing.iter().any(|name| name == topic) => Ok(()),
        found => found.map(drop),
    }
}

enum Interrupted {
    Runtime(std::io::Error),
    Log(LogError),
}

/// Runs `work` on a thread of its own and asks it to stop at SIGINT or SIGTERM.
fn until_signal(
    work: impl FnOnce(&AtomicBool) -> Result<Summary, LogError> + Send + 'static,
) -> Result<Summary, Interrupted> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Interrupted::Runtime)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(Interrupted::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Interrupted::Runtime)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut work = tokio::task::spawn_blocking(move || work(&stopped));
        let joined = tokio::select! {
            joined = &mut work => joined,
            _ = terminate.recv() => { stop.store(true, Ordering::Relaxed); work.await }
            _ = interrupt.recv() => { stop.store(true, Ordering::Relaxed); work.await }
        };
        joined.map_err(|error| Interrupted::Runtime(error.into()))?.map_err(Interrupted::Log)
    })
}

/// What was written.
struct Summary {
    events: u64,
    bytes: u64,
    took: Duration,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.took.as_secs_f64().max(1e-3);
        let (rate, mib) = (self.events as f64 / seconds, self.bytes as f64 / f64::from(1 << 20));
        write!(f, "{} events, {mib:.1} MiB in {seconds:.1} s: {rate:.0} events/s", self.events)
    }
}

struct Generator {
    producer: PlainProducer,
    traffic: Traffic,
    plan: Plan,
    started: Instant,
    written: u64,
    bytes: u64,
    progress: Progress,
}

impl Generator {
    fn new(producer: PlainProducer, seed: u64, plan: Plan) -> Self {
        let now_ms = Clock::start().now().0;
        let (start_ms, rate) = match plan {
            Plan::Paced { rate, .. } => (now_ms, rate),
            Plan::AtOnce { events } => {
                let span_ms = i64::try_from(events).unwrap_or(now_ms) * 1000 / i64::from(DEFAULT_RATE);
                (now_ms.saturating_sub(span_ms).max(0), DEFAULT_RATE)
            }
        };
        let traffic = Traffic::new(seed, TimestampMs(start_ms), f64::from(rate));
        Self {
            producer,
            traffic,
            plan,
            started: Instant::now(),
            written: 0,
            bytes: 0,
            progress: Progress::new(),
        }
    }

    fn run(&mut self, stop: &AtomicBool) -> Result<Summary, LogError> {
        let mut event = SampleEvent::default();
        while let Some(due) = self.due().filter(|_| !stop.load(Ordering::Relaxed)) {
            while self.written < due {
                self.traffic.next(&mut event);
                self.producer.send(None, Some(&event.key), Some(&event.value), &[], event.timestamp)?;
                self.written += 1;
                self.bytes += event.value.len() as u64;
            }
            self.progress.show(self.written, self.started.elapsed());
            if matches!(self.plan, Plan::Paced { .. }) {
                thread::sleep(TICK);
            }
        }
        self.progress.end();
        self.producer.flush(FLUSH_TIMEOUT)?;
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
        assert_eq!(plan(None, Some(5)), Ok(Plan::AtOnce { events: 5 }));
        assert_eq!(plan(Some(0), Some(5)), Ok(Plan::AtOnce { events: 5 }));
        assert_eq!(plan(Some(7), Some(5)), Ok(Plan::Paced { rate: 7, events: Some(5) }));
        assert_eq!(plan(None, None), Ok(Plan::Paced { rate: 1000, events: None }));
        assert!(plan(Some(0), None).is_err());
    }
}
