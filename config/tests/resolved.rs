//! What a configuration that is right becomes.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tidegate_config::{LogFormat, Resolved, Source, Start, resolve};

fn resolved(text: &str, overrides: &[&str]) -> Resolved {
    let overrides = overrides.iter().map(|set| (*set).to_owned()).collect();
    let env = |name: &str| match name {
        "WORKERS" => Some("7".to_owned()),
        "HOST" => Some("broker".to_owned()),
        _ => None,
    };
    match resolve(&Source::new("t.toml", text, overrides), &env) {
        Ok(resolved) => resolved,
        Err(problems) => panic!("{problems}"),
    }
}

#[test]
fn every_kind_of_value_arrives_with_its_unit() {
    let text = r#"
        [kafka]
        bootstrap_servers = "${HOST}:9092,${OTHER:-other}:9092"
        start = "earliest"
        [kafka.properties]
        "security.protocol" = "SASL_SSL"
        socket.timeout.ms = 1_000
        [topics]
        raw = { name = "in", partitions = 1, retention = "90m" }
        [event]
        service = "meta.service"
        [[rules]]
        name = "logins"
        window = "1m"
        slide = "10s"
        threshold = 3
        emit = ["closed"]
        [limits]
        in_flight_bytes = "10MB"
        [pools]
        filter = "${WORKERS}"
        [telemetry]
        trace_ratio = 1
        log_format = "json"
    "#;
    let settings = resolved(text, &[]).into_settings();
    assert_eq!(settings.kafka.bootstrap_servers, "broker:9092,other:9092");
    assert_eq!(settings.kafka.start, Start::Earliest);
    let property = |name: &str| settings.kafka.properties[name].expose();
    assert_eq!((property("security.protocol"), property("socket.timeout.ms")), ("SASL_SSL", "1000"));
    assert_eq!((settings.topics.raw.name.as_str(), settings.topics.raw.partitions), ("in", 1));
    assert_eq!(settings.topics.raw.retention, Some(Duration::from_secs(5400)));
    assert_eq!(settings.topics.state.retention, None);
    assert_eq!(settings.event.service, [["meta", "service"]]);
    let [rule] = settings.rules.as_slice() else { panic!("one rule replaces the default one") };
    assert_eq!((rule.window_ms, rule.window_text.as_str(), rule.slide_ms), (60_000, "1m", 10_000));
    assert_eq!((rule.threshold, rule.emit_crossed, rule.emit_closed), (3, false, true));
    assert_eq!(settings.limits.in_flight_bytes, 10_000_000);
    assert_eq!(settings.pools.filter, 7);
    assert_eq!((settings.telemetry.trace_ratio, settings.telemetry.log_format), (1.0, LogFormat::Json));
}

#[test]
fn overrides_take_toml_or_bare_strings_and_go_before_the_file() {
    let text = "[kafka]\nbootstrap_servers = 'a:1'\ngroup_id = 'file'\n[pools]\nfilter = 3\n";
    let overrides = [
        "kafka.bootstrap_servers=b:2",
        "kafka.group_id=0017",
        "kafka.properties.sasl.password=0x10",
        "pools.filter = 5",
        "event.ip=['a.b', \"c\"]",
        "filter.enabled=false",
        "rules=[{ name = 'one', window = '5s' }]",
        "checkpoint.interval=\"1s\"",
        "checkpoint.interval=100ms",
    ];
    let settings = resolved(text, &overrides).into_settings();
    assert_eq!(settings.kafka.bootstrap_servers, "b:2");
    assert_eq!(settings.kafka.group_id, "0017", "text stays as it was typed");
    assert_eq!(settings.kafka.properties["sasl.password"].expose(), "0x10");
    assert_eq!((settings.pools.filter, settings.filter.enabled), (5, false));
    assert_eq!(settings.event.ip.len(), 2);
    assert_eq!((settings.rules[0].name.as_str(), settings.rules[0].slide_ms), ("one", 5_000));
    assert_eq!(settings.checkpoint_interval, Duration::from_millis(100), "the last one wins");
}

#[test]
fn what_is_shown_resolves_to_the_same_again() {
    let text = "rules = []\nfilter.patterns = ['a\"\\d', \"\\u007f\"]\ntime.idle_after = '1500ms'\n\
                topics.raw.retention = '36h'\nlimits.in_flight_bytes = 5000000\nkafka.bootstrap_servers = 'k:1'\n\
                kafka.properties.\"client.id\" = 'x y'\n";
    let first = resolved(text, &[]);
    let again = resolved(&first.to_toml(), &[]);
    assert_eq!(first.to_toml(), again.to_toml());
    assert_eq!(first.to_json(), again.to_json());
    assert_eq!(format!("{:?}", first.into_settings()), format!("{:?}", again.into_settings()));
}
