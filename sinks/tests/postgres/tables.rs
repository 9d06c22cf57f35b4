//! What is in the rows.

use tidegate_core::record::Topic;
use tidegate_sinks::{Batch, Destination};

use crate::support::{Database, P0, batch, deliver, from, push};

#[tokio::test]
async fn an_event_is_a_row_with_its_fields_its_place_and_all_of_itself() {
    let database = Database::with_tables(Topic::Processed).await;
    let mut sink = database.sink(Topic::Processed);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    let events = batch([
        (
            P0,
            0,
            r#"{"event_type":"buy","timestamp":1760000041200,"user_id":"ann\n","payload":{"service_name":"shop"},"geo":{"country":"GB","city":"Böle","lat":51.5,"lon":-1}}"#,
        ),
        (P0, 1, r#"{"event_type":"buy","user_id":7,"n":1.50,"geo":null}"#),
    ]);
    assert_eq!(deliver(&mut sink, &events).await, []);
    let sql = "select (extract(epoch from event_time) * 1000)::bigint::text, event_type, service, user_id, country, city, \
               lat::text, lon::text, event->>'n' from processed_events order by \"offset\"";
    assert_eq!(
        database.lines(sql).await,
        [
            "1760000041200|buy|shop|ann\n|GB|Böle|51.5|-1|null",
            "1760000000000|buy|unknown|null|null|null|null|null|1.50"
        ]
    );
}

#[tokio::test]
async fn additional_columns_have_the_values_at_their_paths_in_the_types_of_the_table() {
    let mut database = Database::new().await;
    let columns = [
        "i2", "i4", "i8", "f4", "f8", "num", "ok", "at", "local", "raw", "doc", "bin", "id", "mood", "label",
    ];
    database.settings.columns =
        columns.map(|column| (column.to_owned(), vec!["payload".to_owned(), column.to_owned()])).to_vec();
    database.settings.table = "Own Schema.Äpfel".to_owned();
    database.run("create schema \"Own Schema\"; create type mood as enum ('good', 'bad')").await;
    database
        .run(
            "create table \"Own Schema\".\"Äpfel\" (i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, num numeric, ok bool, \
             at timestamptz, local timestamp, raw json, doc jsonb, bin bytea, id uuid, mood mood, label varchar(5), \
             event_time bigint, user_id bigint)",
        )
        .await;
    database.apply_all(Topic::Processed).await;
    let mut sink = database.sink(Topic::Processed);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    let values = r#"{"event_type":"e","user_id":"42","timestamp":1,"payload":{"i2":-2,"i4":"4","i8":9007199254740993,"f4":1.5,"f8":1e3,"num":-123456.0789,"ok":true,"at":"2025-10-09T08:53:20Z","local":1760000000000,"raw":{"b": 1},"doc":[1],"bin":"é","id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","mood":"bad","label":"abcde"}}"#;
    let absent = r#"{"event_type":"e","payload":{"i2":null}}"#;
    assert_eq!(deliver(&mut sink, &batch([(P0, 0, values), (P0, 1, absent)])).await, []);
    let sql = "select i2::text, i4::text, i8::text, f4::text, f8::text, num::text, ok::text, \
               (at at time zone 'UTC')::text, local::text, raw::text, doc::text, encode(bin, 'hex'), id::text, mood::text, \
               label, event_time::text, user_id::text from \"Own Schema\".\"Äpfel\" order by \"offset\"";
    let nothing = ["null"; 15].join("|");
    assert_eq!(
        database.lines(sql).await,
        [
            "-2|4|9007199254740993|1.5|1000|-123456.0789|true|2025-10-09 08:53:20|2025-10-09 08:53:20|{\"b\": 1}|[1]|\
             c3a9|6ba7b810-9dad-11d1-80b4-00c04fd430c8|bad|abcde|1|42"
                .to_owned(),
            format!("{nothing}|1760000000000|null"),
        ]
    );
}

#[tokio::test]
async fn an_alert_is_a_row_for_each_phase_however_often_it_comes() {
    let database = Database::with_tables(Topic::Alerts).await;
    let mut sink = database.sink(Topic::Alerts);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    let alert = |phase: &str, count: u32| {
        format!(
            r#"{{"id":"r/shop/1","rule":"r","phase":"{phase}","service":"shop","message":"m","count":{count},"threshold":50,"window_start":1760000040000,"window_end":1760000100000,"first_event_at":1760000041200,"last_event_at":1760000098700,"severity":"page","evidence":[{{"offset":88121}}]}}"#
        )
    };
    let alerts =
        batch([(P0, 0, alert("crossed", 51)), (P0, 1, alert("closed", 73)), (P0, 2, alert("crossed", 51))]);
    assert_eq!(deliver(&mut sink, &alerts).await, []);
    let sql = "select id, phase, rule, service, message, count::text, threshold::text, \
               extract(epoch from last_event_at)::text, evidence::text from alerts as a order by a.count";
    assert_eq!(
        database.lines(sql).await,
        [
            "r/shop/1|crossed|r|shop|m|51|50|1760000098.700000|[{\"offset\": 88121}]",
            "r/shop/1|closed|r|shop|m|73|50|1760000098.700000|[{\"offset\": 88121}]",
        ]
    );
    let bad = batch([(P0, 3, "{}"), (P0, 4, "\u{feff}")]);
    assert_eq!(deliver(&mut sink, &bad).await.len(), 2);
}

#[tokio::test]
async fn a_dead_letter_is_a_row_whatever_its_bytes_are() {
    let database = Database::with_tables(Topic::DeadLetters).await;
    let mut sink = database.sink(Topic::DeadLetters);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    let mut batch = Batch::default();
    let headers: [(&str, &[u8]); 7] = [
        ("tidegate.reason", b"older"),
        ("tidegate.reason", b"invalid_json"),
        ("tidegate.detail", b"at byte 0"),
        ("tidegate.topic", b"raw-events"),
        ("tidegate.partition", b"11"),
        ("tidegate.offset", b"9007199254740993"),
        ("tidegate.timestamp", b"1760000041200"),
    ];
    push(&mut batch, P0, 0, Some(b"{\xff\0"), &headers);
    push(&mut batch, P0, 1, None, &[("odd\0", b"\xff\0"), ("tidegate.offset", b"many")]);
    assert_eq!(deliver(&mut sink, &batch).await, []);
    let sql = "select reason, detail, source_topic, source_partition::text, source_offset::text, \
               extract(epoch from time)::bigint::text, encode(key, 'escape'), encode(value, 'hex'), headers::text \
               from dead_letters order by \"offset\"";
    assert_eq!(
        database.lines(sql).await,
        [
            "invalid_json|at byte 0|raw-events|11|9007199254740993|1760000041|user-1|7bff00|{\"tidegate.topic\": \
             \"raw-events\", \"tidegate.detail\": \"at byte 0\", \"tidegate.offset\": \"9007199254740993\", \
             \"tidegate.reason\": [\"older\", \"invalid_json\"], \"tidegate.partition\": \"11\", \
             \"tidegate.timestamp\": \"1760000041200\"}",
            "null|null|null|null|null|1760000000|user-1|null|{\"odd\u{fffd}\": \"\u{fffd}\u{fffd}\", \
             \"tidegate.offset\": \"many\"}",
        ]
    );
}
