//! The same job on Apache Flink, measured on the same input.

use std::{fs, path::PathBuf, thread::sleep, time::Duration};

use serde_json::{Value, json};
use tidegate_core::bots::{self, Category, Pattern};

use super::{
    Digest, Program, Spread,
    figures::{Figure, grouped, line, range},
    flink_job::{BOTS, Form, JARS, commands},
    run::{Idle, Run, ids, measure, start_all, watch_idle},
    site::{Input, Workshop},
};
use crate::Error;

/// The tutorial's form takes so much longer that it gets the first tenth of the stream.
const TUTORIAL_SHARE: u64 = 10;
const TUTORIAL_TOPIC: &str = "raw-events-tenth";
/// From the start of the processes until the job has joined the input's partitions and compiled what it needs.
const SETTLE: Duration = Duration::from_secs(20);

/// Arguments of `compare` for it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure Apache Flink too; there are its jars in `lib` and the job in `classes`.
    #[arg(long, value_name = "DIR")]
    flink: Option<PathBuf>,
    /// How often it runs in each form.
    #[arg(long, value_name = "N", default_value_t = 1)]
    flink_rounds: usize,
}

/// What was measured.
pub(super) struct Flink {
    events: u64,
    runs: Vec<Run>,
    idle: Idle,
}

/// Runs both forms, if asked to. `expected` is what they have to write.
pub(super) fn run(
    args: &Args,
    workshop: &Workshop,
    events: u64,
    broker: Option<u32>,
    expected: &Digest,
) -> Result<Option<Flink>, Error> {
    let Some(jars) = &args.flink else { return Ok(None) };
    std::os::unix::fs::symlink(jars.canonicalize()?, workshop.dir.join(JARS))?;
    let patterns: Vec<String> = bots::embedded()
        .into_iter()
        .filter(|pattern| pattern.category() != Category::HttpLibrary)
        .map(
            |Pattern { regex, category }| {
                if category == Some(Category::Exception) { format!("!{regex}") } else { regex }
            },
        )
        .collect();
    fs::write(workshop.dir.join(BOTS), patterns.join("\n"))?;

    let tenth = Input { topic: TUTORIAL_TOPIC.to_owned(), ..Input::default() };
    workshop.load_into(&tenth, events / TUTORIAL_SHARE)?;
    let site = workshop.site_with_input("ceiling-tenth", &tenth)?;
    measure(&site, Program::Ceiling, workshop, broker)?;
    let expected_of_tenth = Digest::of(&workshop.kafka, &site)?;
    workshop.remove(&site)?;

    let mut runs = Vec::new();
    let mut idle = None;
    for round in 0..args.flink_rounds {
        for (form, input, events, expected) in [
            (Form::Best, &Input::default(), events, expected),
            (Form::Tutorial, &tenth, events / TUTORIAL_SHARE, &expected_of_tenth),
        ] {
            let program = Program::Flink(form);
            let site = workshop.site_with_input(&format!("{}-{round}", program.name()), input)?;
            let figures = measure(&site, program, workshop, broker)
                .map_err(|error| format!("{program}: {error}; see {}", site.log.display()))?;
            let found = Digest::of(&workshop.kafka, &site)?;
            expected
                .check_closed(&found)
                .map_err(|error| format!("{program} wrote something else: {error}"))?;
            let run = Run { program, round, figures };
            eprintln!("{}", line(&run, events));
            runs.push(run);
            if form == Form::Best && round + 1 == args.flink_rounds {
                let processes = start_all(commands(form, &site, workshop, false)?, &site)?;
                sleep(SETTLE);
                idle = Some(watch_idle(&ids(&processes))?);
            }
            workshop.remove(&site)?;
        }
    }
    Ok(idle.map(|idle| Flink { events, runs, idle }))
}

impl Flink {
    /// How many a form got.
    fn events(&self, form: Form) -> u64 {
        if form == Form::Best { self.events } else { self.events / TUTORIAL_SHARE }
    }

    fn spread(&self, form: Form, of: impl Fn(&Run, u64) -> Option<f64>) -> Option<Spread> {
        let runs = self.runs.iter().filter(|run| run.program == Program::Flink(form));
        Spread::of(runs.filter_map(|run| of(run, self.events(form))))
    }

    fn whole(&self, form: Form, figure: Figure) -> Option<Spread> {
        self.spread(form, |run, events| figure.of(&run.figures, events))
    }

    fn warm(&self, figure: Figure) -> Option<Spread> {
        self.spread(Form::Best, |run, events| {
            let warm = run.figures.warm?;
            let events = events as f64 * warm.share;
            Some(match figure {
                Figure::EventsPerSecond => events / warm.wall.as_secs_f64(),
                Figure::CpuMicros => warm.cpu.as_secs_f64() * 1e6 / events,
                _ => return None,
            })
        })
    }

    /// CPU microseconds per event, by name.
    fn costs(&self) -> [(&'static str, Option<Spread>); 3] {
        [
            ("Flink at its best, warm part", self.warm(Figure::CpuMicros)),
            ("Flink at its best, with its start", self.whole(Form::Best, Figure::CpuMicros)),
            ("Flink as a tutorial writes it", self.whole(Form::Tutorial, Figure::CpuMicros)),
        ]
    }

    /// The tables, beside what Tidegate needed in the same session: its figures by [`Figure`].
    pub(super) fn show(
        &self,
        table: fn(&[Vec<String>]) -> String,
        tidegate: impl Fn(Figure) -> Option<Spread>,
    ) -> String {
        const FIGURES: [Figure; 5] = [
            Figure::EventsPerSecond,
            Figure::CpuMicros,
            Figure::BrokerMicros,
            Figure::PeakMib,
            Figure::FirstOutputSeconds,
        ];
        let row = |name: &str, events: String, of: &dyn Fn(Figure) -> Option<Spread>| {
            let cells = FIGURES.map(|figure| range(of(figure), |value| figure.show(value)));
            [name.to_owned(), events].into_iter().chain(cells).collect::<Vec<_>>()
        };
        let head = ["", "events"].into_iter().chain(FIGURES.map(Figure::title)).map(str::to_owned);
        let events = |form| grouped(self.events(form) as f64);
        let rows = [
            head.collect(),
            row("Tidegate", events(Form::Best), &tidegate),
            row("Flink at its best", events(Form::Best), &|figure| self.whole(Form::Best, figure)),
            row("of this, the warm part", String::new(), &|figure| self.warm(figure)),
            row("Flink as a tutorial writes it", events(Form::Tutorial), &|figure| {
                self.whole(Form::Tutorial, figure)
            }),
        ];
        let mut ratios =
            vec![["Tidegate's events per CPU second beside", "times"].map(str::to_owned).to_vec()];
        for (name, cost) in self.costs() {
            let times = cost.zip(tidegate(Figure::CpuMicros)).map(|(flink, ours)| flink.median / ours.median);
            ratios.push(vec![name.to_owned(), times.map_or("-".to_owned(), |times| format!("{times:.1}"))]);
        }
        let idle = format!(
            "Idle, Flink has {} MiB resident and uses {:.0} % of a core.",
            self.idle.rss_bytes >> 20,
            self.idle.cores * 100.0
        );
        format!("{}\n\n{}\n\n{idle}\n", table(&rows), table(&ratios))
    }

    pub(super) fn json(&self) -> Value {
        let form = |form| {
            let of = |figure| json!(self.whole(form, figure).map(Spread::json));
            json!({
                "events": self.events(form),
                "events_per_second": of(Figure::EventsPerSecond),
                "cpu_us_per_event": of(Figure::CpuMicros),
                "broker_cpu_us_per_event": of(Figure::BrokerMicros),
                "peak_rss_mib": of(Figure::PeakMib),
                "first_output_seconds": of(Figure::FirstOutputSeconds),
            })
        };
        json!({
            "best": form(Form::Best),
            "best_warm": {
                "events_per_second": self.warm(Figure::EventsPerSecond).map(Spread::json),
                "cpu_us_per_event": self.warm(Figure::CpuMicros).map(Spread::json),
            },
            "tutorial": form(Form::Tutorial),
            "idle": { "cores": self.idle.cores, "rss_bytes": self.idle.rss_bytes },
        })
    }
}
