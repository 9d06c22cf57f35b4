//! What the demo prints: alerts as they come, and a line about everything that on a terminal stays at the bottom.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use serde_json::Value;

/// The screen, or whatever standard output is.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    is_terminal: bool,
    /// The line at the bottom.
    bottom: String,
}

/// Everything at a glance.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Summary {
    pub(super) elapsed: Duration,
    /// In committed epochs.
    pub(super) events: u64,
    pub(super) per_second: f64,
    pub(super) lag: u64,
    pub(super) epoch: u64,
    pub(super) bots: u64,
    pub(super) dead_letters: u64,
    pub(super) alerts: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6.1} s  {} events  {} events/s  lag {}  epoch {}  bots {}  dead letters {}  alerts {}",
            self.elapsed.as_secs_f64(),
            Grouped(self.events),
            Grouped(self.per_second.round() as u64),
            Grouped(self.lag),
            self.epoch,
            Grouped(self.bots),
            Grouped(self.dead_letters),
            Grouped(self.alerts),
        )
    }
}

/// An alert as one line: `value` is what stands in the topic.
pub(super) fn alert_line(value: &[u8], visible_after: Option<Duration>) -> String {
    let alert: Value = serde_json::from_slice(value).unwrap_or_default();
    let text = |name: &str| alert[name].as_str().unwrap_or("?").escape_default().to_string();
    let number = |name: &str| alert[name].as_i64().unwrap_or_default();
    let (start, end) = (TimeOfDay(number("window_start")), TimeOfDay(number("window_end")));
    let latency = match visible_after {
        Some(after) => format!("  visible {} ms after the crossing event", after.as_millis()),
        None => String::new(),
    };
    format!(
        "alert {:<7}  {:<15}  {:<20}  count {:>4} > {}  window {start} to {end} UTC{latency}",
        text("phase"),
        text("rule"),
        text("service"),
        number("count"),
        number("threshold"),
    )
}

impl Screen {
    /// Standard output.
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), out: Box::new(io::stdout()), bottom: String::new() }
    }

    /// Whether somebody looks at it, who wants to see things move.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Prints a line, above the one at the bottom.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        if self.is_terminal {
            write!(self.out, "\r\x1b[K{text}\n{}", self.bottom)?;
        } else {
            writeln!(self.out, "{text}")?;
        }
        self.out.flush()
    }

    /// Shows the summary: at the bottom of a terminal, as a line of its own elsewhere.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub(super) fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        if !self.is_terminal {
            return self.line(&summary.to_string());
        }
        self.bottom = summary.to_string();
        write!(self.out, "\r\x1b[K{}", self.bottom)?;
        self.out.flush()
    }

    /// Leaves the bottom line where it is; what follows comes below.
    pub(super) fn release(&mut self) {
        if !std::mem::take(&mut self.bottom).is_empty() {
            // At the end of the demo it does not matter any more.
            let _ = writeln!(self.out);
        }
    }
}

/// A number with its thousands set apart.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// Milliseconds since the epoch, shown as a time of day.
struct TimeOfDay(i64);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1000).rem_euclid(86_400);
        write!(f, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_one_line_with_all_that_matters_and_nothing_that_moves_the_cursor() {
        let value = br#"{"phase":"crossed","rule":"errors","service":"a\u001b[2Jb","count":51,"threshold":50,"window_start":1760000040000,"window_end":1760000100000}"#;
        let line = alert_line(value, Some(Duration::from_millis(12)));
        assert_eq!(
            line,
            "alert crossed  errors           a\\u{1b}[2Jb           count   51 > 50  window 08:54:00 to 08:55:00 UTC  visible 12 ms after the crossing event"
        );
        assert!(alert_line(b"no json", None).starts_with("alert ?"));
    }

    #[test]
    fn numbers_are_grouped() {
        let texts: Vec<String> = [0, 999, 1000, 1_234_567].map(|n| Grouped(n).to_string()).to_vec();
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
