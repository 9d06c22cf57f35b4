//! The daemon: the one place that knows all parts.

use std::{
    future::{self, Future},
    hash::{BuildHasher, Hasher, RandomState},
    io::ErrorKind,
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tidegate_actors::{CommittedAlert, GeoSource};
use tidegate_config::{LogKind, Settings, Supervision};
use tidegate_log::{Health, Log, LogError, embedded::EmbeddedStore};
use tidegate_state::StateDir;
use tidegate_supervision::{Ending, Parts, PipelineHandle, Running, Sinks};
use tidegate_telemetry::{Journal, Metrics, Otlp, Phase, Status, logs};
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{exit, http, http::HttpState, signals::Signals, wiring};

/// How long leftover threads of the runtime may take at the end; the system ends them anyway.
const RUNTIME_SHUTDOWN: Duration = Duration::from_millis(500);
/// Alerts that a receiver may lag behind before it misses some.
const ALERTS_KEPT: usize = 1024;

/// Why the daemon ends with an error, and its exit code.
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: u8, error: impl ToString) -> Self {
        Self { code, text: error.to_string() }
    }

    pub(crate) fn configuration(error: impl ToString) -> Self {
        Self::new(exit::CONFIGURATION, error)
    }

    pub(crate) fn failed(error: impl ToString) -> Self {
        Self::new(exit::FAILED, error)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::new(wiring::exit_code(&error), error)
    }
}

/// `tidegate run`: until a signal, a lasting error, or with `until_end` the end of the input.
pub(crate) fn run(settings: &Settings, config: String, until_end: bool, only: Option<Only>) -> ExitCode {
    let mut logging = false;
    let result = block_on(async {
        let signals = Some(Signals::listen().map_err(Failure::failed)?);
        let otlp = Otlp::new(&wiring::otlp_settings(settings)).map_err(Failure::configuration)?;
        logs::init(wiring::log_format(settings), "info", otlp.as_ref()).map_err(Failure::failed)?;
        logging = true;
        let options = Options { until_end, config, otlp, signals, only, ..Options::default() };
        let daemon = Daemon::open(settings, options).await?;
        tracing::info!(address = %daemon.address, "http server listening");
        daemon.ended(future::pending()).await
    });
    match result {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(Failure { code, text }) if !logging => {
            eprintln!("error: {text}");
            ExitCode::from(code)
        }
        Err(Failure { code, text }) => {
            tracing::error!(error = text, exit_code = code, "stopped");
            ExitCode::from(code)
        }
    }
}

/// Runs what a daemon is part of on a runtime of its own.
pub(crate) fn block_on<T>(main: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format_args!("cannot start: {error}")))?;
    let result = runtime.block_on(main);
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    result
}

/// A part that can run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Only {
    /// The pipeline, without the sinks.
    Pipeline,
    /// The sinks, without the pipeline.
    Sinks,
}

/// In what a daemon may differ from another with the same settings.
pub(crate) struct Options {
    /// End by itself once all that is in the input as of the start is processed.
    pub(crate) until_end: bool,
    /// Run this part alone.
    pub(crate) only: Option<Only>,
    /// Listen on any free port if the configured one is taken.
    pub(crate) any_port: bool,
    /// Served over HTTP beside the daemon's own.
    pub(crate) routes: Router,
    /// The resolved configuration without secrets, to be shown.
    pub(crate) config: String,
    /// Where telemetry goes.
    pub(crate) otlp: Option<Otlp>,
    /// The signals, if they were taken over before the start.
    pub(crate) signals: Option<Signals>,
    /// Where committed alerts are told of. Who subscribes before the start hears of all.
    pub(crate) alerts: broadcast::Sender<Arc<CommittedAlert>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            until_end: false,
            only: None,
            any_port: false,
            routes: Router::new(),
            config: String::new(),
            otlp: None,
            signals: None,
            alerts: broadcast::Sender::new(ALERTS_KEPT),
        }
    }
}

/// What a daemon stands on.
pub(crate) struct Opened {
    /// The state directory, locked; without it there is no pipeline.
    pub(crate) state_dir: Option<StateDir>,
    /// The pipeline's log, or, without a pipeline, any.
    pub(crate) log: Arc<dyn Log>,
    /// The embedded log, if that is it.
    pub(crate) embedded: Option<EmbeddedStore>,
}

/// A daemon that runs. It takes the process's SIGINT and SIGTERM.
pub(crate) struct Daemon {
    /// Where its HTTP server listens.
    pub(crate) address: SocketAddr,
    /// Its metrics, the same that it serves.
    pub(crate) metrics: Metrics,
    /// Its status.
    pub(crate) status: watch::Receiver<Status>,
    running: Running,
    signals: Signals,
    grace: Duration,
    until_end: bool,
    otlp: Option<Otlp>,
}

impl Daemon {
    /// Opens the state directory and the log, as far as they are needed, and [starts](Self::start) all parts.
    ///
    /// # Errors
    /// If a part cannot be made.
    pub(crate) async fn open(settings: &Settings, mut options: Options) -> Result<Self, Failure> {
        if options.only == Some(Only::Sinks) {
            if settings.log == LogKind::Embedded {
                let text =
                    "an embedded log belongs to one process: run everything there, without --only sinks";
                return Err(Failure::new(exit::USAGE, text));
            }
            if settings.sinks.is_empty() {
                let text = "no sinks are configured: add [[sinks]], or run without --only sinks";
                return Err(Failure::new(exit::USAGE, text));
            }
            options.routes = http::no_log_routes();
            let log = wiring::another(settings, None)?;
            let opened = Opened { state_dir: None, log, embedded: None };
            return Self::start(settings, opened, options).await;
        }
        // Whoever opens an embedded log holds the directory's lock.
        let state_dir = StateDir::open(&settings.state_dir).map_err(Failure::failed)?;
        let (log, embedded) = wiring::connect(settings)?;
        options.routes = match &embedded {
            Some(store) => http::log_routes(settings, store.clone()),
            None => http::no_log_routes(),
        };
        Self::start(settings, Opened { state_dir: Some(state_dir), log, embedded }, options).await
    }

    /// Starts all parts on the current runtime; the pipeline if there is a state directory. The log may be away: they
    /// connect when it is there.
    ///
    /// # Errors
    /// If a part cannot be made.
    pub(crate) async fn start(
        settings: &Settings,
        opened: Opened,
        options: Options,
    ) -> Result<Self, Failure> {
        let Opened { state_dir, log, embedded } = opened;
        let Options { until_end, only, any_port, routes, config, mut otlp, signals, alerts } = options;
        let signals = signals.map_or_else(Signals::listen, Ok).map_err(Failure::failed)?;
        let pipeline_settings =
            wiring::pipeline_settings(settings).map_err(|error| Failure::new(exit::CONFIGURATION, error))?;
        let metrics = Metrics::exported(&wiring::labels(settings), otlp.as_mut()).map_err(Failure::failed)?;
        let traces =
            otlp.as_ref().map(|otlp| otlp.tracing(wiring::trace_names(settings))).unwrap_or_default();
        let journal = Journal::default();
        let (status, status_shown) = watch::channel(Status::default());
        let sinks = sinks(settings, only, &log, embedded.as_ref(), &metrics, &journal)?;
        let facts = wiring::facts(settings, &sinks.parts, config);
        let state = HttpState::new(facts, metrics.clone(), journal.clone(), status_shown.clone());
        let address = serve_http(settings.http_listen, any_port, state.clone(), routes).await?;
        let parts = match state_dir {
            None => {
                status.send_modify(|status| status.phase = Phase::Running);
                None
            }
            Some(state_dir) => Some(Parts {
                log: Arc::clone(&log),
                state_dir,
                settings: Arc::new(pipeline_settings),
                geo: load_geo(settings, &metrics).await,
                metrics: metrics.clone(),
                journal,
                traces,
                status: status.clone(),
                alerts,
                owner: RandomState::new().build_hasher().finish(),
                until_end,
            }),
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), until_end, sinks = sinks.parts.len(), "starting");
        let running = tidegate_supervision::start(parts, sinks).await.map_err(Failure::failed)?;
        if let Some(pipeline) = &running.pipeline {
            state.show(pipeline.view());
        }
        if let Some(otlp) = &otlp {
            tracing::info!(collector = otlp.target(), "telemetry is exported");
        }
        let grace = settings.shutdown_grace;
        tokio::spawn(observe(log, metrics.clone(), state, status));
        let daemon =
            Self { address, metrics, status: status_shown, running, signals, grace, until_end, otlp };
        Ok(daemon)
    }

    /// Waits for the end. A signal brings it about, or `stop`: reading stops, what is in flight is committed. A
    /// (second) signal then stops at once.
    ///
    /// # Errors
    /// If it was no end in order, or with [`Options::until_end`] not at the end of the input.
    pub(crate) async fn ended(mut self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let ending = self.attend(stop).await;
        if let Some(otlp) = self.otlp.take() {
            let _ = tokio::task::spawn_blocking(move || otlp.shut_down()).await;
        }
        let ending = ending?;
        tracing::debug!(epoch = %self.status.borrow().epoch, ?ending, "pipeline ended");
        match ending {
            Ending::Clean | Ending::Unstarted if self.until_end => {
                Err(Failure::failed("stopped before the end of the input; run it again to go on from here"))
            }
            Ending::Clean | Ending::Unstarted | Ending::EndReached => Ok(()),
            Ending::TopicsMissing(error) => Err(Failure::new(exit::UNAVAILABLE, error)),
            Ending::Misconfigured(error) => Err(Failure::new(exit::CONFIGURATION, error)),
            Ending::Failed(error) => Err(Failure::failed(error)),
        }
    }

    async fn attend(&mut self, stop: impl Future<Output = ()>) -> Result<Ending, Failure> {
        let Running { pipeline, sinks } = &mut self.running;
        let has_ended = tokio::select! {
            ending = ended(pipeline) => Some(ending),
            name = self.signals.next() => {
                tracing::info!(signal = name, "stopping: committing what is in flight");
                None
            }
            () = stop => {
                tracing::info!("stopping: committing what is in flight");
                None
            }
        };
        let all = async {
            if let Some(pipeline) = pipeline {
                pipeline.shut_down();
                let sinks_ended = sinks.shut_down();
                let ending = match has_ended {
                    Some(ending) => ending,
                    None => pipeline.ended().await,
                };
                sinks_ended.await;
                ending
            } else {
                sinks.shut_down().await;
                Ending::Clean
            }
        };
        tokio::select! {
            ending = all => Ok(ending),
            name = self.signals.next() => {
                Err(Failure::failed(format_args!("{name} again, stopped at once; what was in flight will be read again")))
            }
            () = tokio::time::sleep(self.grace) => {
                Err(Failure::failed("not all that was in flight could be committed within shutdown.grace; it will be read again"))
            }
        }
    }
}

/// Waits for the pipeline's end; without one, for ever.
async fn ended(pipeline: &mut Option<PipelineHandle>) -> Ending {
    match pipeline {
        Some(pipeline) => pipeline.ended().await,
        None => future::pending().await,
    }
}

/// The sinks to run. Beside a pipeline they have a log of their own, so that the pipeline's health is its own; alone they
/// have the one whose health is shown.
fn sinks(
    settings: &Settings,
    only: Option<Only>,
    log: &Arc<dyn Log>,
    embedded: Option<&EmbeddedStore>,
    metrics: &Metrics,
    journal: &Journal,
) -> Result<Sinks, Failure> {
    let Supervision { max_restarts, window: restart_window } = settings.supervision;
    let mut parts = Vec::new();
    if only != Some(Only::Pipeline) && !settings.sinks.is_empty() {
        let log = match only {
            Some(Only::Sinks) => Arc::clone(log),
            _ => wiring::another(settings, embedded)?,
        };
        parts = wiring::sink_parts(settings, &log, metrics, journal);
    }
    Ok(Sinks { parts, max_restarts, restart_window })
}

/// Serves in the background until the runtime ends; returns the address, which may be of a port that was free.
async fn serve_http(
    listen: SocketAddr,
    any_port: bool,
    state: HttpState,
    routes: Router,
) -> Result<SocketAddr, Failure> {
    let cannot = |error| Failure::failed(format_args!("http.listen: cannot listen on {listen}: {error}"));
    let listener = match TcpListener::bind(listen).await {
        Err(error) if any_port && error.kind() == ErrorKind::AddrInUse => {
            TcpListener::bind((listen.ip(), 0)).await
        }
        bound => bound,
    };
    let listener = listener.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let server = http::serve(listener, state, routes, future::pending());
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "http server ended, the pipeline goes on");
        }
    });
    Ok(address)
}

/// The geo database, opened before the first event, so that none goes without for a race, then verified and watched.
async fn load_geo(settings: &Settings, metrics: &Metrics) -> GeoSource {
    let geo = GeoSource::new(settings.geo.database.clone(), metrics.clone());
    let first_load = geo.clone();
    let _ = tokio::task::spawn_blocking(move || first_load.refresh()).await;
    tokio::spawn(geo.clone().watch(settings.geo.reload_every));
    geo
}

/// Once a second: is the broker there, how busy are the stages.
async fn observe(log: Arc<dyn Log>, metrics: Metrics, state: HttpState, status: watch::Sender<Status>) {
    let mut every_second = interval(Duration::from_secs(1));
    every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every_second.tick().await;
        metrics.tick();
        state.tick();
        let health = log.health();
        let up = health == Health::Up;
        status.send_if_modified(|status| {
            let changed = status.broker_up != up;
            status.broker_up = up;
            changed
        });
        if let Health::Down(reason) = health {
            tracing::debug!(reason, "the broker does not answer");
        }
    }
}

#[cfg(test)]
mod tests;
