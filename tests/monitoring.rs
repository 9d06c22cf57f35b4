//! The ready-made dashboard and alarms against a real Prometheus that scrapes a real daemon.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    daemon_api::post,
    receiver::{Answer, Receiver},
    site::{Site, free_address},
    wait,
};
use serde_json::{Value, json};

/// Set where Prometheus must be there, such as in CI: without it the tests then fail.
const REQUIRED: &str = "TIDEGATE_TEST_PROMETHEUS";
/// As long as the queries' ranges look back here.
const RANGE: &str = "10s";

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring")
}

/// Whether there is a Prometheus; says so if not.
fn has_prometheus() -> bool {
    let found =
        Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(_) => true,
        Err(error) if std::env::var_os(REQUIRED).is_none() => {
            eprintln!("NOT TESTED: no promtool ({error}); Debian's package is prometheus");
            false
        }
        Err(error) => panic!("promtool: {error}; {REQUIRED} is set, so it must be there"),
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(deploy().join("grafana/tidegate.json")).unwrap()).unwrap()
}

/// Titles and queries of the dashboard, as Grafana would send them.
fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| (panel["title"].as_str().unwrap(), target["expr"].as_str().unwrap()))
    });
    let sent = |query: &str| {
        query
            .replace("$__rate_interval", RANGE)
            .replace("\"$job\"", "\".*\"")
            .replace("\"$instance\"", "\".*\"")
    };
    targets.map(|(title, query)| (title.to_owned(), sent(query))).collect()
}

/// Metrics of ours in a text; of a histogram the name that it is documented by.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words = text.split(|char: char| !is_name(char));
    let ours = words.filter(|word| word.starts_with("tidegate_") || word.starts_with("process_"));
    let documented = |word: &str| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        histogram.unwrap_or(word).to_owned()
    };
    ours.map(documented).collect()
}

/// The first cells of the tables.
fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn the_dashboard_shows_every_metric_and_the_alarms_name_only_such_as_there_are() {
    let shown: String = queries().into_iter().map(|(_, query)| query + "\n").collect();
    assert_eq!(metrics_in(&shown), documented());
    let rules = fs::read_to_string(deploy().join("prometheus/tidegate.rules.yml")).unwrap();
    let expressions: Vec<_> = rules.lines().filter(|line| !line.contains("summary:")).collect();
    let unknown: Vec<_> = metrics_in(&expressions.join("\n")).difference(&documented()).cloned().collect();
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn the_four_that_count_come_first() {
    let dashboard = dashboard();
    let first_row: Vec<_> = dashboard["panels"].as_array().unwrap().iter().skip(1).take(4).collect();
    assert!(first_row.iter().all(|panel| panel["gridPos"]["y"] == first_row[0]["gridPos"]["y"]));
    let titles: Vec<_> = first_row.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
    for (title, word) in titles.iter().zip(["lag", "Checkpoint duration", "Records", "back-pressure"]) {
        assert!(title.contains(word), "{titles:?}");
    }
}

#[test]
fn every_alarm_has_its_section_for_operators() {
    let rules = fs::read_to_string(deploy().join("prometheus/tidegate.rules.yml")).unwrap();
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let alarms: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let sections: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(alarms.len() > 10);
    assert_eq!(alarms.difference(&sections).collect::<Vec<_>>(), Vec::<&&str>::new());
    for alarm in alarms {
        assert!(rules.contains(&format!("docs/operations.md#{}", alarm.to_lowercase())), "{alarm}");
    }
}

#[test]
fn alarms_fire_when_they_should_and_only_then() {
    if !has_prometheus() {
        return;
    }
    let dir = deploy().join("prometheus");
    for arguments in [["check", "config", "prometheus.yml"], ["test", "rules", "tidegate.rules.test.yml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(&dir).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?}: {said}");
    }
}

/// Prometheus on a free port; dropping it ends it.
struct Prometheus {
    process: Child,
    base: String,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    fn start(site: &Site) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rules = deploy().join("prometheus/tidegate.rules.yml");
        let config = format!(
            "global: {{scrape_interval: 500ms, evaluation_interval: 1s}}\nrule_files: [{rules:?}]\n\
             scrape_configs: [{{job_name: tidegate, static_configs: [{{targets: [{:?}]}}]}}]\n",
            site.http.to_string()
        );
        fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        let address = free_address();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, base: format!("http://{address}/api/v1"), _dir: dir }
    }

    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut request = ureq::Agent::from(config).get(format!("{}/{path}", self.base));
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        let answer = request.call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str(&answer).ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn every_query_finds_something_and_every_rule_evaluates() {
    if !has_prometheus() {
        return;
    }
    let hook = Receiver::start(|_, _| Answer::status(204));
    let pager =
        format!(r#"[{{ name = "pager", type = "webhook", topic = "alerts", url = "{}" }}]"#, hook.url);
    let site = Site::embedded("monitoring", 1).set("sinks", &pager).create();
    let mut daemon = site.run();
    daemon.wait_ready();
    let prometheus = Prometheus::start(&site);
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < Duration::from_secs(8) {
        number += 1;
        let alerting = json!({"event_type": "error", "service_name": format!("service-{number}")});
        post(&site, &[], &[vec![alerting; 51], vec![json!({"no": "event_type"})]].concat());
        thread::sleep(Duration::from_millis(200));
    }
    for (title, query) in queries() {
        wait::until_true(&format!("{title}: {query}"), || {
            let Some(answer) = prometheus.ask("query", &[("query", &query)]) else { return false };
            assert_eq!(answer["status"], "success", "{title}: {query}: {answer}");
            answer["data"]["result"].as_array().is_some_and(|series| !series.is_empty())
        });
    }
    let rules = wait::until("the rules to be evaluated", || {
        let groups = prometheus.ask("rules", &[])?;
        let rules = groups["data"]["groups"][0]["rules"].as_array()?.clone();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    });
    assert_eq!(rules.len(), 23);
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let is_firing = |name: &str| rules.iter().any(|rule| rule["name"] == name && rule["state"] == "firing");
    wait::until_true("the alarm of dead letters", || {
        let answer = prometheus.ask("query", &[("query", "ALERTS{alertname=\"TidegateDeadLetters\"}")]);
        answer.is_some_and(|answer| !answer["data"]["result"].as_array().unwrap().is_empty())
    });
    assert!(!is_firing("TidegateDown") && !is_firing("TidegatePoisonousRecord"));
    daemon.stop();
}
