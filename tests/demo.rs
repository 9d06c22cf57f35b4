//! What a newcomer sees first.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use crate::support::{
    self, embedded, http,
    site::{output, tidegate},
    wait,
};

#[test]
fn a_demo_of_some_events_ends_by_itself_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = tidegate(&["demo", "--events", "8000", "--rate", "0"]);
    let ended = output(command.env("TMPDIR", temporary.path()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for told in [
        "http://127.0.0.1:",
        "alert crossed",
        "ms after the crossing event",
        "all committed:",
        "8,000 events",
    ] {
        assert!(ended.stdout.contains(told), "{told} is missing in {}", ended.stdout);
    }
    assert!(!ended.stdout.contains('\x1b') && !ended.stdout.contains('\r'), "plain lines when piped");
    assert_eq!(ended.stderr, "");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_demo_with_a_sink_posts_each_alert_to_its_receiver_before_it_ends() {
    let ended = output(&mut tidegate(&["demo", "--sinks", "--events", "8000", "--rate", "0"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines = |begin: &str| ended.stdout.lines().filter(|line| line.starts_with(begin)).count();
    assert!(lines("alert ") > 0, "{}", ended.stdout);
    assert_eq!(lines("posted alert "), lines("alert "), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}

/// A demo in the background.
struct Demo {
    child: Child,
    lines: Receiver<String>,
}

impl Demo {
    fn start(dir: &Path) -> Self {
        let mut command: Command = tidegate(&["demo", "--dir"]);
        let mut child = command.arg(dir).stdout(Stdio::piped()).spawn().unwrap();
        let stdout: ChildStdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next line with this text in it.
    fn line(&self, with: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(wait::PATIENCE).unwrap();
            if line.contains(with) {
                return line;
            }
        }
    }

    fn signal(&mut self, name: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_demo_that_is_killed_goes_on_and_has_every_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("demo");
    let mut demo = Demo::start(&home);
    let address = demo.line("http://");
    let address = address.split("http://").nth(1).unwrap().split('/').next().unwrap();
    assert_eq!(http::get(address.parse().unwrap(), "/livez").unwrap().status, 200);
    demo.line("alert crossed");
    demo.signal("KILL");

    let mut demo = Demo::start(&home);
    assert!(demo.line("tidegate demo").contains("going on"));
    demo.line("alert crossed");
    assert_eq!(demo.signal("INT"), Some(0));
    demo.line("all committed:");

    let log: PathBuf = home.join("data/log");
    let offsets = |topic: &str| embedded::dump(&log, topic).len();
    let status = tidegate(&["run", "--until-end", "--config"])
        .arg(home.join("tidegate.toml"))
        .args(["--set", "http.listen=127.0.0.1:0"])
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let (raw, processed) = (embedded::dump(&log, "raw-events"), embedded::dump(&log, "processed-events"));
    let bots = raw.len() - processed.len();
    assert!(raw.len() > 2000 && (raw.len() / 20..raw.len() / 8).contains(&bots), "{} {bots}", raw.len());
    assert_eq!(offsets("dead-letters"), 0);
    // What is forwarded is the input in its order, with geo data at the end.
    let mut input = raw.iter();
    for found in &processed {
        let value = found.value.as_ref().unwrap();
        let is_same = |raw: &&support::kafka::Record| {
            let raw = raw.value.as_ref().unwrap();
            value.starts_with(&raw[..raw.len() - 1])
        };
        assert!(input.any(|raw| is_same(&raw)), "out of order, twice, or made up");
    }
}

#[test]
fn a_demo_with_no_reader_ends() {
    let mut command = tidegate(&["demo", "--events", "1000000000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Like `tidegate demo | head -1`.
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 8]).unwrap();
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
