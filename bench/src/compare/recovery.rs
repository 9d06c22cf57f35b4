//! From a failure to work again, under live load: actors that panic, and `kill -9` with a restart at once.

mod output;

use std::{path::PathBuf, thread::sleep, time::Duration};

use serde_json::{Value, json};

use self::output::Arrivals;
use super::{
    Machine, Place,
    daemon::{Daemon, OUTPUT_FLOWS, PANICKED, RECOVERED, RUNNING, run_command},
    figures::{aligned, grouped, markdown},
    run::wait_for_rest,
    site::{Site, Workshop},
    stats::Quantiles,
    traffic::{Load, check},
};
use crate::Error;

const TIMES_FOR_DOCS: usize = 50;
const COMMAND: &str = "cargo xtask bench recovery";
const WARM_UP: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(60);
/// Actors whose failure ends the generation, and how many of their messages lie between two panics: at the
/// default rate about a second's. A worker of the pools that fails is replaced alone.
const ACTORS: [(&str, u32); 5] =
    [("partition", 2000), ("window", 2000), ("committer", 1000), ("barrier", 12), ("store", 5)];
/// The thread that reads takes its connection along.
const READER: [(&str, u32); 1] = [("reader", 100)];

/// Arguments of `recovery`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// The product with its feature `failpoints`.
    #[arg(long, value_name = "FILE")]
    tidegate_failpoints: PathBuf,
    /// How often actors panic, and how often the process is killed.
    #[arg(long, value_name = "N", default_value_t = TIMES_FOR_DOCS)]
    times: usize,
    /// Events a second of the sample traffic.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    rate: u32,
}

/// Has everything fail again and again, and checks that nothing of it is seen in the output.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let workshop = args.place.workshop()?;
    let site = workshop.site("recovery")?;
    wait_for_rest();
    let load = Load::start(&workshop, &site, args.rate)?;
    let arrivals = Arrivals::watch(&workshop.kafka, &site.topic("processed"))?;
    let trial = Trial { args, workshop: &workshop, site: &site, arrivals: &arrivals };
    let mut rows = trial.panics("an actor panics", &ACTORS, args.times.div_ceil(ACTORS.len()))?;
    rows.extend(trial.panics("the reader's thread panics", &READER, args.times.div_ceil(ACTORS.len()))?);
    rows.extend(trial.kills()?);
    load.stop(&site)?;
    let events = check(&workshop, &site)?;
    let report = Report { args, machine: Machine::here(), rows, events };
    let enough = args.times >= TIMES_FOR_DOCS;
    args.place.publish(COMMAND, &report.show(aligned), &report.show(markdown), &report.json(), enough)
}

/// The times between two events, with the words for both.
struct Row {
    failure: &'static str,
    until: &'static str,
    times: Option<Quantiles>,
}

impl Row {
    fn new(failure: &'static str, until: &'static str, times: &[Duration]) -> Self {
        let times = Quantiles::of(times.iter().copied());
        eprintln!("{failure}, {until}: {times:?}");
        Self { failure, until, times }
    }
}

struct Trial<'a> {
    args: &'a Args,
    workshop: &'a Workshop,
    site: &'a Site,
    arrivals: &'a Arrivals,
}

impl Trial<'_> {
    /// Each of the actors panics so often, one kind after the other.
    fn panics(&self, failure: &'static str, actors: &[(&str, u32)], times: usize) -> Result<Vec<Row>, Error> {
        let (mut processing, mut visible) = (Vec::new(), Vec::new());
        for (actor, messages) in actors {
            let daemon = self.start_failing(actor, *messages, times)?;
            let before = processing.len();
            for _ in 0..times {
                let panicked = daemon.next(&[PANICKED], DEADLINE)?.at;
                let running = daemon.next(&[RUNNING], DEADLINE)?.at;
                processing.push(daemon.next(&[OUTPUT_FLOWS], DEADLINE)?.at - panicked);
                visible.push(self.arrivals.first_after(running, DEADLINE)? - panicked);
            }
            eprintln!("{actor}: {:?}", Quantiles::of(processing[before..].iter().copied()));
            daemon.stop(self.site)?;
        }
        Ok(vec![
            Row::new(failure, "processing again", &processing),
            Row::new(failure, "new output visible", &visible),
        ])
    }

    /// A daemon one of whose actors panics again and again.
    fn start_failing(&self, actor: &str, messages: u32, times: usize) -> Result<Daemon, Error> {
        let failures = format!("{messages}*off->1*panic->").repeat(times);
        let mut command = run_command(&self.args.tidegate_failpoints, self.site);
        command.env("FAILPOINTS", format!("{actor}={failures}off"));
        command.args(["--set", "supervision.max_restarts=1000"]);
        Daemon::start(command, self.site)
    }

    /// The process dies at random moments of its work.
    fn kills(&self) -> Result<Vec<Row>, Error> {
        let start = || Daemon::start(run_command(&self.workshop.tidegate, self.site), self.site);
        let mut daemon = start()?;
        daemon.next(&[RUNNING], DEADLINE)?;
        sleep(WARM_UP);
        let [mut recovered, mut running, mut visible] = [const { Vec::new() }; 3];
        for number in 0..self.args.times {
            // A golden-ratio sequence: spread over more than one checkpoint, the same in every run.
            sleep(Duration::from_millis(400).mul_f64(1.0 + (number as f64 * 0.618_033_988_75).fract()));
            let killed = daemon.kill()?;
            daemon = start()?;
            recovered.push(daemon.next(&[RECOVERED], DEADLINE)?.at - killed);
            let runs = daemon.next(&[RUNNING], DEADLINE)?.at;
            running.push(runs - killed);
            visible.push(self.arrivals.first_after(runs, DEADLINE)? - killed);
        }
        daemon.stop(self.site)?;
        let failure = "kill -9, restarted at once";
        Ok(vec![
            Row::new(failure, "committed state known", &recovered),
            Row::new(failure, "pipeline running", &running),
            Row::new(failure, "new output visible", &visible),
        ])
    }
}

struct Report<'a> {
    args: &'a Args,
    machine: Machine,
    rows: Vec<Row>,
    events: u64,
}

impl Report<'_> {
    fn show(&self, table: fn(&[Vec<String>]) -> String) -> String {
        let head = ["failure", "until"].into_iter().chain(Quantiles::TITLES);
        let mut rows = vec![head.map(str::to_owned).collect::<Vec<_>>()];
        for Row { failure, until, times } in &self.rows {
            let names = [*failure, *until].map(str::to_owned);
            rows.push(names.into_iter().chain(Quantiles::cells(*times)).collect());
        }
        format!(
            "{} events/s. After all of it {} events were forwarded, each once and in the order of its \
             partition. {}\n\n{}\n",
            grouped(f64::from(self.args.rate)),
            grouped(self.events as f64),
            self.machine.line(&self.args.place.kafka_name),
            table(&rows)
        )
    }

    fn json(&self) -> Value {
        let row = |row: &Row| json!({ "failure": row.failure, "until": row.until, "times": row.times.map(Quantiles::json) });
        json!({
            "events_per_second": self.args.rate,
            "forwarded": self.events,
            "machine": self.machine.json(),
            "kafka": self.args.place.kafka_name,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}
