//! What is shown, and where on the screen.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Paragraph, Row, Table},
};
use serde_json::Value;

use super::format::{bytes, count, number, percent, rate, seconds, text, time_of_day};

/// Columns of the bar of a share.
const BAR: usize = 10;
/// Rows of the smallest screen that has room for everything.
const LEAST_HEIGHT: u16 = 24;
/// Sinks that have room there.
const SINKS: usize = 3;
/// With fewer columns there is less to tell of each sink.
const NARROW: u16 = 60;

/// Whether the daemon answers.
pub(super) enum Contact {
    /// It did just now.
    Now,
    /// It does not; what is shown is old.
    Lost { since: Duration, error: String },
}

/// What was seen of a daemon.
pub(super) struct View<'a> {
    seen: &'a Value,
    url: &'a str,
    contact: Contact,
}

impl<'a> View<'a> {
    /// `seen` is what the API answered, by the names of its paths.
    pub(super) fn of(seen: &'a Value, url: &'a str, contact: Contact) -> Self {
        Self { seen, url, contact }
    }

    /// Draws it; what does not fit is left out from below.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let [head, _, stages, _, middle, _, sinks, alerts] = self.rows(frame.area());
        let columns = [Constraint::Percentage(42), Constraint::Length(2), Constraint::Fill(1)];
        let [partitions, _, windows] = Layout::horizontal(columns).areas(middle);
        frame.render_widget(Paragraph::new(self.head()), head);
        frame.render_widget(self.stages(), stages);
        frame.render_widget(self.partitions(partitions), partitions);
        frame.render_widget(self.windows(windows), windows);
        frame.render_widget(self.sinks(sinks), sinks);
        frame.render_widget(self.alerts(alerts), alerts);
    }

    /// Where what stands one below the other has its place. Sinks take room only if there are any.
    fn rows(&self, screen: Rect) -> [Rect; 8] {
        let taller = screen.height.saturating_sub(LEAST_HEIGHT);
        let (middle, sinks, alerts) = match self.list("/status/sinks").len() {
            0 => (6, 0, Constraint::Length(6)),
            // A title and a line between.
            count => (4, 2 + count.min(SINKS + usize::from(taller)) as u16, Constraint::Fill(1)),
        };
        let [head, space, stages] = [3, 1, 6].map(Constraint::Length);
        let [middle, sinks] = [middle, sinks].map(Constraint::Length);
        Layout::vertical([head, space, stages, space, middle, space, sinks, alerts]).areas(screen)
    }

    fn number(&self, path: &str) -> Option<f64> {
        number(self.seen, path)
    }

    fn list(&self, path: &str) -> &'a [Value] {
        self.seen.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn head(&self) -> Vec<Line<'static>> {
        let of = |path: &str| self.number(&format!("/status/{path}"));
        let rates = format!(
            "in {}  out {}  bots {}  dead letters {}  alerts {}  late {}  restarts {}",
            rate(of("rates/source")),
            rate(of("rates/processed")),
            rate(of("rates/bots")),
            count(of("totals/dead_letters")),
            count(of("totals/alerts")),
            count(of("totals/late")),
            count(of("totals/restarts")),
        );
        let progress = format!(
            "lag {}  watermark lag {}  checkpoint {}/{}  {}  {:.2} cores",
            count(of("lag")),
            seconds(of("watermark_lag_s")),
            self.mean_checkpoint(),
            seconds(of("checkpoint/interval_s")),
            bytes(of("resources/resident_bytes")),
            of("resources/cpu_cores").unwrap_or_default(),
        );
        vec![self.title(), Line::from(rates), Line::from(progress)]
    }

    fn title(&self) -> Line<'static> {
        let status = |path: &str| text(self.seen, &format!("/status/{path}"));
        let is_ready = self.seen.pointer("/status/ready") == Some(&Value::Bool(true));
        let (state, color) = match &self.contact {
            Contact::Lost { since, error } => {
                let since = seconds(Some(since.as_secs_f64()));
                return Line::from(format!("no contact for {since}: {error}").bold().fg(Color::Red));
            }
            Contact::Now if is_ready => ("running".to_owned(), Color::Green),
            Contact::Now => {
                let phase = match status("phase").as_str() {
                    "running" => "the broker does not answer".to_owned(),
                    phase => phase.to_owned(),
                };
                (format!("{phase} {}", status("reason")).trim().to_owned(), Color::Yellow)
            }
        };
        let about = format!(
            "  {} ({})  up {}  epoch {}",
            self.url.trim_start_matches("http://"),
            status("log"),
            seconds(self.number("/status/uptime_s")),
            self.seen.pointer("/status/epoch").and_then(Value::as_u64).unwrap_or_default(),
        );
        Line::from(vec![
            Span::from(format!("tidegate {} ", status("version"))).bold(),
            Span::from(state).bold().fg(color),
            Span::from(about).dim(),
        ])
    }

    /// Of the last few seconds.
    fn mean_checkpoint(&self) -> String {
        let last = self.list("/checkpoints/checkpoints").iter().rev().take(20);
        let took: Vec<_> = last.filter_map(|checkpoint| number(checkpoint, "/total_ms")).collect();
        let mean = took.iter().sum::<f64>() / took.len() as f64;
        seconds(Some(mean / 1e3).filter(|mean| mean.is_finite()))
    }

    fn stages(&self) -> Table<'static> {
        let row = |stage: &Value| {
            let (busy, waiting) = (number(stage, "/busy"), number(stage, "/backpressure"));
            Row::new([
                text(stage, "/stage"),
                count(number(stage, "/workers")),
                rate(number(stage, "/rate")),
                format!("{} {}", bar(busy), percent(busy)),
                format!("{} {}", bar(waiting), percent(waiting)),
                count(number(stage, "/queue")),
            ])
        };
        let widths = [10, 8, 10, 18, 18, 8].map(Constraint::Length);
        let titles = Row::new(["STAGE", "WORKERS", "EVENTS", "BUSY", "BACK-PRESSURE", "QUEUE"]);
        Table::new(self.list("/topology/stages").iter().map(row), widths).header(titles.style(title()))
    }

    /// The partitions with the largest lags.
    fn partitions(&self, area: Rect) -> Table<'static> {
        let mut all: Vec<_> = self.list("/topology/partitions").iter().collect();
        all.sort_by(|a, b| number(b, "/lag").unwrap_or(-1.0).total_cmp(&number(a, "/lag").unwrap_or(-1.0)));
        let row = |partition: &&Value| {
            let idle = partition.pointer("/idle") == Some(&Value::Bool(true));
            Row::new([
                format!("{:>4}", count(number(partition, "/partition"))),
                count(number(partition, "/lag")),
                rate(number(partition, "/rate")),
                if idle { "idle".to_owned() } else { String::new() },
            ])
        };
        let titles = Row::new(["PARTITION", "LAG", "EVENTS", ""]).style(title());
        let widths = [10, 8, 9, 4].map(Constraint::Length);
        Table::new(all.iter().take(below_title(area)).map(row), widths).header(titles)
    }

    fn windows(&self, area: Rect) -> Table<'static> {
        let row = |window: &Value| {
            let (counted, threshold) = (number(window, "/count"), number(window, "/threshold"));
            let crossed = window.pointer("/crossed") == Some(&Value::Bool(true));
            let row = Row::new([
                text(window, "/service"),
                format!("{} of {}{}", count(counted), count(threshold), if crossed { " !" } else { "" }),
            ]);
            if crossed { row.style(Style::new().fg(Color::Red)) } else { row }
        };
        let open = format!("{} WINDOWS OPEN", count(self.number("/windows/open")));
        let widths = [Constraint::Fill(1), Constraint::Length(17)];
        let rows = self.list("/windows/windows").iter().take(below_title(area)).map(row);
        Table::new(rows, widths).header(Row::new([open, "COUNT".into()]).style(title()))
    }

    /// Sinks, first those that do not run.
    fn sinks(&self, area: Rect) -> Table<'static> {
        let mut all: Vec<_> = self.list("/status/sinks").iter().collect();
        all.sort_by_key(|sink| text(sink, "/state") == "running");
        let is_wide = area.width >= NARROW;
        let row = |sink: &&Value| {
            let (state, error) = (text(sink, "/state"), text(sink, "/last_error"));
            let style = match state.as_str() {
                "degraded" => Style::new().fg(Color::Yellow),
                "stopped" => Style::new().fg(Color::Red),
                _ => Style::new(),
            };
            let lag = count(number(sink, "/lag"));
            let (rate, rejected) = (rate(number(sink, "/rate")), count(number(sink, "/rejected")));
            let cells = [text(sink, "/name"), state, lag, rate, rejected, error];
            Row::new(columns(cells, is_wide)).style(style)
        };
        let [name, state, lag, rate, rejected] = [16, 8, 6, 8, 8].map(Constraint::Max);
        let widths = columns([name, state, lag, rate, rejected, Constraint::Fill(1)], is_wide);
        let titles = columns(["SINK", "STATE", "LAG", "RECORDS", "REJECTED", "LAST ERROR"], is_wide);
        let rows = all.iter().take(below_title(area).saturating_sub(1)).map(row);
        Table::new(rows, widths).header(Row::new(titles).style(title()))
    }

    /// The last alerts, the newest first.
    fn alerts(&self, area: Rect) -> Table<'static> {
        let row = |entry: &Value| {
            let latency = number(entry, "/latency_ms").map(|ms| ms / 1e3);
            Row::new([
                time_of_day(number(entry, "/committed_at")),
                text(entry, "/alert/phase"),
                text(entry, "/alert/service"),
                text(entry, "/alert/message"),
                latency.map_or(String::new(), |latency| seconds(Some(latency))),
            ])
        };
        let widths = [
            Constraint::Length(9),
            Constraint::Length(8),
            Constraint::Max(20),
            Constraint::Fill(1),
            Constraint::Length(7),
        ];
        let rows = self.list("/alerts/alerts").iter().rev().take(below_title(area)).map(row);
        let titles = ["UTC", "ALERT", "SERVICE", "MESSAGE", "AFTER"];
        Table::new(rows, widths).header(Row::new(titles).style(title()))
    }
}

/// Name, state, lag, rate, rejected and last error of a sink, as far as there is room.
fn columns<T>(all: [T; 6], is_wide: bool) -> Vec<T> {
    let [name, state, lag, rate, rejected, error] = all;
    if is_wide { vec![name, state, lag, rate, rejected, error] } else { vec![name, state, lag, error] }
}

fn below_title(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(1))
}

fn title() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn bar(share: Option<f64>) -> String {
    let filled = (share.unwrap_or_default().clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled))
}
