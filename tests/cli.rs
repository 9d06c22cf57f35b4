//! The command line: exit codes, and words that say what to do.

use std::fs;

use crate::support::{
    self,
    kafka::Kafka,
    site::{Output, Site, output, tidegate},
};
use serde_json::Value;

/// A file with a typo, a bad duration and a bad number, and what is said about them.
const BAD_CONFIG: &str = r#"[kafka]
bootstrap_servers = "127.0.0.1:9092"

[checkpoint]
intervall = "250ms"

[time]
max_disorder = "5 parsecs"
[pools]
filter = 0
"#;

fn validate(text: &str, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tidegate.toml"), text).unwrap();
    output(tidegate(&["validate", "--config", "tidegate.toml"]).args(args).current_dir(dir.path()))
}

#[test]
fn validate_prints_every_problem_with_line_and_column() {
    let found = validate(BAD_CONFIG, &[]);
    assert_eq!(found.code, Some(78), "{found:?}");
    for part in [
        "tidegate.toml:5:1",
        "intervall",
        "`interval`",
        "tidegate.toml:8:16",
        "5 parsecs",
        "tidegate.toml:10:10",
    ] {
        assert!(found.stderr.contains(part), "{part:?} is missing in:\n{}", found.stderr);
    }
    let found = validate(BAD_CONFIG, &["--json"]);
    assert_eq!(found.code, Some(78));
    let answer: Value = serde_json::from_str(&found.stdout).unwrap();
    let lines: Vec<i64> = answer["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["line"].as_i64().unwrap())
        .collect();
    assert_eq!(lines, [5, 8, 10]);
}

#[test]
fn validate_says_what_run_would_refuse_before_it_connects() {
    let base = "kafka.bootstrap_servers = \"127.0.0.1:1\"\n";
    for (more, args, part) in [
        ("[kafka.properties]\n\"lingr.ms\" = 5", &[][..], "tidegate.toml:3:1"),
        ("[kafka.properties]\n\"linger.ms\" = \"soon\"", &[], "linger.ms"),
        ("[kafka.properties]\n\"max.in.flight\" = 100", &[], "max.in.flight"),
        ("[kafka.properties]\n\"enable.gapless.guarantee\" = true", &[], "enable.gapless.guarantee"),
        ("", &["--set", "kafka.properties.\"group.protocol\"=consumer"], "`group.protocol` cannot be set"),
        ("", &["--set", "kafka.properties.'lingr.ms'=5"], "lingr.ms"),
        ("[filter]\npatterns_file = \"none.txt\"", &[], "none.txt cannot be read"),
        ("geo.database = \"${A:-x${B}}\"", &[], "a default cannot hold another"),
    ] {
        let found = validate(&format!("{base}{more}\n"), args);
        assert!(found.code == Some(78) && found.stderr.contains(part), "{more} {args:?}: {found:?}");
    }
    if !cfg!(any(feature = "tls", feature = "tls-vendored")) {
        let found = validate(base, &["--set", "kafka.properties.\"security.protocol\"=SSL"]);
        assert!(found.code == Some(78) && found.stderr.contains("--features tls"), "{found:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let patterns = dir.path().join("patterns.txt");
    fs::write(&patterns, "fine\n(\n*\n").unwrap();
    let found = validate(&format!("{base}filter.patterns_file = {patterns:?}\n"), &["--json"]);
    let answer: Value = serde_json::from_str(&found.stdout).unwrap();
    let told: Vec<&str> =
        answer["problems"].as_array().unwrap().iter().map(|p| p["message"].as_str().unwrap()).collect();
    assert!(told.len() == 2 && told[0].contains("line 2") && told[1].contains("line 3"), "{told:?}");
    assert_eq!(answer["problems"][0]["line"], 2);
}

#[test]
fn every_command_refuses_a_bad_configuration_with_78_and_a_bad_command_line_with_64() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tidegate.toml");
    fs::write(&config, BAD_CONFIG).unwrap();
    for command in [
        &["run"][..],
        &["check"],
        &["topics", "plan"],
        &["generate"],
        &["config", "show"],
        &["state", "show"],
    ] {
        let found = output(tidegate(command).arg("--config").arg(&config));
        assert_eq!(found.code, Some(78), "{command:?}: {found:?}");
        let found = output(tidegate(command).arg("--config").arg(dir.path().join("absent.toml")));
        assert_eq!(found.code, Some(78), "{command:?}: {found:?}");
        assert!(found.stderr.contains("absent.toml"), "{found:?}");
        let found = output(tidegate(command).arg("--no-such-option"));
        assert_eq!(found.code, Some(64), "{command:?}: {found:?}");
    }
    assert_eq!(output(&mut tidegate(&["no-such-command"])).code, Some(64));
    assert_eq!(output(&mut tidegate(&["--version"])).code, Some(0));
    assert_eq!(output(&mut tidegate(&["--help"])).code, Some(0));
}

#[test]
fn the_default_configuration_is_valid_and_the_schema_is_json() {
    let default = output(&mut tidegate(&["config", "default"]));
    let found = validate(&default.stdout, &["--set", "kafka.bootstrap_servers=127.0.0.1:9092"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let schema: Value = serde_json::from_str(&output(&mut tidegate(&["config", "schema"])).stdout).unwrap();
    assert!(schema["properties"]["kafka"].is_object(), "{schema}");
}

#[test]
fn config_show_resolves_overrides_and_variables_and_hides_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tidegate.toml");
    let text = "kafka.bootstrap_servers = \"${BROKER:-nowhere}:9092\"\n[kafka.properties]\n\"sasl.password\" = \"canary-1\"\n\"ssl.key.password\" = \"${SECRET}\"\n";
    fs::write(&config, text).unwrap();
    for format in [&[][..], &["--json"]] {
        let mut command = tidegate(&["config", "show", "--set", "pools.filter=3", "--config"]);
        let found =
            output(command.arg(&config).args(format).env("BROKER", "broker-7").env("SECRET", "canary-2"));
        assert_eq!(found.code, Some(0), "{found:?}");
        assert!(
            found.stdout.contains("broker-7:9092") && !found.stdout.contains("canary"),
            "{}",
            found.stdout
        );
    }
}

#[test]
fn explain_agent_tells_category_name_pattern_and_whether_it_is_dropped() {
    let explain = |agent: &str, args: &[&str]| {
        let args: Vec<&str> = ["explain-agent", agent].iter().chain(args).copied().collect();
        let found = output(&mut tidegate(&args));
        assert_eq!(found.code, Some(0), "{}", found.stderr);
        found.stdout
    };
    let googlebot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    let told = "a bot, dropped\ncategory  search\nname      Googlebot\npattern   googlebot\n";
    assert_eq!(explain(googlebot, &[]), told);
    let curl = explain("curl/8.9.1", &[]);
    assert!(curl.starts_with("a bot, not dropped: filter.categories has no `http-library`\n"), "{curl}");
    assert_eq!(
        explain("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", &[]),
        "not a bot: no pattern matches\n"
    );
    let cubot =
        "Mozilla/5.0 (Linux; Android 10; CUBOT_P30) AppleWebKit/537.36 Chrome/129.0.0.0 Mobile Safari/537.36";
    assert_eq!(explain(cubot, &[]), "not a bot: an exception matches\npattern   cubot\n");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tidegate.toml");
    let base = "kafka.bootstrap_servers = '127.0.0.1:1'\n[filter]\n";
    fs::write(&file, format!("{base}patterns = ['acme-[a-z]+']\ncategories = ['ai', 'http-library']"))
        .unwrap();
    let with = |agent: &str, more: &[&str]| -> Value {
        let args: Vec<&str> =
            ["--json", "--config", file.to_str().unwrap()].iter().chain(more).copied().collect();
        serde_json::from_str(&explain(agent, &args)).unwrap()
    };
    let of = |found: &Value| {
        (
            found["dropped"].as_bool().unwrap(),
            found["category"].as_str().map(str::to_owned),
            found["name"].clone(),
        )
    };
    assert_eq!(of(&with(googlebot, &[])), (false, Some("search".into()), "Googlebot".into()));
    assert_eq!(of(&with("curl/8.9.1", &[])), (true, Some("http-library".into()), "curl".into()));
    let own = with("Mozilla/5.0 Acme-Probe/2 Googlebot", &[]);
    assert_eq!(of(&own), (true, Some("own".into()), "Acme-Probe".into()));
    assert_eq!(own["pattern"], "acme-[a-z]+");
    assert_eq!(of(&with(cubot, &[])), (false, None, Value::Null));
    // The name of before, when there were four categories.
    assert!(of(&with(googlebot, &["--set", "filter.categories=[\"crawler\"]"])).0);
    assert!(!of(&with("GPTBot/1.2", &["--set", "filter.categories=[\"crawler\"]"])).0);
    let off = with("GPTBot/1.2", &["--set", "filter.enabled=false"]);
    assert_eq!(of(&off), (false, Some("ai".into()), "GPTBot".into()));
    assert_eq!(off["bot"], true);
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let found = output(&mut tidegate(&["completions", shell]));
        assert!(found.code == Some(0) && found.stdout.contains("tidegate"), "{shell}: {found:?}");
    }
}

#[test]
fn topics_are_planned_created_and_never_silently_wrong() {
    let site = Site::new("topics", 2);
    site.write_config();
    let plan = site.command(&["topics", "plan"]);
    assert!(site.topics.all().iter().all(|topic| plan.stdout.contains(topic)), "{plan:?}");
    assert!(!site.kafka.has_topic(&site.topics.raw), "plan changed something");
    let missing = site.command(&["generate", "--events", "1"]);
    assert!(missing.code == Some(69) && missing.stderr.contains("topics apply"), "{missing:?}");
    let missing = site.command(&["run"]);
    assert_eq!(missing.code, Some(69), "{missing:?}");
    assert!(
        missing.stderr.contains("topics apply") && missing.stderr.contains(&site.topics.alerts),
        "{missing:?}"
    );
    assert_eq!(site.command(&["check"]).code, Some(69));

    for _ in 0..2 {
        let applied = site.command(&["topics", "apply"]);
        assert_eq!(applied.code, Some(0), "{applied:?}");
    }
    let check = site.command(&["check", "--json"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let findings: Value = serde_json::from_str(&check.stdout).unwrap();
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["verdict"] == "ok"), "{findings:#}");
    assert_eq!(site.kafka.partitions(&site.topics.raw), 2);
}

#[test]
fn drift_is_shown_and_reconciled_only_when_asked_to() {
    let site = Site::new("drift", 2).create();
    let with = |args: &[&str], set: &str| output(site.tidegate(args).args(["--set", set]));

    let found = with(&["topics", "apply"], "topics.raw.retention=2d");
    assert!(found.code == Some(0) && found.stderr.contains("warning"), "retention is a warning: {found:?}");
    let found = with(&["topics", "apply"], "topics.raw.partitions=5");
    assert!(
        found.code == Some(1) && found.stderr.contains(&site.topics.raw),
        "a partition count is not: {found:?}"
    );
    assert_eq!(site.kafka.partitions(&site.topics.raw), 2);
    let found = with(&["topics", "apply", "--alter"], "topics.raw.partitions=5");
    assert_eq!((found.code, site.kafka.partitions(&site.topics.raw)), (Some(0), 5), "{found:?}");
    let found = with(&["topics", "apply", "--alter"], "topics.raw.partitions=3");
    assert_eq!((found.code, site.kafka.partitions(&site.topics.raw)), (Some(1), 5), "{found:?}");
}

#[test]
fn generated_traffic_flows_through_and_raises_alerts() {
    let site = Site::new("generate", 3).create();
    let found = site.command(&["generate", "--events", "20000", "--seed", "5"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stdout.contains("20000"), "{found:?}");
    assert_eq!(site.kafka.end_offsets(&site.topics.raw).iter().sum::<i64>(), 20_000);

    let daemon = site.run();
    site.await_caught_up();
    daemon.stop();
    let processed = site.kafka.dump(&site.topics.processed);
    assert!((18_000..19_000).contains(&processed.len()), "about 8 % are bots: {}", processed.len());
    assert!(site.kafka.dump(&site.topics.dead_letters).is_empty());
    assert!(!site.kafka.dump(&site.topics.alerts).is_empty());

    let found = site.command(&["state", "show", "--json"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let windows: Vec<Value> = found.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(windows.iter().any(|window| window["count"].as_i64() > Some(50)), "{windows:?}");
}

#[test]
fn a_broker_that_is_not_there_is_an_unavailable_service() {
    let nowhere = Kafka::at(support::site::free_address().to_string());
    let site = Site::at(nowhere, "nowhere", 1);
    site.write_config();
    for command in [&["check"][..], &["topics", "plan"], &["generate", "--events", "1"]] {
        let found = site.command(command);
        assert_eq!(found.code, Some(69), "{command:?}: {found:?}");
    }
    // Nothing to clean up, and nobody who would do it.
    std::mem::forget(site);
}
