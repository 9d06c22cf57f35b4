//! The oracle itself, on cases worked out by hand: what judges the pipeline has to be right, and to notice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::{
    self,
    events::Mix,
    json,
    kafka::Record,
    metrics::Metrics,
    oracle::{DEFAULT_RULE, Expected, Fate, Job, Phase, Processed, fate, partition_of},
    verify,
};

fn input(offset: i64, value: &str) -> Record {
    let value = Some(value.as_bytes().to_vec());
    Record { partition: 0, offset, key: None, value, headers: Vec::new(), timestamp: 1_760_000_000_000 }
}

fn forwarded(value: &str) -> (String, String, i64) {
    match fate(&input(0, value), &Job::default()) {
        Fate::Forwarded(event) => (String::from_utf8(event.value).unwrap(), event.service, event.timestamp),
        other => panic!("{value}: {other:?}"),
    }
}

#[test]
fn events_are_enriched_without_a_change_of_any_other_byte() {
    let london = r#"{"country":"GB","city":"London","lat":51.5142,"lon":-0.0931}"#;
    let cases = [
        (r#"{"event_type":"a"}"#, r#"{"event_type":"a","geo":null}"#.to_owned()),
        (" {\"event_type\":\"a\" }\n", " {\"event_type\":\"a\" ,\"geo\":null}\n".to_owned()),
        (
            r#"{"event_type":"a","payload":{"ip":"81.2.69.1","x":1e999}}"#,
            format!(r#"{{"event_type":"a","payload":{{"ip":"81.2.69.1","x":1e999}},"geo":{london}}}"#),
        ),
        (
            r#"{"g\u0065o":{"a":["}"]},"event_type":"a","ip":"10.0.0.1","geo" : 1 }"#,
            r#"{"g\u0065o":null,"event_type":"a","ip":"10.0.0.1","geo" : null }"#.to_owned(),
        ),
        (
            r#"{"event_type":"a","ip":"fe80::1%eth0","payload":{"geo":1,"ip":"81.2.69.1"}}"#,
            format!(
                r#"{{"event_type":"a","ip":"fe80::1%eth0","payload":{{"geo":1,"ip":"81.2.69.1"}},"geo":{london}}}"#
            ),
        ),
    ];
    for (value, wanted) in cases {
        assert_eq!(forwarded(value).0, wanted);
    }
}

#[test]
fn fields_are_found_where_the_contract_says() {
    let service = |value| forwarded(value).1;
    assert_eq!(service(r#"{"event_type":"a","service_name":"s","payload":{"service_name":"t"}}"#), "s");
    assert_eq!(service(r#"{"event_type":"a","service_name":null,"payload":{"service_name":"t"}}"#), "t");
    assert_eq!(
        service(r#"{"event_type":"a","service_name":"","payload":{"service_name":"old"},"payload":1}"#),
        "unknown"
    );
    let long = format!(r#"{{"event_type":"a","service_name":"{}"}}"#, "é".repeat(150));
    assert_eq!(service(&long), "é".repeat(128));
    let time = |value| forwarded(value).2;
    assert_eq!(time(r#"{"event_type":"a","timestamp":-0}"#), 0);
    assert_eq!(time(r#"{"event_type":"a","timestamp":null}"#), 1_760_000_000_000);
}

#[test]
fn every_poisonous_record_has_its_reason() {
    let cases = [
        ("", "invalid_json"),
        ("\u{feff}{}", "invalid_json"),
        (r#"{"event_type":"a"}x"#, "invalid_json"),
        ("[1]", "not_an_object"),
        (r#"{"timestamp":"x"}"#, "missing_event_type"),
        (r#"{"event_type":null}"#, "missing_event_type"),
        (r#"{"event_type":1}"#, "invalid_field"),
        (r#"{"event_type":"a","timestamp":1.0}"#, "invalid_field"),
        (r#"{"event_type":"a","timestamp":253402300800000}"#, "invalid_field"),
        (r#"{"event_type":"a","service_name":1}"#, "invalid_field"),
    ];
    for (value, reason) in cases {
        assert_eq!(fate(&input(0, value), &Job::default()), Fate::Dead(reason), "{value}");
    }
}

#[test]
fn bots_are_known_by_their_user_agent_alone() {
    let bot = r#"{"event_type":"a","user_agent":7,"payload":{"user_agent":"x Googlebot/2.1"}}"#;
    assert_eq!(fate(&input(0, bot), &Job::default()), Fate::Bot { future: false });
    forwarded(r#"{"event_type":"Googlebot","user_agent":"Firefox","payload":{"user_agent":"Googlebot"}}"#);
}

#[test]
fn windows_are_counted_by_hand() {
    let sliding = support::oracle::Rule { name: "sliding", slide_ms: 20_000, ..DEFAULT_RULE };
    assert_eq!(sliding.windows(130_000), [120_000, 100_000, 80_000]);
    assert_eq!(sliding.windows(10_000), [0]);
    assert_eq!(DEFAULT_RULE.windows(119_999), [60_000]);

    let error = |offset, timestamp| {
        input(offset, &format!(r#"{{"event_type":"error","service_name":"s","timestamp":{timestamp}}}"#))
    };
    let records = [error(0, 60_000), error(1, 119_999), error(2, 120_000), error(3, 60_000)];
    let phases =
        [Phase { until: vec![3], watermark: None }, Phase { until: vec![4], watermark: Some(120_000) }];
    let expected = Expected::of(&records, &Job::default(), &phases);
    let counts: Vec<(i64, usize)> =
        expected.windows.iter().map(|(id, members)| (id.start, members.len())).collect();
    assert_eq!((counts, expected.late["high-error-rate"]), (vec![(60_000, 2), (120_000, 1)], 1));
    assert_eq!(expected.processed.len(), 4, "what is late is forwarded");
}

#[test]
fn the_partitioner_is_that_of_the_java_client() {
    // From the tests of the Java client: murmur2 of these keys, as signed numbers.
    for (key, hash) in
        [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
    {
        assert_eq!(partition_of(key.as_bytes(), 1000), (hash & i32::MAX) % 1000, "{key}");
    }
}

#[test]
fn members_are_found_in_any_spelling() {
    let text = r#" { "a\"}" : [ { "b" : 1 } , "}" ] , "c":{"d":{"e":-1.5e3}},"c2":"\\","c":{"d":{"e":null,"e":true}} } "#;
    assert_eq!(json::find(text, &["a\"}"]).map(|at| &text[at]), Some(r#"[ { "b" : 1 } , "}" ]"#));
    assert_eq!(json::find(text, &["c", "d", "e"]).map(|at| &text[at]), Some("true"));
    assert_eq!(json::find(text, &["c2", "d"]), None);
}

#[test]
fn metrics_are_read_with_their_labels() {
    let text =
        "# HELP a b\n# TYPE a counter\na_total{x=\"1\",y=\"p.q\"} 3\na_total{x=\"2\",y=\"p.q\"} 4\nb 1.5\n";
    let metrics = Metrics::parse(text);
    assert_eq!((metrics.sum("a_total", &[]), metrics.sum("a_total", &[("x", "2")])), (7, 4));
    assert_eq!((metrics.sum("a_total", &[("x", "3")]), metrics.gauge("b")), (0, Some(1.5)));
}

/// A faultless pipeline, made from the oracle's own answer.
fn outputs_of(expected: &Expected) -> Vec<Record> {
    let record = |(offset, out): (usize, &Processed)| Record {
        partition: out.partition,
        offset: offset as i64,
        key: out.key.clone(),
        value: Some(out.value.clone()),
        headers: out.headers.clone(),
        timestamp: out.timestamp,
    };
    expected.processed.iter().enumerate().map(record).collect()
}

#[test]
fn a_loss_a_duplicate_an_exchange_and_a_changed_byte_are_noticed() {
    let mut mix = Mix::new(1, 2, 1_760_000_000_000, 60_000);
    let mut next_offset = [0; 2];
    let mut inputs: Vec<Record> = (0..500)
        .map(|_| {
            let input = mix.next();
            let offset = &mut next_offset[input.partition as usize];
            *offset += 1;
            let (partition, offset) = (input.partition, *offset - 1);
            Record {
                partition,
                offset,
                key: input.key,
                value: input.value,
                headers: input.headers,
                timestamp: input.timestamp,
            }
        })
        .collect();
    inputs.sort_by_key(|record| (record.partition, record.offset));
    let expected = Expected::of(&inputs, &Job::default(), &[]);
    let good = outputs_of(&expected);
    verify::processed(&good, &expected);

    let faults: [fn(&mut Vec<Record>); 5] = [
        |records| _ = records.remove(100),
        |records| records.insert(100, records[99].clone()),
        |records| records.swap(100, 101),
        |records| records[100].value.as_mut().unwrap()[2] ^= 1,
        |records| records[100].timestamp += 1,
    ];
    for fault in faults {
        let mut bad = good.clone();
        fault(&mut bad);
        let noticed = catch_unwind(AssertUnwindSafe(|| verify::processed(&bad, &expected)));
        assert!(noticed.is_err(), "a fault went unnoticed");
    }
}
