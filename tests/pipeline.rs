//! The whole job, compared record by record with an independent computation.

use crate::support::{
    self,
    events::{Mix, event, record},
    kafka::{Input, Record},
    oracle::{DEFAULT_RULE, Expected, Job, Phase, Rule, SLIDING_RULE},
    site::Site,
    verify, wait,
};

const SPAN_MS: u64 = 20 * 60_000;
const MAX_DISORDER_MS: i64 = 30 * 60_000;

/// A sliding rule, and one that is quiet until a window closes.
const CLICKS: Rule =
    Rule { message: "{rule}: {service} had {count} (> {threshold}) in {window}", ..SLIDING_RULE };
const PURCHASES: Rule = Rule {
    name: "any-purchase",
    event_type: "purchase",
    window: "5m",
    window_ms: 300_000,
    slide_ms: 300_000,
    threshold: 0,
    message: "{count} purchases",
    phases: &["closed"],
};

fn job() -> Job {
    Job { rules: vec![DEFAULT_RULE, CLICKS, PURCHASES], max_output_bytes: 200_000, ..Job::default() }
}

/// `head -c 1048577 /dev/zero | tr '\0' x | sha256sum`.
const SHA256_OF_TOO_MANY_X: &str = "154b8ed3c2383ce429058768595935faf7851b5c38db2b1732594be1d88bc05a";

/// Records of sizes at the limits.
fn large_records(start: i64) -> Vec<Input> {
    let filled = |size: usize| format!(r#"{{"event_type":"page_view","filler":"{}"}}"#, "y".repeat(size));
    vec![
        record(0, "too-large", "x".repeat(1024 * 1024 + 1), start),
        record(1, "largest-that-fits", filled(150_000), start),
        record(2, "enriched-too-large", filled(250_000), start),
        record(3, "large-poison", filled(600_000).replace("page_view\"", "page_view"), start),
        record(5, "largest-event", filled(1024 * 1024 - filled(0).len()), start),
    ]
}

#[test]
fn a_hundred_thousand_mixed_events_come_out_as_computed_record_by_record() {
    let _turn = support::heavy();
    let site = Site::new("pipeline", 12).order_free().job(job()).create();
    let limit = |bytes| [("max.message.bytes", bytes), ("retention.ms", "86400000")];
    site.kafka.configure_topic(&site.topics.raw, &limit("3000000"));
    site.kafka.configure_topic(&site.topics.processed, &limit("200500"));
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(1, 12, start, SPAN_MS);
    let inputs: Vec<Input> = mix.take(100_000);
    let (before, after) = inputs.split_at(60_000);

    site.write(before);
    let daemon = site.run();
    site.write(&large_records(start));
    site.write(after);
    let sentinel = start + 60 * 60_000;
    site.write_sentinels(sentinel);
    site.await_caught_up();
    let on_time = site.kafka.end_offsets(&site.topics.raw);

    let late: Vec<Input> = (0..300).map(|n| late_event(n, start)).collect();
    site.write(&late);
    site.await_caught_up();

    let phases = [
        Phase { until: on_time, watermark: None },
        Phase { until: vec![i64::MAX; 12], watermark: Some(sentinel - MAX_DISORDER_MS) },
    ];
    verify::final_metrics(&daemon, &site, &phases);
    daemon.stop();
    let expected = verify::outputs(&site, &phases);
    check_the_mix(&expected);
    check_large_dead_letters(&site.kafka.dump(&site.topics.dead_letters));
}

fn late_event(n: i64, start: i64) -> Input {
    let event_type = ["error", "click", "purchase"][n as usize % 3];
    event(n as i32 % 12, event_type, "service-0", "late", start + n * 1000)
}

/// The comparison is worth little if the input lacks what it should compare.
fn check_the_mix(expected: &Expected) {
    let reasons: Vec<&str> = expected.reasons().into_iter().collect();
    let all = [
        "invalid_field",
        "invalid_json",
        "invalid_utf8",
        "missing_event_type",
        "not_an_object",
        "output_too_large",
        "too_large",
    ];
    assert_eq!(reasons, all);
    assert!(expected.bots > 1000 && expected.skipped > 100 && expected.future > 100, "{expected:?}");
    assert!(
        expected.late["many-clicks"] == 300 && expected.late["high-error-rate"] == 100,
        "{:?}",
        expected.late
    );
    let alerts = |rule: &str| expected.alerts(&job()).filter(|(id, ..)| id.rule == rule).count();
    assert!(alerts("high-error-rate") > 20 && alerts("many-clicks") > 20 && alerts("any-purchase") > 20);
}

fn check_large_dead_letters(letters: &[Record]) {
    let of = |key: &str| letters.iter().find(|letter| letter.key.as_deref() == Some(key.as_bytes())).unwrap();
    let cut = of("too-large");
    assert_eq!(cut.value.as_deref(), Some("x".repeat(1024).as_bytes()));
    assert_eq!(cut.header("tidegate.size"), Some("1048577"));
    assert_eq!(cut.header("tidegate.sha256"), Some(SHA256_OF_TOO_MANY_X));
    for whole in ["enriched-too-large", "large-poison"] {
        assert_eq!(of(whole).header("tidegate.size"), None, "{whole} fits the dead-letter topic");
    }
    let largest = of("largest-event");
    assert_eq!(largest.header("tidegate.reason"), Some("output_too_large"));
    assert_eq!(largest.header("tidegate.size"), Some("1048576"));
}

#[test]
fn an_output_topic_of_another_partition_count_is_written_by_key() {
    let site = Site::new("repartition", 3).set("topics.processed.partitions", "5").order_free().create();
    let start = wait::hours_ago(1);
    let users: Vec<String> = (0..50).map(|n| format!("user-{n}")).collect();
    let users: Vec<Input> =
        users.iter().enumerate().map(|(n, user)| event(n as i32 % 3, "click", "shop", user, start)).collect();
    let nobody = (0..3).map(|partition| Input { key: None, ..event(partition, "click", "shop", "", start) });
    site.write(&users);
    site.write(&nobody.collect::<Vec<_>>());
    let daemon = site.run();
    site.await_caught_up();
    daemon.stop();

    let processed = site.kafka.dump(&site.topics.processed);
    assert_eq!(processed.len(), 53);
    let keyed = |record: &Record| record.key.as_deref().map(|key| support::oracle::partition_of(key, 5));
    let wrong =
        processed.iter().find(|record| keyed(record).is_some_and(|wanted| record.partition != wanted));
    assert!(wrong.is_none(), "{wrong:?}");
    let without_key: Vec<i32> =
        processed.iter().filter(|record| record.key.is_none()).map(|record| record.partition).collect();
    assert_eq!(without_key, [0, 1, 2], "without a key: the number of the input partition");
}

#[test]
fn field_paths_and_bot_patterns_are_those_of_the_configuration() {
    let site = Site::new("paths", 1)
        .set("event.event_type", r#"["meta.kind", "kind"]"#)
        .set("event.timestamp", r#"["meta.at"]"#)
        .set("event.service", r#"["origin"]"#)
        .set("event.ip", r#"["client.address"]"#)
        .set("event.user_agent", r#"["client.agent"]"#)
        .set("filter.categories", r#"["ai"]"#)
        .set("filter.patterns", r#"["acme-probe/[0-9]"]"#)
        .create();
    let now = wait::now_ms();
    let from = |agent: &str| {
        let client = format!(r#"{{"address":"175.16.199.1","agent":"{agent}"}}"#);
        format!(r#"{{"meta":{{"kind":"view","at":{now}}},"client":{client}}}"#)
    };
    let forwarded = [from("Firefox"), from("Googlebot/2.1"), r#"{"meta":7,"kind":"view"}"#.to_owned()];
    let bots = [from("Acme-Probe/2"), from("GPTBot/1.2")];
    let dead = [r#"{"event_type":"view"}"#, r#"{"kind":"error","origin":17}"#].map(str::to_owned);
    let all = forwarded.iter().chain(&bots).chain(&dead);
    site.write(&all.map(|value| record(0, "user", value.as_str(), now)).collect::<Vec<_>>());
    let daemon = site.run();
    site.await_caught_up();
    let metrics = daemon.metrics();
    daemon.stop();

    for (category, count) in [("own", 1), ("ai", 1), ("search", 0), ("http-library", 0)] {
        let found = metrics.sum("tidegate_bot_events_total", &[("category", category)]);
        assert_eq!(found, count, "{category}");
    }
    let values_of = |topic: &str| -> Vec<String> {
        let found = site.kafka.dump(topic).into_iter();
        found.map(|found| String::from_utf8(found.value.unwrap()).unwrap()).collect()
    };
    let geo = [r#"{"country":"CN"}"#, r#"{"country":"CN"}"#, "null"];
    let enriched = forwarded
        .iter()
        .zip(geo)
        .map(|(value, geo)| format!("{},\"geo\":{geo}}}", value.strip_suffix('}').unwrap()));
    assert_eq!(values_of(&site.topics.processed), enriched.collect::<Vec<_>>());
    assert_eq!(values_of(&site.topics.dead_letters), dead);
}
