//! The daemon: the one place that knows all parts.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tidegate_actors::{Ending, GeoSource, Parts, PipelineHandle};
use tidegate_config::Settings;
use tidegate_log::{Health, Log};
use tidegate_state::StateDir;
use tidegate_telemetry::{Metrics, Status, logs};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{exit, http, http::HttpState, wiring};

/// How long leftover threads of the runtime may take at the end; the system ends them anyway.
const RUNTIME_SHUTDOWN: Duration = Duration::from_millis(500);

/// Why the daemon ends with an error, and its exit code.
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn new(code: u8, error: impl ToString) -> Self {
        Self { code, text: error.to_string() }
    }
}

/// Runs the pipeline until a signal or a lasting error.
pub(crate) fn run(settings: &Settings) -> ExitCode {
    if let Err(error) = logs::init(wiring::log_format(settings)) {
        eprintln!("error: {error}");
        return ExitCode::from(exit::FAILED);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::from(exit::FAILED);
        }
    };
    let result = runtime.block_on(run_pipeline(settings));
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    match result {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(Failure { code, text }) => {
            tracing::error!(error = text, exit_code = code, "stopped");
            ExitCode::from(code)
        }
    }
}

async fn run_pipeline(settings: &Settings) -> Result<(), Failure> {
    let pipeline_settings =
        wiring::pipeline_settings(settings).map_err(|error| Failure::new(exit::CONFIGURATION, error))?;
    let failed = |error: &dyn ToString| Failure::new(exit::FAILED, error.to_string());
    let state_dir = StateDir::open(&settings.state_dir).map_err(|error| failed(&error))?;
    let (log, _embedded) =
        wiring::connect(settings).map_err(|error| Failure::new(wiring::exit_code(&error), error))?;
    let metrics = Metrics::new(&wiring::labels(settings)).map_err(|error| failed(&error))?;
    let (status, status_shown) = watch::channel(Status::default());

    let listener = TcpListener::bind(settings.http_listen).await.map_err(|error| {
        failed(&format!("http.listen: cannot listen on {}: {error}", settings.http_listen))
    })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "http server listening");
    }
    let server = http::serve(listener, HttpState::new(metrics.clone(), status_shown), std::future::pending());
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "http server ended, the pipeline goes on");
        }
    });

    let geo = GeoSource::new(settings.geo.database.clone(), metrics.clone());
    let first_load = geo.clone();
    // before the first event, so that none goes without for a race
    let _ = tokio::task::spawn_blocking(move || first_load.refresh()).await;
    tokio::spawn(geo.clone().watch(settings.geo.reload_every));

    let signals = Signals::listen().map_err(|error| failed(&error))?;
    let parts = Parts {
        log: Arc::clone(&log),
        state_dir,
        settings: Arc::new(pipeline_settings),
        geo,
        metrics: metrics.clone(),
        status: status.clone(),
        owner: RandomState::new().build_hasher().finish(),
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
    let pipeline = tidegate_actors::start(parts).await.map_err(|error| failed(&error))?;
    tokio::spawn(observe(log, metrics, status));
    judge(attend(pipeline, signals, settings.shutdown_grace).await?)
}

/// Once a second: is the broker there, how busy are the stages.
async fn observe(log: Arc<dyn Log>, metrics: Metrics, status: watch::Sender<Status>) {
    let mut every_second = interval(Duration::from_secs(1));
    every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every_second.tick().await;
        metrics.tick();
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

/// Waits for the end, and brings it about on a signal.
async fn attend(
    mut pipeline: PipelineHandle,
    mut signals: Signals,
    grace: Duration,
) -> Result<Ending, Failure> {
    tokio::select! {
        ending = pipeline.ended() => return Ok(ending),
        name = signals.next() => tracing::info!(signal = name, "stopping: committing what is in flight"),
    }
    pipeline.shut_down();
    tokio::select! {
        ending = pipeline.ended() => Ok(ending),
        name = signals.next() => Err(Failure::new(exit::FAILED, format!("second {name}, stopped at once; what was in flight will be read again"))),
        () = tokio::time::sleep(grace) => {
            Err(Failure::new(exit::FAILED, "not all that was in flight could be committed within shutdown.grace; it will be read again"))
        }
    }
}

fn judge(ending: Ending) -> Result<(), Failure> {
    match ending {
        Ending::Clean | Ending::Unstarted => Ok(()),
        Ending::TopicsMissing(error) => Err(Failure::new(exit::UNAVAILABLE, error)),
        Ending::Misconfigured(error) => Err(Failure::new(exit::CONFIGURATION, error)),
        Ending::Failed(error) => Err(Failure::new(exit::FAILED, error)),
    }
}

/// The signals that ask for the end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
