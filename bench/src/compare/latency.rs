//! From the acknowledgement of the event that crosses a threshold to its alert at a `read_committed` consumer.
//!
//! Services of our own pass the threshold at random moments, a few times a second, within sample traffic at a
//! steady rate. The first events of each come a second before the one that crosses, so that only that one is
//! measured.

mod probe;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::probe::{Probes, THRESHOLD};
use super::{
    Machine, Place,
    daemon::{Daemon, RUNNING, run_command},
    figures::{aligned, grouped, markdown},
    process::{machine_busy, snapshot},
    run::wait_for_rest,
    site::{Site, Workshop},
    stats::Quantiles,
    traffic::{Load, check},
};
use crate::Error;

const ALERTS_FOR_DOCS: usize = 240;
const COMMAND: &str = "cargo xtask bench latency";
/// Until the broker's JVM is warm.
const WARM_UP: Duration = Duration::from_secs(30);
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(60);
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Parts of a checkpoint, as the metric's label calls them.
const PHASES: [&str; 7] = ["cut", "align", "flush", "offsets", "commit", "total", "store"];

/// Arguments of `latency`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Alerts to wait for at each rate.
    #[arg(long, value_name = "N", default_value_t = ALERTS_FOR_DOCS)]
    alerts: usize,
    /// Events a second of the sample traffic, lowest first.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "5000,50000")]
    rates: Vec<u32>,
}

/// Measures one rate after the other.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let workshop = args.place.workshop()?;
    let mut runs = Vec::new();
    for rate in &args.rates {
        let run = measure(args, &workshop, *rate)?;
        eprintln!("{rate} events/s: {:?}", run.latency);
        runs.push(run);
    }
    let report = Report { args, machine: Machine::here(), runs };
    let enough = args.alerts >= ALERTS_FOR_DOCS;
    args.place.publish(COMMAND, &report.show(aligned), &report.show(markdown), &report.json(), enough)
}

/// What was seen at one rate.
struct Figures {
    rate: u32,
    latency: Option<Quantiles>,
    /// Of each part of a checkpoint in [`PHASES`].
    phase_ms: Vec<f64>,
    /// The daemon's own figure: from the append of the event to the commit of its alert.
    own_mean_ms: f64,
    cores: Cores,
}

/// How many cores were busy meanwhile, by whom.
struct Cores {
    daemon: f64,
    broker: Option<f64>,
    /// The sample traffic and we.
    load: f64,
    all: f64,
}

fn measure(args: &Args, workshop: &Workshop, rate: u32) -> Result<Figures, Error> {
    let site = workshop.site(&format!("latency-{rate}"))?;
    wait_for_rest();
    let load = Load::start(workshop, &site, rate)?;
    let daemon = Daemon::start(run_command(&workshop.tidegate, &site), &site)?;
    daemon.next(&[RUNNING], START_DEADLINE)?;
    let probes = Probes::connect(workshop, &site)?;
    sleep(WARM_UP);
    daemon.wait_for_lag(f64::from(rate), CATCH_UP_DEADLINE)?;

    let pids = [Some(daemon.id()), args.place.kafka_pid, Some(load.id()), Some(std::process::id())];
    let busy = || pids.map(|pid| Some(snapshot(pid?)?.cpu));
    let phase =
        |phase: &&str| daemon.sums("tidegate_checkpoint_duration_seconds", &format!("phase=\"{phase}\""));
    let phases = || PHASES.iter().map(phase).collect::<Result<Vec<_>, _>>();
    let own = || daemon.sums("tidegate_alert_latency_seconds", "");
    let (phases_before, own_before) = (phases()?, own()?);
    let (began, before, all_before) = (Instant::now(), busy(), machine_busy());
    let latencies = probes.measure(args.alerts)?;
    let seconds = began.elapsed().as_secs_f64();
    let cores = |time: Duration| time.as_secs_f64() / seconds;
    let all = cores(machine_busy() - all_before);
    let after = busy();
    let share = |index: usize| Some(cores(after[index]? - before[index]?));
    let cores = Cores {
        daemon: share(0).ok_or("the daemon is gone")?,
        broker: share(1),
        load: share(2).ok_or("the load has ended")? + share(3).unwrap_or_default(),
        all,
    };
    let phase_ms =
        phases()?.into_iter().zip(phases_before).map(|(after, before)| after.mean_ms_since(before));
    let phase_ms = phase_ms.collect();
    let own_mean_ms = own()?.mean_ms_since(own_before);
    finish(workshop, &site, load, daemon)?;
    Ok(Figures { rate, latency: Quantiles::of(latencies.into_iter()), phase_ms, own_mean_ms, cores })
}

/// Figures count only if the output is right.
fn finish(workshop: &Workshop, site: &Site, load: Load, daemon: Daemon) -> Result<(), Error> {
    load.stop(site)?;
    daemon.stop(site)?;
    check(workshop, site)?;
    workshop.remove(site)
}

struct Report<'a> {
    args: &'a Args,
    machine: Machine,
    runs: Vec<Figures>,
}

impl Report<'_> {
    fn show(&self, table: fn(&[Vec<String>]) -> String) -> String {
        let titles = ["events/s"].into_iter().chain(Quantiles::TITLES);
        let cores = ["daemon, cores", "broker, cores", "load and probes, cores", "all, cores"];
        let mut times = vec![titles.chain(cores).map(str::to_owned).collect::<Vec<_>>()];
        let phases = ["events/s"].into_iter().chain(PHASES).chain(["append to commit"]);
        let mut parts = vec![phases.map(str::to_owned).collect::<Vec<_>>()];
        for run in &self.runs {
            let rate = grouped(f64::from(run.rate));
            let Cores { daemon, broker, load, all } = run.cores;
            let cores = [Some(daemon), broker, Some(load), Some(all)];
            let cores = cores.map(|cores| cores.map_or("-".to_owned(), |cores| format!("{cores:.2}")));
            times
                .push([rate.clone()].into_iter().chain(Quantiles::cells(run.latency)).chain(cores).collect());
            let means = run.phase_ms.iter().chain([&run.own_mean_ms]).map(|ms| format!("{ms:.1}"));
            parts.push([rate].into_iter().chain(means).collect());
        }
        format!(
            "Threshold {THRESHOLD}, crossed several times a second. {}\n\n{}\n\nWhere the time goes: the \
             daemon's own means, in ms, of its checkpoints meanwhile, and from the append of the event to the commit \
             of its alert.\n\n{}\n",
            self.machine.line(&self.args.place.kafka_name),
            table(&times),
            table(&parts)
        )
    }

    fn json(&self) -> Value {
        let run = |run: &Figures| {
            let phases: Value = PHASES.into_iter().map(str::to_owned).zip(run.phase_ms.clone()).collect();
            let Cores { daemon, broker, load, all } = run.cores;
            json!({
                "events_per_second": run.rate,
                "latency": run.latency.map(Quantiles::json),
                "checkpoint_mean_ms": phases,
                "append_to_commit_mean_ms": run.own_mean_ms,
                "cores": { "daemon": daemon, "broker": broker, "load": load, "all": all },
            })
        };
        json!({
            "machine": self.machine.json(),
            "kafka": self.args.place.kafka_name,
            "runs": self.runs.iter().map(run).collect::<Vec<_>>(),
        })
    }
}
