//! What an event costs with more partitions, services, rules and bytes, and with longer windows.

mod axis;
mod load;
mod plot;
mod report;

use std::fs;

use super::{
    Machine, Place, Program,
    run::{Figures, measure},
    site::{Input, Workshop},
};
use crate::Error;
use axis::{Axis, Point, Traffic};
use report::Report;

const EVENTS_FOR_DOCS: u64 = 500_000;
const ROUNDS_FOR_DOCS: usize = 3;
const COMMAND: &str = "cargo xtask bench growth";
/// Events of the run that tells what the start costs.
const START_EVENTS: u64 = 1000;

/// Arguments of `growth`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Events of each input; of large events there are fewer.
    #[arg(long, value_name = "N", default_value_t = EVENTS_FOR_DOCS)]
    events: u64,
    /// How often each point is measured.
    #[arg(long, value_name = "N", default_value_t = ROUNDS_FOR_DOCS)]
    rounds: usize,
}

/// The runs of one point.
struct Series {
    point: Point,
    events: u64,
    input: Input,
    runs: Vec<Figures>,
}

/// Measures all points in turn, round after round.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let workshop = args.place.workshop()?;
    let mut start = series(Point { axis: Axis::Partitions, value: 12 }, START_EVENTS, "growth-start");
    load::write(&workshop, &start.input, Traffic::Sample, START_EVENTS)?;
    let mut points = Vec::new();
    for point in Point::all() {
        let events = point.events(args.events);
        let series = series(point, events, &point.topic());
        let is_new = points.iter().all(|known: &Series| known.input.topic != series.input.topic);
        if is_new {
            eprintln!("writing {events} events to {}", series.input.topic);
            load::write(&workshop, &series.input, point.traffic(), events)?;
        }
        points.push(series);
    }
    // The broker's JVM compiles its code while it first works.
    measure_point(args, &workshop, &mut points[0], "warm-up")?;
    points[0].runs.clear();
    for round in 0..args.rounds {
        measure_point(args, &workshop, &mut start, &format!("start-{round}"))?;
        for turn in 0..points.len() {
            let index = (round + turn) % points.len();
            measure_point(args, &workshop, &mut points[index], &format!("growth-{index}-{round}"))?;
        }
    }
    let enough = args.events >= EVENTS_FOR_DOCS && args.rounds >= ROUNDS_FOR_DOCS;
    let report = Report {
        machine: Machine::here().line(&args.place.kafka_name),
        events: args.events,
        rounds: args.rounds,
        start,
        points,
    };
    if let Some(docs) = args.place.docs.as_ref().filter(|_| enough) {
        fs::write(docs.join("growth.svg"), plot::svg(&report))?;
    }
    args.place.publish(COMMAND, &report.text(), &report.markdown(), &report.json(), enough)
}

fn series(point: Point, events: u64, topic: &str) -> Series {
    let input = Input { topic: topic.to_owned(), partitions: point.partitions() };
    Series { point, events, input, runs: Vec::new() }
}

fn measure_point(args: &Args, workshop: &Workshop, series: &mut Series, name: &str) -> Result<(), Error> {
    let site = workshop.site_with_input(name, &series.input)?;
    site.configure(&series.point.configuration())?;
    let figures = measure(&site, Program::Tidegate, workshop, args.place.kafka_pid)
        .map_err(|error| format!("{}: {error}; see {}", series.point, site.log.display()))?;
    let micros = figures.cpu.as_secs_f64() * 1e6 / series.events as f64;
    eprintln!("{name:<14} {:<22} {micros:>7.2} µs/event", series.point.to_string());
    series.runs.push(figures);
    workshop.remove(&site)
}
