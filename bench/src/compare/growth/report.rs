//! The curves as tables.

use serde_json::{Value, json};

use super::{
    Series,
    axis::{Axis, Point},
};
use crate::compare::{
    Spread,
    figures::{Figure, aligned, grouped, markdown, range},
};

pub(super) struct Report {
    /// What it was measured on.
    pub(super) machine: String,
    pub(super) events: u64,
    pub(super) rounds: usize,
    /// Runs on next to nothing.
    pub(super) start: Series,
    pub(super) points: Vec<Series>,
}

impl Report {
    pub(super) fn axis(&self, axis: Axis) -> impl Iterator<Item = &Series> {
        self.points.iter().filter(move |series| series.point.axis == axis)
    }

    /// CPU time of the process for an event, in microseconds, without what it takes to start; by `bytes` also
    /// divided by the event's size, as nanoseconds.
    pub(super) fn cost(&self, series: &Series) -> Option<Spread> {
        let start = Spread::of(self.start.runs.iter().map(|run| run.cpu.as_secs_f64()))?.median;
        let Point { axis, value } = series.point;
        let unit = if axis == Axis::Bytes { 1e9 / value as f64 } else { 1e6 };
        let cost = |seconds: f64| (seconds - start).max(0.0) * unit / series.events as f64;
        Spread::of(series.runs.iter().map(|run| cost(run.cpu.as_secs_f64())))
    }

    /// The median beside that of the axis' reference.
    pub(super) fn ratio(&self, series: &Series) -> Option<f64> {
        let first = self.axis(series.point.axis).next()?;
        Some(self.cost(series)?.median / self.cost(first)?.median)
    }

    pub(super) fn text(&self) -> String {
        self.show(aligned)
    }

    pub(super) fn markdown(&self) -> String {
        // The picture is there once this has been written.
        self.show(markdown) + "\n![Curves of the cost as things grow](growth.svg)\n"
    }

    fn show(&self, table: fn(&[Vec<String>]) -> String) -> String {
        let head = ["", "", "CPU µs/event", "beside the first", "broker µs/event", "events/s"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for series in &self.points {
            let Point { axis, value } = series.point;
            let figure = |figure: Figure| {
                let found = series.runs.iter().filter_map(|run| figure.of(run, series.events));
                range(Spread::of(found), |value| figure.show(value))
            };
            let unit = if axis == Axis::Bytes { " ns/byte" } else { "" };
            rows.push(vec![
                axis.name().to_owned(),
                grouped(value as f64),
                format!("{}{unit}", range(self.cost(series), |cost| format!("{cost:.2}"))),
                self.ratio(series).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
                figure(Figure::BrokerMicros),
                figure(Figure::EventsPerSecond),
            ]);
        }
        let start = Spread::of(self.start.runs.iter().map(|run| run.cpu.as_secs_f64() * 1e3));
        format!(
            "{} events (fewer where they would be more than 1 GiB), {} rounds; median (lowest-highest). {} \
             Not in the CPU time: {} ms of the start.\n\n{}\n",
            grouped(self.events as f64),
            self.rounds,
            self.machine,
            range(start, |ms| format!("{ms:.0}")),
            table(&rows)
        )
    }

    pub(super) fn json(&self) -> Value {
        let point = |series: &Series| {
            let seconds = |run: &super::Figures| run.wall.as_secs_f64();
            json!({
                "axis": series.point.axis.name(),
                "value": series.point.value,
                "events": series.events,
                "cost": self.cost(series).map(Spread::json),
                "beside_first": self.ratio(series),
                "cpu_s": series.runs.iter().map(|run| run.cpu.as_secs_f64()).collect::<Vec<_>>(),
                "wall_s": series.runs.iter().map(seconds).collect::<Vec<_>>(),
            })
        };
        json!({
            "machine": self.machine,
            "start": point(&self.start),
            "points": self.points.iter().map(point).collect::<Vec<_>>(),
        })
    }
}
