//! What it costs to commit more often: throughput over a backlog, by checkpoint interval.

use serde_json::{Value, json};

use super::{
    Machine, Place, Program, Spread,
    report::{Figure, aligned, grouped, line, markdown, range},
    run::{Run, measure},
    site::Workshop,
};
use crate::Error;

/// As the configuration writes them; the last one is compared with.
const INTERVALS: [&str; 5] = ["50ms", "100ms", "250ms", "1s", "5s"];
const EVENTS_FOR_DOCS: u64 = 2_000_000;
const ROUNDS_FOR_DOCS: usize = 3;
const COMMAND: &str = "cargo xtask bench checkpoint";

/// Arguments of `checkpoint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Events in the input
    #[arg(long, value_name = "N", default_value_t = EVENTS_FOR_DOCS)]
    events: u64,
    /// How often each interval is measured
    #[arg(long, value_name = "N", default_value_t = ROUNDS_FOR_DOCS)]
    rounds: usize,
}

/// Measures all intervals in turn, round after round.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let workshop = args.place.workshop()?;
    eprintln!("writing {} events", args.events);
    workshop.load(args.events)?;
    let mut series: Vec<Series> = INTERVALS.iter().map(|interval| Series::new(interval)).collect();
    measure_interval(args, &workshop, &mut Series::new("250ms"), usize::MAX)?;
    for round in 0..args.rounds {
        for turn in 0..series.len() {
            let index = (round + turn) % series.len();
            measure_interval(args, &workshop, &mut series[index], round)?;
        }
    }
    let report = Report { args, machine: Machine::here(), series };
    let enough = args.events >= EVENTS_FOR_DOCS && args.rounds >= ROUNDS_FOR_DOCS;
    args.place.publish(COMMAND, &report.show(aligned), &report.show(markdown), &report.json(), enough)
}

/// The runs with one interval.
struct Series {
    interval: &'static str,
    runs: Vec<Run>,
}

impl Series {
    fn new(interval: &'static str) -> Self {
        Self { interval, runs: Vec::new() }
    }
}

fn measure_interval(
    args: &Args,
    workshop: &Workshop,
    series: &mut Series,
    round: usize,
) -> Result<(), Error> {
    let site = workshop.site(&format!("checkpoint-{}-{}", series.interval, round.wrapping_add(1)))?;
    site.configure(&format!("\n[checkpoint]\ninterval = {:?}\n", series.interval))?;
    let figures = measure(&site, Program::Tidegate, workshop, args.place.kafka_pid)?;
    let run = Run { program: Program::Tidegate, round: round.wrapping_add(1), figures };
    eprintln!("{:>5} {}", series.interval, line(&run, args.events));
    series.runs.push(run);
    workshop.remove(&site)
}

struct Report<'a> {
    args: &'a Args,
    machine: Machine,
    series: Vec<Series>,
}

impl Report<'_> {
    fn spread(&self, series: &Series, figure: Figure) -> Option<Spread> {
        Spread::of(series.runs.iter().filter_map(|run| figure.of(&run.figures, self.args.events)))
    }

    /// Throughput beside that of the longest interval in the same round.
    fn ratio(&self, series: &Series) -> Option<Spread> {
        let rate = |run: &Run| Figure::EventsPerSecond.of(&run.figures, self.args.events);
        let longest = self.series.last()?;
        let pairs = series.runs.iter().zip(&longest.runs);
        Spread::of(pairs.filter_map(|(run, longest)| Some(rate(run)? / rate(longest)?)))
    }

    fn show(&self, table: fn(&[Vec<String>]) -> String) -> String {
        let head = ["interval", "events/s", "beside 5s", "CPU µs/event", "broker µs/event", "peak MiB"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for series in &self.series {
            let cell = |figure: Figure| range(self.spread(series, figure), |value| figure.show(value));
            rows.push(vec![
                series.interval.to_owned(),
                cell(Figure::EventsPerSecond),
                range(self.ratio(series), |value| format!("{value:.2}")),
                cell(Figure::CpuMicros),
                cell(Figure::BrokerMicros),
                cell(Figure::PeakMib),
            ]);
        }
        let Args { events, rounds, place } = self.args;
        let setting = format!(
            "{} events, {rounds} rounds; median (lowest-highest). {}",
            grouped(*events as f64),
            self.machine.line(&place.kafka_name)
        );
        format!("{setting}\n\n{}\n", table(&rows))
    }

    fn json(&self) -> Value {
        let series = |series: &Series| {
            json!({
                "interval": series.interval,
                "events_per_second": self.spread(series, Figure::EventsPerSecond).map(Spread::json),
                "beside_longest": self.ratio(series).map(Spread::json),
                "cpu_us_per_event": self.spread(series, Figure::CpuMicros).map(Spread::json),
                "broker_cpu_us_per_event": self.spread(series, Figure::BrokerMicros).map(Spread::json),
                "peak_rss_mib": self.spread(series, Figure::PeakMib).map(Spread::json),
            })
        };
        json!({
            "events": self.args.events,
            "rounds": self.args.rounds,
            "machine": self.machine.json(),
            "kafka": self.args.place.kafka_name,
            "intervals": self.series.iter().map(series).collect::<Vec<_>>(),
        })
    }
}
