//! Runs the programs in turn on one input, checks that their outputs are equal, and reports.

mod daemon;
mod digest;
mod figures;
mod flink;
mod flink_job;
mod growth;
mod latency;
mod machine;
mod page;
mod plot;
mod process;
mod program;
mod recovery;
mod report;
mod run;
mod site;
mod stats;
mod traffic;
mod variants;
mod visible;

use std::{path::PathBuf, time::Duration};

use serde_json::Value;

use self::{
    digest::Digest,
    machine::Machine,
    program::Program,
    report::Report,
    run::{Idle, Run, measure, measure_idle},
    site::{Site, Workshop},
};
pub(crate) use self::{
    growth::Args as GrowthArgs, latency::Args as LatencyArgs, recovery::Args as RecoveryArgs, stats::Spread,
};
use crate::{Error, print};

/// Fewer would be mostly start-up and noise; such runs are not for the documentation.
const EVENTS_FOR_DOCS: u64 = 3_000_000;
const ROUNDS_FOR_DOCS: usize = 3;
/// Runs before the first that counts, and the share of the best one's cost at which the broker is warm.
const WARM_UPS_AT_MOST: usize = 6;
const WARM: f64 = 0.9;

/// What all benchmarks with a broker need.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Address of a broker that has nothing else to do.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: String,
    /// What the broker is, for the report.
    #[arg(long, value_name = "TEXT", default_value = "Apache Kafka")]
    kafka_name: String,
    /// Its process, if it runs on this machine and can be seen.
    #[arg(long, value_name = "PID")]
    kafka_pid: Option<u32>,
    /// The product.
    #[arg(long, value_name = "FILE")]
    tidegate: PathBuf,
    /// For configurations, logs and state.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Where benchmarks.md is, to be written if enough was measured.
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
}

impl Place {
    fn workshop(&self) -> Result<Workshop, Error> {
        Workshop::open(&self.dir, &self.kafka, &self.tidegate)
    }

    /// Prints the figures, and writes them to their place in the documentation if they are `enough` for that.
    fn publish(
        &self,
        command: &str,
        text: &str,
        markdown: &str,
        json: &Value,
        enough: bool,
    ) -> Result<(), Error> {
        print(&if self.json { format!("{json:#}\n") } else { text.to_owned() })?;
        match &self.docs {
            Some(docs) if enough => page::write_section(docs, command, markdown),
            Some(_) => {
                eprintln!("not written to the documentation: that takes a run of the default size");
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Arguments of `compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Events in the input.
    #[arg(long, value_name = "N", default_value_t = EVENTS_FOR_DOCS)]
    events: u64,
    /// How often each program runs.
    #[arg(long, value_name = "N", default_value_t = ROUNDS_FOR_DOCS)]
    rounds: usize,
    #[command(flatten)]
    flink: flink::Args,
}

/// Measures how the cost of an event grows.
pub(crate) use self::growth::run as growth;
/// Measures from the crossing of a threshold to its alert.
pub(crate) use self::latency::run as latency;
/// Measures from a failure to work again.
pub(crate) use self::recovery::run as recovery;
/// Measures what costs a commit more or less often.
pub(crate) use self::variants::{Args as VariantsArgs, checkpoint, telemetry};

pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let workshop = args.place.workshop()?;
    eprintln!("writing {} events", args.events);
    workshop.load(args.events)?;
    let mut bench = Bench { args, workshop, expected: None, runs: Vec::new(), idle: None };
    bench.warm_up()?;
    for round in 0..args.rounds {
        // Another one begins each round, so that none always has the same neighbour before it.
        for turn in 0..Program::ALL.len() {
            bench.run(Program::ALL[(round + turn) % Program::ALL.len()], round)?;
        }
    }
    let expected = bench.expected.as_ref().ok_or("nothing to compare with: no rounds")?;
    let place = &args.place;
    let flink = flink::run(&args.flink, &bench.workshop, args.events, place.kafka_pid, expected)?;
    let report = Report {
        machine: Machine::here(),
        kafka: args.place.kafka_name.clone(),
        events: args.events,
        runs: bench.runs,
        idle: bench.idle,
        flink,
    };
    print(&if args.place.json { format!("{:#}\n", report.json()) } else { report.text() })?;
    match &args.place.docs {
        Some(docs) if args.events >= EVENTS_FOR_DOCS && args.rounds >= ROUNDS_FOR_DOCS => {
            page::write(docs, &report)
        }
        Some(_) => {
            eprintln!(
                "not written to the documentation: that takes {EVENTS_FOR_DOCS} events and {ROUNDS_FOR_DOCS} rounds"
            );
            Ok(())
        }
        None => Ok(()),
    }
}

struct Bench<'a> {
    args: &'a Args,
    workshop: Workshop,
    /// What the first program that does the whole work wrote; the others have to write the same.
    expected: Option<Digest>,
    runs: Vec<Run>,
    idle: Option<Idle>,
}

impl Bench<'_> {
    /// The broker's JVM compiles its code while it first works: that is no program's fault. So the copy runs until
    /// the broker does no better than the time before.
    fn warm_up(&self) -> Result<(), Error> {
        let mut best = Duration::MAX;
        for run in 0..WARM_UPS_AT_MOST {
            let site = self.workshop.site(&format!("warm-up-{run}"))?;
            let figures = measure(&site, Program::Copy, &self.workshop, self.args.place.kafka_pid)?;
            self.workshop.remove(&site)?;
            let cost = figures.broker_cpu.unwrap_or(figures.wall);
            if cost > best.mul_f64(WARM) {
                break;
            }
            best = cost;
        }
        Ok(())
    }

    fn run(&mut self, program: Program, round: usize) -> Result<(), Error> {
        let site = self.workshop.site(&format!("{}-{round}", program.name()))?;
        let figures =
            measure(&site, program, &self.workshop, self.args.place.kafka_pid).map_err(|error| {
                format!("{program}, round {}: {error}; see {}", round + 1, site.log.display())
            })?;
        self.check(program, &site)?;
        if program == Program::Tidegate && round + 1 == self.args.rounds {
            self.idle = Some(measure_idle(&site, &self.workshop)?);
        }
        let run = Run { program, round, figures };
        eprintln!("{}", figures::line(&run, self.args.events));
        self.runs.push(run);
        self.workshop.remove(&site)
    }

    /// A figure counts only if the output is right.
    fn check(&mut self, program: Program, site: &Site) -> Result<(), Error> {
        let found = Digest::of(&self.args.place.kafka, site)?;
        if program == Program::Copy {
            let copied = found.records();
            return if copied == self.args.events {
                Ok(())
            } else {
                Err(format!("{program} wrote {copied} records of {}", self.args.events).into())
            };
        }
        let expected = self.expected.get_or_insert_with(|| found.clone());
        expected.check(&found).map_err(|error| format!("{program} wrote something else: {error}").into())
    }
}
