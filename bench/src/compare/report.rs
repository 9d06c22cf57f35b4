//! From runs to tables.

use serde_json::{Value, json};

use super::{
    Machine, Program, Run, Spread,
    figures::{Figure, MIB, aligned, grouped, markdown, range},
    flink::Flink,
    run::Idle,
};

/// All that was measured.
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) kafka: String,
    pub(super) events: u64,
    pub(super) runs: Vec<Run>,
    pub(super) idle: Option<Idle>,
    pub(super) flink: Option<Flink>,
}

impl Report {
    /// A program's figure over all rounds.
    pub(super) fn spread(&self, program: Program, figure: Figure) -> Option<Spread> {
        let runs = self.runs.iter().filter(|run| run.program == program);
        Spread::of(runs.filter_map(|run| figure.of(&run.figures, self.events)))
    }

    /// How one program's figure stands to another's in the same round.
    fn ratio(&self, of: Program, to: Program, figure: Figure) -> Option<Spread> {
        let value = |program, round| {
            let run = self.runs.iter().find(|run| run.program == program && run.round == round)?;
            figure.of(&run.figures, self.events)
        };
        let rounds = self.runs.iter().map(|run| run.round + 1).max()?;
        Spread::of((0..rounds).filter_map(|round| Some(value(of, round)? / value(to, round)?)))
    }

    /// Title, figure and both programs of each ratio.
    fn ratios(&self) -> impl Iterator<Item = (String, &'static str, Option<Spread>)> {
        let pairs = [(Program::Tidegate, Program::Ceiling), (Program::Ceiling, Program::Copy)];
        pairs.into_iter().flat_map(move |(of, to)| {
            [Figure::EventsPerSecond, Figure::CpuMicros]
                .map(|figure| (format!("{of} / {to}"), figure.title(), self.ratio(of, to, figure)))
        })
    }

    /// The table with its head; the cells are aligned by whoever shows it.
    fn rows(&self) -> Vec<Vec<String>> {
        let head = Figure::ALL.iter().map(|figure| figure.title().to_owned());
        let mut rows = vec![std::iter::once(String::new()).chain(head).collect::<Vec<_>>()];
        for program in Program::ALL {
            let cells =
                Figure::ALL.map(|figure| range(self.spread(program, figure), |value| figure.show(value)));
            rows.push(std::iter::once(program.to_string()).chain(cells).collect());
        }
        rows
    }

    fn ratio_rows(&self) -> Vec<Vec<String>> {
        let head = ["ratio", "of", "median (min-max)"].map(str::to_owned).to_vec();
        let show = |spread| range(spread, |value| format!("{value:.2}"));
        let rows = self.ratios().map(|(title, figure, spread)| vec![title, figure.to_owned(), show(spread)]);
        std::iter::once(head).chain(rows).collect()
    }

    fn idle_line(&self) -> Option<String> {
        let idle = self.idle?;
        Some(format!(
            "Idle, on an input that is read to its end, `tidegate run` has {:.0} MiB resident and uses {:.1} % of a core.",
            idle.rss_bytes as f64 / MIB,
            idle.cores * 100.0
        ))
    }

    fn setting_line(&self) -> String {
        let rounds = self.runs.iter().map(|run| run.round + 1).max().unwrap_or_default();
        format!(
            "{} events, {rounds} rounds; median (lowest-highest). {}",
            grouped(self.events as f64),
            self.machine.line(&self.kafka),
        )
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let parts =
            [Some(self.setting_line()), Some(aligned(&self.rows())), Some(aligned(&self.ratio_rows()))];
        let more = [self.idle_line(), self.flink(aligned)];
        parts.into_iter().chain(more).flatten().collect::<Vec<_>>().join("\n\n") + "\n"
    }

    /// Flink's part, if it was measured.
    pub(super) fn flink(&self, table: fn(&[Vec<String>]) -> String) -> Option<String> {
        Some(self.flink.as_ref()?.show(table, |figure| self.spread(Program::Tidegate, figure)))
    }

    /// For the documentation.
    pub(super) fn markdown(&self) -> String {
        let parts =
            [Some(self.setting_line()), Some(markdown(&self.rows())), Some(markdown(&self.ratio_rows()))];
        parts.into_iter().chain([self.idle_line()]).flatten().collect::<Vec<_>>().join("\n\n") + "\n"
    }

    /// For programs: every run, and what the tables show.
    pub(super) fn json(&self) -> Value {
        let members = |of: &dyn Fn(Figure) -> Value| -> Value {
            Figure::ALL.iter().map(|figure| (figure.name().to_owned(), of(*figure))).collect()
        };
        let run = |run: &Run| {
            let mut figures = members(&|figure| json!(figure.of(&run.figures, self.events)));
            figures["program"] = json!(run.program.name());
            figures["round"] = json!(run.round + 1);
            figures
        };
        let summary = |program: Program| {
            let of = |figure| json!(self.spread(program, figure).map(Spread::json));
            (program.name().to_owned(), members(&of))
        };
        let ratio = |(title, figure, spread): (String, &str, Option<Spread>)| json!({ "ratio": title, "of": figure, "value": spread.map(Spread::json) });
        json!({
            "events": self.events,
            "machine": self.machine.json(),
            "kafka": self.kafka,
            "runs": self.runs.iter().map(run).collect::<Vec<_>>(),
            "summary": Program::ALL.into_iter().map(summary).collect::<Value>(),
            "ratios": self.ratios().map(ratio).collect::<Vec<_>>(),
            "flink": self.flink.as_ref().map(Flink::json),
            "idle": self.idle.map(|idle| json!({ "cores": idle.cores, "rss_bytes": idle.rss_bytes })),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::{super::run::Figures, *};

    /// Two rounds in which one million events took so many seconds of wall and of CPU time.
    pub(in crate::compare) fn sample() -> Report {
        let run = |program, round, wall: f64, cpu: f64| Run {
            program,
            round,
            figures: Figures {
                wall: Duration::from_secs_f64(wall),
                first_output: Duration::from_millis(400),
                cpu: Duration::from_secs_f64(cpu),
                broker_cpu: None,
                peak_rss_bytes: 200 << 20,
                warm: None,
                other_cores: 0.1,
            },
        };
        Report {
            machine: Machine { cores: 2, cpu: "a CPU".into(), memory_bytes: 8 << 30 },
            kafka: "a broker".into(),
            events: 1_000_000,
            runs: vec![
                run(Program::Copy, 0, 2.0, 2.0),
                run(Program::Ceiling, 0, 2.5, 3.0),
                run(Program::Tidegate, 0, 5.0, 6.0),
                run(Program::Copy, 1, 2.0, 2.0),
                run(Program::Ceiling, 1, 4.0, 4.0),
                run(Program::Tidegate, 1, 5.0, 5.0),
            ],
            idle: Some(Idle { cores: 0.004, rss_bytes: 40 << 20 }),
            flink: None,
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let report = sample();
        let ratio = report.ratio(Program::Tidegate, Program::Ceiling, Figure::EventsPerSecond).unwrap();
        assert_eq!((ratio.min, ratio.max), (0.5, 0.8));
        let ratio = report.ratio(Program::Tidegate, Program::Ceiling, Figure::CpuMicros).unwrap();
        assert_eq!((ratio.min, ratio.max), (1.25, 2.0));
        assert!(report.ratio(Program::Tidegate, Program::Ceiling, Figure::BrokerMicros).is_none());
    }

    #[test]
    fn the_tables_show_median_and_ends_and_a_dash_for_what_was_not_seen() {
        let markdown = sample().markdown();
        let row = markdown.lines().find(|line| line.starts_with("| written by hand |")).unwrap();
        assert!(
            row.contains("| 325,000 (250,000-400,000) | 3.50 (3.00-4.00) | - | 200 (200-200) |"),
            "{row}"
        );
        assert!(markdown.contains("40 MiB resident and uses 0.4 % of a core"), "{markdown}");
        let text = sample().text();
        assert!(text.contains("written by hand  325,000"), "{text}");
        assert_eq!(grouped(1_234_567.4), "1,234,567");
    }

    #[test]
    fn programs_get_every_run_and_the_summary() {
        let json = sample().json();
        assert_eq!(json["runs"].as_array().unwrap().len(), 6);
        assert_eq!(json["runs"][2]["program"], "tidegate");
        assert_eq!(json["summary"]["copy"]["events_per_second"]["median"], 500_000.0);
        assert_eq!(json["summary"]["copy"]["broker_cpu_us_per_event"], Value::Null);
    }
}
