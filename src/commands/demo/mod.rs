//! `tidegate demo`: everything in one process, with generated traffic, on an embedded log.

mod home;
mod receiver;
mod show;

use std::{
    io,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tidegate_actors::CommittedAlert;
use tidegate_config::Settings;
use tidegate_core::{PartitionId, RuleId, alert::AlertPhase, event::Reason};
use tidegate_log::embedded::EmbeddedStore;
use tidegate_telemetry::{Metrics, Status, logs};
use tokio::{
    sync::{broadcast, oneshot, watch as latest},
    task::JoinError,
    time::{MissedTickBehavior, interval},
};

use self::{
    home::Home,
    receiver::{Receiver, SINK},
    show::{Screen, Summary, alert_line},
};
use super::fail;
use crate::{
    daemon::{Daemon, Failure, Opened, Options, block_on},
    exit, http,
    signals::Signals,
    traffic::{Generator, Plan, Sink},
    wiring,
};

const DEFAULT_RATE: u32 = 2000;
/// Between two looks at how far everything is.
const TICK: Duration = Duration::from_millis(200);
/// Between two lines about it when nobody watches.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Events a second; 0 with --events is as fast as possible.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RATE)]
    rate: u32,
    /// End by itself after this many events, when all are processed.
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// The same seed gives the same events.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep everything in this directory, and go on with what is there; default: a temporary one.
    #[arg(long, value_name = "DIR")]
    dir: Option<std::path::PathBuf>,
    /// Post the alerts to a receiver in the same process, as a webhook would be, and print what it gets.
    #[arg(long)]
    sinks: bool,
}

/// Runs until there were enough events, or until a signal.
pub(crate) fn run(args: &Args) -> ExitCode {
    let plan = match Plan::new(Some(args.rate), args.events) {
        Ok(plan) => plan,
        Err(error) => return fail(exit::USAGE, error),
    };
    if let Err(error) = logs::init(logs::LogFormat::Auto, "warn", None) {
        return fail(exit::FAILED, error);
    }
    let outcome = Home::open(args.dir.as_deref()).and_then(|home| {
        block_on(async {
            let receiver = if args.sinks { Some(Receiver::start().await?) } else { None };
            let resolved = home.resolve(receiver.iter().map(Receiver::configured).collect())?;
            let shown = resolved.to_toml();
            demo(&home, &resolved.into_settings(), shown, plan, args.seed, receiver).await
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, text }) => fail(code, text),
    }
}

async fn demo(
    home: &Home,
    settings: &Settings,
    config: String,
    plan: Plan,
    seed: u64,
    receiver: Option<Receiver>,
) -> Result<(), Failure> {
    let signals = Some(Signals::listen().map_err(Failure::failed)?);
    let state_dir = home.lock(settings)?;
    let (log, store) = wiring::connect(settings)?;
    let Some(store) = store else {
        return Err(Failure::new(exit::CONFIGURATION, "the demo needs the embedded log"));
    };
    store.apply(&wiring::topic_specs(settings), false)?;

    let routes = http::log_routes(settings, store.clone());
    let options = Options { routes, config, any_port: true, signals, ..Options::default() };
    let alerts = options.alerts.subscribe();
    let opened = Opened { state_dir: Some(state_dir), log, embedded: Some(store.clone()) };
    let daemon = Daemon::start(settings, opened, options).await?;
    let view = View {
        metrics: daemon.metrics.clone(),
        status: daemon.status.clone(),
        rules: settings.rules.len(),
        partitions: settings.topics.raw.partitions,
        store: store.clone(),
        input: settings.topics.raw.name.clone(),
        group: settings.kafka.group_id.clone(),
        alerts: settings.topics.alerts.name.clone(),
        sink_group: receiver.is_some().then(|| tidegate_sinks::group_of(&settings.kafka.group_id, SINK)),
    };
    let mut screen = Screen::new();
    for line in home.introduction(daemon.address, plan) {
        screen.line(&line).map_err(closed)?;
    }
    if let Some(receiver) = &receiver {
        screen.line(&receiver.introduction()).map_err(closed)?;
    }
    let sink = Sink::live(store, settings.topics.raw.name.clone());
    let traffic = Traffic::start(Generator::new(sink, seed, plan).quiet());
    let (enough, is_enough) = oneshot::channel();
    let mut ended = tokio::spawn(daemon.ended(async move {
        // An error means that there is never enough.
        if is_enough.await.is_err() {
            std::future::pending::<()>().await;
        }
    }));
    let outcome = tokio::select! {
        outcome = &mut ended => joined(outcome),
        watched = watch(&mut screen, &view, &traffic, alerts, receiver, enough) => match watched {
            Ok(()) => joined(ended.await),
            Err(error) => Err(error),
        },
    };
    traffic.stop();
    outcome?;
    screen.release();
    screen.line(&format!("all committed: {}", view.summary(traffic.started))).map_err(closed)?;
    screen.line(&home.farewell()).map_err(closed)
}

/// Shows what happens; returns when the traffic is over and processed, and has said so.
async fn watch(
    screen: &mut Screen,
    view: &View,
    traffic: &Traffic,
    mut alerts: broadcast::Receiver<Arc<CommittedAlert>>,
    mut receiver: Option<Receiver>,
    enough: oneshot::Sender<()>,
) -> Result<(), Failure> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut shown) = (view.summary(traffic.started), Instant::now());
    loop {
        tokio::select! {
            alert = alerts.recv() => match alert {
                Ok(alert) => screen.line(&line_of(&alert)).map_err(closed)?,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    screen.line(&format!("({missed} alerts not shown)")).map_err(closed)?;
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            Some(line) = posted(&mut receiver) => screen.line(&line).map_err(closed)?,
            _ = ticks.tick() => {
                if let Some(error) = traffic.failure() {
                    return Err(Failure::failed(error));
                }
                let now = view.summary(traffic.started);
                if screen.is_terminal() || shown.elapsed() >= PLAIN_EVERY {
                    let span = (now.elapsed - last.elapsed).as_secs_f64().max(1e-3);
                    let per_second = (now.events - last.events) as f64 / span;
                    screen.summary(&Summary { per_second, ..now }).map_err(closed)?;
                    shown = Instant::now();
                    // A rate over less than a second only flickers.
                    if now.elapsed - last.elapsed >= Duration::from_secs(1) {
                        last = now;
                    }
                }
                if traffic.is_over() && now.lag == 0 && view.is_posted() {
                    let _ = enough.send(());
                    return Ok(());
                }
            }
        }
    }
}

/// The next request that the receiver got; without a receiver there is none.
async fn posted(receiver: &mut Option<Receiver>) -> Option<String> {
    match receiver {
        Some(receiver) => receiver.line().await,
        None => std::future::pending().await,
    }
}

fn joined(outcome: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    outcome.unwrap_or_else(|error| Err(Failure::failed(error)))
}

fn line_of(alert: &CommittedAlert) -> String {
    let visible_after = alert.appended_at.map(|appended_at| {
        let millis = u64::try_from(alert.committed_at.0 - appended_at.0).unwrap_or_default();
        Duration::from_millis(millis)
    });
    alert_line(&alert.value, visible_after)
}

fn closed(error: io::Error) -> Failure {
    Failure::failed(format_args!("standard output cannot be written: {error}"))
}

/// Where the figures come from.
struct View {
    metrics: Metrics,
    status: latest::Receiver<Status>,
    rules: usize,
    partitions: u32,
    store: EmbeddedStore,
    input: String,
    group: String,
    alerts: String,
    /// The consumer group of the sink, if there is one.
    sink_group: Option<String>,
}

impl View {
    /// Whether the sink, if there is one, has delivered all alerts.
    fn is_posted(&self) -> bool {
        self.sink_group.as_ref().is_none_or(|group| self.store.lag(&self.alerts, group) == 0)
    }

    fn summary(&self, started: Instant) -> Summary {
        let metrics = &self.metrics;
        let events: u64 =
            (0..self.partitions).map(|partition| metrics.source_records(PartitionId(partition)).get()).sum();
        let elapsed = started.elapsed();
        let of_rule =
            |rule| AlertPhase::ALL.map(|phase| metrics.alerts(RuleId(rule), phase).get()).iter().sum::<u64>();
        Summary {
            elapsed,
            events,
            per_second: events as f64 / elapsed.as_secs_f64().max(1e-3),
            lag: self.store.lag(&self.input, &self.group),
            epoch: self.status.borrow().epoch.0,
            bots: metrics.all_bot_events(),
            dead_letters: Reason::ALL.into_iter().map(|reason| metrics.dead_letters(reason).get()).sum(),
            alerts: (0..self.rules).map(of_rule).sum(),
        }
    }
}

/// The traffic, written by a thread of its own.
struct Traffic {
    started: Instant,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Traffic {
    fn start(mut generator: Generator) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let failure: Arc<Mutex<Option<String>>> = Arc::default();
        let (stopped, failed) = (Arc::clone(&stop), Arc::clone(&failure));
        let thread = thread::spawn(move || {
            if let Err(error) = generator.run(&stopped) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
        });
        Self { started: Instant::now(), stop, thread, failure }
    }

    fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
