//! What a setting costs: throughput over a backlog with different values of it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Machine, Place, Program, Spread,
    figures::{Figure, aligned, grouped, line, markdown, range},
    run::{Run, get, measure},
    site::Workshop,
};
use crate::Error;

/// As the configuration writes them; the last one is compared with.
const INTERVALS: [&str; 5] = ["50ms", "100ms", "250ms", "1s", "5s"];
/// The broker's JVM compiles for so long; what is measured meanwhile says more about it than about us.
const WARM_UP_RUNS: usize = 5;
const SCRAPE_EVERY: Duration = Duration::from_secs(1);
const EVENTS_FOR_DOCS: u64 = 2_000_000;
const ROUNDS_FOR_DOCS: usize = 3;

/// Arguments of `checkpoint` and `telemetry`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Events in the input.
    #[arg(long, value_name = "N", default_value_t = EVENTS_FOR_DOCS)]
    events: u64,
    /// How often each value is measured.
    #[arg(long, value_name = "N", default_value_t = ROUNDS_FOR_DOCS)]
    rounds: usize,
}

/// What it costs to commit more often.
pub(crate) fn checkpoint(args: &Args) -> Result<(), Error> {
    let variant = |interval: &str| Variant {
        name: interval.to_owned(),
        toml: format!("\n[checkpoint]\ninterval = {interval:?}\n"),
        is_scraped: false,
    };
    compare(args, "cargo xtask bench checkpoint", "interval", INTERVALS.map(variant).into())
}

/// What it costs to be watched.
pub(crate) fn telemetry(args: &Args) -> Result<(), Error> {
    let collector = collector()?;
    let exported = |name: &str, ratio: &str| Variant {
        name: name.to_owned(),
        toml: format!("\n[telemetry]\notlp_endpoint = \"http://{collector}\"\ntrace_ratio = {ratio}\n"),
        is_scraped: true,
    };
    let plain = |name: &str, is_scraped| Variant { name: name.to_owned(), toml: String::new(), is_scraped };
    let variants = vec![
        plain("metrics scraped", true),
        exported("and all exported, 1 % of traces", "0.01"),
        exported("and all exported, all traces", "1.0"),
        plain("nobody watches", false),
    ];
    compare(args, "cargo xtask bench telemetry", "telemetry", variants)
}

/// Measures all variants in turn, round after round.
fn compare(args: &Args, command: &str, what: &'static str, variants: Vec<Variant>) -> Result<(), Error> {
    let workshop = args.place.workshop()?;
    eprintln!("writing {} events", args.events);
    workshop.load(args.events)?;
    let mut series: Vec<_> =
        variants.into_iter().map(|variant| Series { variant, runs: Vec::new() }).collect();
    if let Some(last) = series.last() {
        for warm_up in 0..WARM_UP_RUNS {
            run(args, &workshop, &last.variant, what, args.rounds + warm_up)?;
        }
    }
    for round in 0..args.rounds {
        for turn in 0..series.len() {
            let index = (round + turn) % series.len();
            let measured = run(args, &workshop, &series[index].variant, what, round)?;
            series[index].runs.push(measured);
        }
    }
    let report = Report { args, machine: Machine::here(), what, series };
    let enough = args.events >= EVENTS_FOR_DOCS && args.rounds >= ROUNDS_FOR_DOCS;
    args.place.publish(command, &report.show(aligned), &report.show(markdown), &report.json(), enough)
}

/// One value of what is compared.
struct Variant {
    name: String,
    /// What it adds to the configuration.
    toml: String,
    /// Somebody asks for the metrics meanwhile.
    is_scraped: bool,
}

/// The runs with one variant.
struct Series {
    variant: Variant,
    runs: Vec<Run>,
}

fn run(args: &Args, workshop: &Workshop, variant: &Variant, what: &str, round: usize) -> Result<Run, Error> {
    let name: String = variant.name.chars().filter(char::is_ascii_alphanumeric).collect();
    let site = workshop.site(&format!("{what}-{name}-{}", round + 1))?;
    site.configure(&variant.toml)?;
    let is_over = AtomicBool::new(!variant.is_scraped);
    let figures = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // Before its start and after its end nobody answers.
                let _ = get(&site.http, "/metrics");
                thread::sleep(SCRAPE_EVERY);
            }
        });
        let figures = measure(&site, Program::Tidegate, workshop, args.place.kafka_pid);
        is_over.store(true, Ordering::Relaxed);
        figures
    })?;
    let run = Run { program: Program::Tidegate, round: round + 1, figures };
    eprintln!("{:>31} {}", variant.name, line(&run, args.events));
    workshop.remove(&site)?;
    Ok(run)
}

/// A collector that takes everything by HTTP and keeps nothing. It speaks on the port that means HTTP.
fn collector() -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind("127.0.0.1:4318")
        .map_err(|error| format!("the port of a collector, 4318, is taken: {error}"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                while take_request(&mut reader, &stream).is_some() {}
            });
        }
    });
    Ok(address)
}

/// Takes one request of a connection; `None` at its end.
fn take_request(reader: &mut BufReader<&TcpStream>, mut stream: &TcpStream) -> Option<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

struct Report<'a> {
    args: &'a Args,
    machine: Machine,
    what: &'static str,
    series: Vec<Series>,
}

impl Report<'_> {
    fn spread(&self, series: &Series, figure: Figure) -> Option<Spread> {
        Spread::of(series.runs.iter().filter_map(|run| figure.of(&run.figures, self.args.events)))
    }

    /// Throughput beside that of the last variant in the same round.
    fn ratio(&self, series: &Series) -> Option<Spread> {
        let rate = |run: &Run| Figure::EventsPerSecond.of(&run.figures, self.args.events);
        let last = self.series.last()?;
        let pairs = series.runs.iter().zip(&last.runs);
        Spread::of(pairs.filter_map(|(run, last)| Some(rate(run)? / rate(last)?)))
    }

    fn show(&self, table: fn(&[Vec<String>]) -> String) -> String {
        let last = self.series.last().map_or("", |series| &series.variant.name);
        let beside = format!("beside {last}");
        let head = [self.what, "events/s", &beside, "CPU µs/event", "broker µs/event", "peak MiB"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for series in &self.series {
            let cell = |figure: Figure| range(self.spread(series, figure), |value| figure.show(value));
            rows.push(vec![
                series.variant.name.clone(),
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
                "name": series.variant.name,
                "events_per_second": self.spread(series, Figure::EventsPerSecond).map(Spread::json),
                "beside_last": self.ratio(series).map(Spread::json),
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
            "variants": self.series.iter().map(series).collect::<Vec<_>>(),
        })
    }
}
