//! `tidegate top`: a running daemon in the terminal, by its API.

mod format;
mod view;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal, Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use serde_json::{Value, json};

use self::view::{Contact, View};
use super::{config_args, fail};
use crate::exit;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// A daemon that does not answer for this long counts as away.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What a plain snapshot is as wide and high as.
const PLAIN: (u16, u16) = (80, 24);

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the daemon's HTTP server is.
    #[arg(long, env = "TIDEGATE_URL", value_name = "URL", default_value = "http://127.0.0.1:8081")]
    url: String,
    /// Print one plain snapshot and exit; so it is too when standard output is no terminal.
    #[arg(long)]
    once: bool,
    /// Print one snapshot as JSON: what the API answers, by the names of its paths.
    #[arg(long)]
    json: bool,
}

/// Shows it until `q` is pressed, or once.
pub(crate) fn run(args: &Args) -> ExitCode {
    let api = Api::new(&args.url);
    if args.json || args.once || !io::stdout().is_terminal() {
        return match api.look() {
            Ok(seen) if args.json => config_args::print(&format!("{seen:#}\n")),
            Ok(seen) => config_args::print(&plain(&View::of(&seen, &args.url, Contact::Now))),
            Err(error) => fail(exit::UNAVAILABLE, error),
        };
    }
    let shown = match ratatui::try_init() {
        Ok(terminal) => watch(terminal, &api, &args.url),
        Err(error) => Err(error),
    };
    ratatui::restore();
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(exit::FAILED, format_args!("the terminal: {error}")),
    }
}

/// Looks and draws until somebody has seen enough.
fn watch(mut terminal: DefaultTerminal, api: &Api, url: &str) -> io::Result<()> {
    let mut seen = json!({});
    let mut answered = Instant::now();
    loop {
        let contact = match api.look() {
            Ok(fresh) => {
                (seen, answered) = (fresh, Instant::now());
                Contact::Now
            }
            Err(error) => Contact::Lost { since: answered.elapsed(), error },
        };
        let view = View::of(&seen, url, contact);
        terminal.draw(|frame| view.draw(frame))?;
        let next = Instant::now() + EVERY;
        while let Some(rest) = next.checked_duration_since(Instant::now()) {
            if !event::poll(rest)? {
                break;
            }
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    let interrupted =
                        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                    if interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                        return Ok(());
                    }
                }
                Event::Resize(..) => {
                    terminal.draw(|frame| view.draw(frame))?;
                }
                _ => {}
            }
        }
    }
}

/// The view as text, without colours.
fn plain(view: &View<'_>) -> String {
    let (width, height) = PLAIN;
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| view.draw(frame));
    let cells: Vec<_> =
        terminal.backend().buffer().content().iter().map(ratatui::buffer::Cell::symbol).collect();
    let lines = cells.chunks(usize::from(width)).map(|line| line.concat().trim_end().to_owned());
    let text = lines.collect::<Vec<_>>().join("\n");
    format!("{}\n", text.trim_end())
}

/// The API of one daemon.
struct Api {
    base: String,
    agent: ureq::Agent,
}

impl Api {
    fn new(url: &str) -> Self {
        let url = url.trim_end_matches('/');
        let base = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
        Self { base, agent: config.into() }
    }

    /// Asks for everything that is shown.
    fn look(&self) -> Result<Value, String> {
        let paths = ["status", "topology", "checkpoints", "windows", "alerts"];
        let answers = paths.map(|path| Ok((path.to_owned(), self.get(path)?)));
        answers.into_iter().collect::<Result<_, String>>().map(Value::Object)
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let url = format!("{}/api/v1/{path}", self.base);
        let failed = |error: ureq::Error| format!("{url}: {error}");
        let text =
            self.agent.get(&url).call().map_err(failed)?.body_mut().read_to_string().map_err(failed)?;
        serde_json::from_str(&text).map_err(|_| format!("{url}: that is not a tidegate daemon"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Value {
        let stage = |name: &str| json!({"stage": name, "workers": 2, "busy": 0.5, "backpressure": 0.25, "queue": 12_345, "rate": 4999.6});
        let stages = ["reader", "filter", "enrich", "window", "committer"].map(stage);
        let partition = |number: u32| json!({"partition": number, "lag": number * 10, "idle": false});
        let partitions: Vec<_> = (0..40).map(partition).collect();
        json!({
            "status": {
                "version": "0.1.0", "phase": "running", "reason": null, "ready": true, "epoch": 812, "log": "kafka",
                "uptime_s": 3700, "lag": 1234, "watermark_lag_s": 5.1,
                "checkpoint": {"interval_s": 0.25, "age_s": 0.1},
                "rates": {"source": 5000.0, "processed": 4400.0, "bots": 550.0, "dead_letters": 0.0},
                "totals": {"alerts": 3, "dead_letters": 2, "restarts": 1, "late": 0},
                "resources": {"cpu_cores": 0.35, "resident_bytes": 52_428_800}
            },
            "topology": {"stages": stages, "partitions": partitions},
            "checkpoints": {"checkpoints": [{"total_ms": 10.0}, {"total_ms": 20.0}]},
            "windows": {"open": 7, "windows": [
                {"service": "evil\u{1b}[2J\u{202e}name", "count": 60, "threshold": 50, "rule": "r", "crossed": true}]},
            "alerts": {"alerts": [{"committed_at": 1_760_000_041_000_i64, "latency_ms": 21.4, "alert": {
                "service": "checkout", "phase": "crossed", "message": "High error rate:\n51 errors", "rule": "r"}}]},
        })
    }

    #[test]
    fn everything_fits_into_80_by_24_and_names_cannot_move_the_cursor() {
        let text = plain(&View::of(&seen(), "http://127.0.0.1:8081", Contact::Now));
        assert!(text.lines().count() <= 24 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for shown in [
            "running",
            "5.0k/s",
            "lag 1.2k",
            "0.1.0 running",
            "0.35 cores",
            "committer",
            "50 %",
            "checkout",
            "High error rate",
            "60 of 50",
            "15 ms",
        ] {
            assert!(text.contains(shown), "{shown} in\n{text}");
        }
        assert!(
            text.contains("evil?[2J?name") && !text.contains('\u{1b}') && !text.contains('\u{202e}'),
            "{text}"
        );
        assert!(!text.contains("SINK"), "there are none:\n{text}");
        assert!(text.contains("  39 ") && !text.contains("  0 "), "the largest lags come first:\n{text}");
    }

    #[test]
    fn sinks_have_a_place_of_their_own_and_those_that_do_not_run_come_first() {
        let mut seen = seen();
        let sink = |name: &str, state: &str, error: Value| {
            json!({"name": name, "type": "webhook", "topic": "alerts",
            "state": state, "last_error": error, "delivered": 5, "rejected": 4, "retries": 3, "lag": 1234, "rate": 77.0})
        };
        let mut sinks: Vec<_> =
            (0..9).map(|of| sink(&format!("fine-{of}"), "running", Value::Null)).collect();
        sinks.push(sink("warehouse", "degraded", json!("cannot\u{1b}connect: connection refused")));
        seen["status"]["sinks"] = Value::Array(sinks);
        let text = plain(&View::of(&seen, "x", Contact::Now));
        assert!(text.lines().count() <= 24 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for shown in ["SINK", "degraded", "1.2k", "77/s", "cannot?connect: connection", "checkout"] {
            assert!(text.contains(shown), "{shown} in\n{text}");
        }
        assert!(text.find("warehouse") < text.find("fine-0"), "{text}");
        assert!(text.contains("fine-1") && !text.contains("fine-2"), "three have room:\n{text}");
    }

    #[test]
    fn a_daemon_that_is_away_or_says_little_is_shown_too() {
        let lost = Contact::Lost { since: Duration::from_secs(7), error: "refused".into() };
        let text = plain(&View::of(&json!({}), "http://127.0.0.1:8081", lost));
        assert!(text.contains("no contact for 7.0 s") && text.contains("refused"), "{text}");
        plain(&View::of(&json!({"status": {"phase": 7}}), "x", Contact::Now));
    }

    #[test]
    fn no_terminal_is_too_small() {
        let mut seen = seen();
        seen["status"]["sinks"] = json!([{"name": "warehouse", "state": "degraded"}]);
        let view = View::of(&seen, "x", Contact::Now);
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
            let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
            let Ok(_) = terminal.draw(|frame| view.draw(frame));
        }
    }
}
