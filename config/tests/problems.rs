//! What a user is told about a configuration that is wrong.
#![allow(clippy::unwrap_used)]

use tidegate_config::{Problems, Source, load};

/// Brokers, so that only what a case is about is wrong.
const KAFKA: &str = "kafka.bootstrap_servers = 'k:9092'\n";

fn problems(text: &str, overrides: &[&str]) -> Problems {
    let overrides = overrides.iter().map(|set| (*set).to_owned()).collect();
    let env = |name: &str| (name == "WORKERS").then(|| "many".to_owned());
    load(&Source::new("t.toml", text, overrides), &env).unwrap_err()
}

/// Each problem as `line:column text | message`, or with the override in the place of line and column.
fn told(problems: &Problems) -> Vec<String> {
    let place = |line: Option<usize>, column: Option<usize>, file: &str| match line.zip(column) {
        Some((line, column)) => format!("{line}:{column}"),
        None => file.to_owned(),
    };
    problems
        .iter()
        .map(|p| format!("{} {} | {}", place(p.line, p.column, &p.file), p.text, p.message))
        .collect()
}

/// What is written below the brokers, which are line 1, and what is told; columns count characters.
const MISTAKES: &[(&str, &str)] = &[
    ("checkpont.interval = '1s'", "2:1 checkpont | unknown key `checkpont`"),
    ("[time]\nmax_disoder = '1s'", "3:1 max_disoder | unknown key `max_disoder` in `time`"),
    ("log = 'kafk'", "2:7 'kafk' | invalid value for `log`: not one of the words allowed"),
    ("pools.filter = 0", "2:16 0 | invalid value for `pools.filter`: too small"),
    ("pools.filter = 65", "2:16 65 | invalid value for `pools.filter`: too large"),
    (
        "pools.filter = '2'",
        "2:16 '2' | invalid value for `pools.filter`: expected an integer, found a string",
    ),
    ("pools.filter = '${WORKERS}'", "2:16 '${WORKERS}' | invalid value for `pools.filter`: not an integer"),
    (
        "pools.filter = 99999999999999999999",
        "2:16 99999999999999999999 | the integer does not fit into 64 bits",
    ),
    ("pools = 3", "2:9 3 | invalid value for `pools`: expected a table, found an integer"),
    ("geo.database = ''", "2:16 '' | invalid value for `geo.database`: empty"),
    (
        "http.listen = 'localhost:80'",
        "2:15 'localhost:80' | invalid value for `http.listen`: not an IP address with a port",
    ),
    ("checkpoint.interval = '5ms'", "2:23 '5ms' | invalid value for `checkpoint.interval`: too small"),
    (
        "checkpoint.interval = '10 parsecs'",
        "2:23 '10 parsecs' | invalid value for `checkpoint.interval`: not a duration; write a whole number and one of \
             the units ms, s, m, h, d",
    ),
    (
        "limits.in_flight_bytes = '1MiB'",
        "2:26 '1MiB' | invalid value for `limits.in_flight_bytes`: too small",
    ),
    ("telemetry.trace_ratio = 1.5", "2:25 1.5 | invalid value for `telemetry.trace_ratio`: too large"),
    ("telemetry.trace_ratio = nan", "2:25 nan | invalid value for `telemetry.trace_ratio`: not a number"),
    (
        "topics.raw.name = 'a b'",
        "2:19 'a b' | invalid value for `topics.raw.name`: not a name that Kafka allows",
    ),
    (
        "topics.raw.name = 'a_b'\ntopics.state.name = 'a.b'",
        "3:21 'a.b' | `topics.state.name` is the same topic as `topics.raw.name`",
    ),
    (
        "topics.raw.name = 'alerts'",
        "2:19 'alerts' | `topics.alerts.name` is the same topic as `topics.raw.name`",
    ),
    ("topics.state.retention = '1d'", "2:14 retention | unknown key `retention` in `topics.state`"),
    (
        "kafka.group_id = \"a\\u0000\"",
        "2:18 \"a\\u0000\" | invalid value for `kafka.group_id`: it has a control character",
    ),
    ("event.ip = ['a', 'ä..b']", "2:18 'ä..b' | invalid value for `event.ip`: a part of the path is empty"),
    (
        "event.ip = 'a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a'",
        "2:12 'a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a' | invalid value for `event.ip`: too deep",
    ),
    ("filter.categories = ['ai', 'ai']", "2:28 'ai' | invalid value for `filter.categories`: listed twice"),
    (
        "filter.patterns = ['ä', '']",
        "2:25 '' | invalid value for `filter.patterns`: empty: it would match every user agent",
    ),
    ("[[rules]]\nname = 'Bad'", "3:8 'Bad' | invalid value for `rules[0].name`: it has other characters"),
    ("[[rules]]\nslide = '7s'", "3:9 '7s' | `rules[0].slide` does not divide `rules[0].window`"),
    ("[[rules]]\nslide = '2m'", "3:9 '2m' | `rules[0].slide` is longer than `rules[0].window`"),
    ("[[rules]]\nslide = '50ms'", "3:9 '50ms' | `rules[0].slide` is too short for `rules[0].window`"),
    ("[[rules]]\nemit = []", "3:8 [] | invalid value for `rules[0].emit`: too short"),
    (
        "[[rules]]\n[[rules]]\nname='high-error-rate'",
        "4:6 'high-error-rate' | `rules[1].name` is the same as `rules[0].name`",
    ),
    ("[rules]", "2:1 [rules] | invalid value for `rules`: expected an array of tables, found a table"),
    (
        "checkpoint.interval = '60s'",
        "2:23 '60s' | `checkpoint.interval` is not shorter than `transaction.timeout.ms`, 60000 ms",
    ),
    ("geo.database = '${DATA}/x'", "2:16 '${DATA}/x' | the environment variable `DATA` is not set"),
    (
        "telemetry.otlp_endpoint = 'https://o'",
        "2:27 'https://o' | `telemetry.otlp_endpoint` does not begin with `http://`",
    ),
    (
        "[kafka.properties]\nisolation.level = 'x'",
        "3:11 level | the property `isolation.level` cannot be set: the input is read with `read_committed`",
    ),
    (
        "[kafka.properties]\n'group.protocol' = 'consumer'",
        "3:1 'group.protocol' | the property `group.protocol` cannot be set: nothing joins the group, partitions are assigned by hand",
    ),
    ("geo.database = 'a", "2:18  | not TOML: invalid literal string, expected `'`"),
    ("geo = {}\ngeo = {}", "3:1 geo | not TOML: duplicate key"),
];

#[test]
fn each_mistake_is_told_with_its_place_and_text() {
    for (text, expected) in MISTAKES {
        assert_eq!(told(&problems(&format!("{KAFKA}{text}"), &[])), [*expected], "{text}");
    }
}

#[test]
fn the_brokers_are_the_one_thing_that_must_be_there() {
    assert_eq!(told(&problems("", &[])), ["t.toml  | `kafka.bootstrap_servers` is missing"]);
    assert_eq!(told(&problems("[kafka]\n", &[])), ["1:1 [kafka] | `kafka.bootstrap_servers` is missing"]);
    for servers in ["", "a,,b", "a:0", "a:x", "a b", "[::1", "[::1]9092"] {
        assert_eq!(problems(&format!("kafka.bootstrap_servers = '{servers}'"), &[]).len(), 1, "{servers}");
    }
    for servers in ["a", "a:1,b:65535", "a:1, b", "[::1]:9092", "SASL_SSL://a:9093"] {
        let text = format!("kafka.bootstrap_servers = '{servers}'");
        assert!(load(&Source::new("t.toml", text, Vec::new()), &|_| None).is_ok(), "{servers}");
    }
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "[pools]\nwindow = 0\nfilter = 0\n[kafka]\nstart = 1\n";
    let told = told(&problems(text, &["pools.enrich=x", "nonsense=1", "a..b=1"]));
    let places: Vec<&str> = told.iter().filter_map(|line| line.split(" | ").next()).collect();
    assert_eq!(
        places,
        [
            "2:10 0",
            "3:10 0",
            "4:1 [kafka]",
            "5:9 1",
            "--set a..b 1",
            "--set pools.enrich x",
            "--set nonsense 1"
        ]
    );
}

#[test]
fn a_problem_shows_the_line_and_what_was_probably_meant() {
    let text = format!("{KAFKA}\n[checkpoint]\n\tintervall = '1s' # often\n");
    let expected = "\
error: unknown key `intervall` in `checkpoint`
 --> t.toml:4:2
  |
4 | \tintervall = '1s' # often
  | \t^^^^^^^^^
help: did you mean `interval`?

error: invalid value for `pools.filter`: too large
 --> --set pools.filter=100
help: allowed: an integer from 1 to 64";
    assert_eq!(problems(&text, &["pools.filter=100"]).to_string(), expected);
    let help =
        |text: &str| problems(&format!("{KAFKA}{text}"), &[]).iter().next().unwrap().help.clone().unwrap();
    assert_eq!(help("max_disorder = '1s'"), "did you mean `time.max_disorder`?");
    assert_eq!(help("[shutdown]\nx = 1"), "allowed: `grace`");
    assert!(help("kafka.security.protocol = 'SSL'").contains("[kafka.properties]"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("absent.toml");
    let read = |path: &std::path::Path| Source::read(path, Vec::new()).err().unwrap().to_string();
    let absent = read(&path);
    assert!(absent.contains("cannot be read") && absent.contains("absent.toml"), "{absent}");
    std::fs::write(&path, b"log = 'kafka'\n# \xff\n").unwrap();
    assert!(read(&path).contains("it is not UTF-8 (line 2)"));
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(read(&path).contains("larger than 1 MiB"));
}
