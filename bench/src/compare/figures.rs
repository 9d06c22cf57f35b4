//! Figures as people read them.

use super::{
    Spread,
    run::{Figures, Run},
};

/// Bytes of a MiB.
pub(super) const MIB: f64 = (1 << 20) as f64;

/// A figure of a run that a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    EventsPerSecond,
    CpuMicros,
    BrokerMicros,
    PeakMib,
    FirstOutputSeconds,
    OtherCores,
}

impl Figure {
    pub(super) const ALL: [Self; 6] = [
        Self::EventsPerSecond,
        Self::CpuMicros,
        Self::BrokerMicros,
        Self::PeakMib,
        Self::FirstOutputSeconds,
        Self::OtherCores,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EventsPerSecond => "events_per_second",
            Self::CpuMicros => "cpu_us_per_event",
            Self::BrokerMicros => "broker_cpu_us_per_event",
            Self::PeakMib => "peak_rss_mib",
            Self::FirstOutputSeconds => "first_output_seconds",
            Self::OtherCores => "other_cores",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::EventsPerSecond => "events/s",
            Self::CpuMicros => "CPU µs/event",
            Self::BrokerMicros => "broker µs/event",
            Self::PeakMib => "peak MiB",
            Self::FirstOutputSeconds => "first output s",
            Self::OtherCores => "other load, cores",
        }
    }

    /// In the unit of the title; `None` if it could not be measured.
    pub(super) fn of(self, figures: &Figures, events: u64) -> Option<f64> {
        let events = events as f64;
        Some(match self {
            Self::EventsPerSecond => events / figures.wall.as_secs_f64(),
            Self::CpuMicros => figures.cpu.as_secs_f64() * 1e6 / events,
            Self::BrokerMicros => figures.broker_cpu?.as_secs_f64() * 1e6 / events,
            Self::PeakMib => figures.peak_rss_bytes as f64 / MIB,
            Self::FirstOutputSeconds => figures.first_output.as_secs_f64(),
            Self::OtherCores => figures.other_cores,
        })
    }

    /// With as many digits as are worth showing.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::EventsPerSecond => grouped(value),
            Self::PeakMib => format!("{value:.0}"),
            _ => format!("{value:.2}"),
        }
    }
}

/// One run in one line, said when it is over.
pub(super) fn line(run: &Run, events: u64) -> String {
    let figure = |figure: Figure| {
        let value = figure.of(&run.figures, events).map_or("-".to_owned(), |value| figure.show(value));
        format!("{value} {}", figure.title())
    };
    format!("round {}, {:<15} {}", run.round + 1, run.program, Figure::ALL.map(figure).join(", "))
}

/// Median and ends in one cell.
pub(super) fn range(spread: Option<Spread>, show: impl Fn(f64) -> String) -> String {
    spread.map_or("-".to_owned(), |Spread { median, min, max }| {
        format!("{} ({}-{})", show(median), show(min), show(max))
    })
}

/// A table for a terminal.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row: &Vec<String>| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A table for the documentation.
pub(super) fn markdown(rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| format!("| {} |", row.join(" | "));
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    let columns = rows.first().map_or(0, Vec::len);
    lines.insert(1.min(lines.len()), format!("|{}", "---|".repeat(columns)));
    lines.join("\n")
}

/// A whole number with its thousands set apart.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}
