//! Comparing what is at a destination with the topic that it was delivered from.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use serde_json::{Value, json};

use super::{SINK_REJECTED, setup::await_delivered};
use crate::support::{
    json::find,
    kafka::Record,
    opensearch::OpenSearch,
    oracle::{Fate, Job, fate},
    postgres::Database,
    receiver::Request,
    site::Site,
};

/// Partition and offset of a record.
pub(super) type Position = (i32, i64);

pub(super) fn position(record: &Record) -> Position {
    (record.partition, record.offset)
}

/// Waits until PostgreSQL has everything, and compares its three tables with the topics.
pub(super) fn tables(site: &Site, database: &Database) {
    let processed = await_delivered(site, "warehouse", &site.topics.processed);
    processed_events(database, &processed);
    let alerts = await_delivered(site, "alarms", &site.topics.alerts);
    assert!(!alerts.is_empty());
    self::alerts(database, &alerts);
    let letters = await_delivered(site, "letters", &site.topics.dead_letters);
    assert!(!letters.is_empty());
    dead_letters(database, &letters);
}

/// `processed_events` holds these records, each once.
pub(super) fn processed_events(database: &Database, records: &[Record]) {
    let query = "select partition, \"offset\", (extract(epoch from event_time) * 1000)::bigint as event_time, event_type, \
                 service, user_id, country, city, lat, lon, event from processed_events";
    assert_rows(database, query, records.iter().map(event_row));
}

fn event_row(record: &Record) -> String {
    let text = std::str::from_utf8(record.value.as_ref().unwrap()).unwrap();
    let Fate::Forwarded(event) = fate(record, &Job::default()) else { panic!("no processed event: {text}") };
    let mut row = json!({
        "partition": record.partition, "offset": record.offset, "event_time": event.timestamp,
        "event_type": event.event_type, "service": event.service, "user_id": event.user_id,
    });
    let geo: Value = serde_json::from_str(&text[find(text, &["geo"]).unwrap()]).unwrap();
    for name in ["country", "city", "lat", "lon"] {
        row[name] = geo[name].clone();
    }
    with_raw(&row, "event", text)
}

/// `alerts` holds these records, each once.
pub(super) fn alerts(database: &Database, records: &[Record]) {
    let mut query = "select id, phase, rule, service, message, count, threshold, evidence".to_owned();
    for time in ["window_start", "window_end", "first_event_at", "last_event_at"] {
        write!(query, ", (extract(epoch from {time}) * 1000)::bigint as {time}").unwrap();
    }
    let rows = records.iter().map(|record| String::from_utf8(record.value.clone().unwrap()).unwrap());
    assert_rows(database, &format!("{query} from alerts"), rows);
}

/// `dead_letters` holds these records, each once.
pub(super) fn dead_letters(database: &Database, records: &[Record]) {
    let query = "select partition, \"offset\", reason, detail, source_topic, source_partition, source_offset, \
                 (extract(epoch from time) * 1000)::bigint as time, key, value, \
                 headers->>'tidegate.sink' as sink from dead_letters";
    assert_rows(database, query, records.iter().map(letter_row));
}

fn letter_row(record: &Record) -> String {
    let hex = |bytes: &Vec<u8>| {
        bytes.iter().fold("\\x".to_owned(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    };
    let header = |name: &str| record.header(&format!("tidegate.{name}"));
    let number = |name: &str| header(name).unwrap().parse::<i64>().unwrap();
    let row = json!({
        "partition": record.partition, "offset": record.offset, "reason": header("reason"), "detail": header("detail"),
        "source_topic": header("topic"), "source_partition": number("partition"), "source_offset": number("offset"),
        "time": number("timestamp"), "key": record.key.as_ref().map(hex), "value": record.value.as_ref().map(hex),
        "sink": header("sink"),
    });
    row.to_string()
}

/// An object with one more member, which is JSON text.
fn with_raw(object: &Value, name: &str, text: &str) -> String {
    let object = object.to_string();
    format!("{},\"{name}\":{text}}}", &object[..object.len() - 1])
}

/// A query finds exactly these rows, each as often as it is here; they are JSON objects with the names of its columns.
fn assert_rows(database: &Database, query: &str, rows: impl Iterator<Item = String>) {
    database.execute(&format!(
        "drop table if exists expected; create table expected as select * from ({query}) found with no data"
    ));
    let rows: Vec<String> = rows.collect();
    for rows in rows.chunks(2000) {
        database.execute(&format!(
            "insert into expected select * from json_populate_recordset(null::expected, $rows$[{}]$rows$)",
            rows.join(",")
        ));
    }
    for (left, right, what) in [("found", "expected", "too much"), ("expected", "found", "missing")] {
        let difference = format!(
            "with found as ({query}), difference as (select * from {left} except all select * from {right}) \
             select *, count(*) over () as rows_differ from difference limit 3"
        );
        let difference = database.rows(&difference);
        assert!(difference.is_empty(), "{what} after {query}: {difference:#?}");
    }
}

/// What a sink refused of a topic: it became dead letters, which tell where they are from and why. With how many there
/// are of each: the process may die between the letter and the position.
pub(super) fn refused(site: &Site, sink: &str, topic: &str, records: &[Record]) -> BTreeMap<Position, usize> {
    let by_position: HashMap<Position, &Record> =
        records.iter().map(|record| (position(record), record)).collect();
    let mut refused = BTreeMap::new();
    for letter in site.kafka.dump(&site.topics.dead_letters) {
        if letter.header("tidegate.sink") != Some(sink) {
            continue;
        }
        let number = |name| letter.header(name).unwrap().parse::<i64>().unwrap();
        let origin = (number("tidegate.partition") as i32, number("tidegate.offset"));
        let record = by_position.get(&origin).unwrap_or_else(|| panic!("{origin:?} is not in {topic}"));
        assert_eq!(letter.header("tidegate.reason"), Some(SINK_REJECTED));
        assert_eq!(letter.header("tidegate.topic"), Some(topic));
        assert_eq!(number("tidegate.timestamp"), record.timestamp);
        let detail = letter.header("tidegate.detail").unwrap();
        assert!(!detail.is_empty() && detail.len() <= 512, "detail {detail:?}");
        assert_eq!(letter.partition, record.partition % 2, "{letter:?}");
        assert!((&letter.key, &letter.value) == (&record.key, &record.value), "{letter:?} of {record:?}");
        assert_eq!(letter.headers[..record.headers.len()], record.headers);
        *refused.entry(origin).or_default() += 1;
    }
    refused
}

/// Waits until OpenSearch has everything, and compares: each event is a document under its own id, or was refused.
pub(super) fn documents(site: &Site, server: &OpenSearch) -> BTreeMap<Position, usize> {
    let topic = &site.topics.processed;
    let records = await_delivered(site, "search", topic);
    let refused = refused(site, "search", topic, &records);
    let mut found: HashMap<String, Value> = HashMap::new();
    for mut document in server.documents(&site.name) {
        let id = document["_id"].as_str().unwrap().to_owned();
        assert!(found.insert(id, document["_source"].take()).is_none());
    }
    for record in &records {
        let id = format!("{topic}-{}-{}", record.partition, record.offset);
        match found.remove(&id) {
            None => assert!(refused.contains_key(&position(record)), "{id} is missing: {record:?}"),
            Some(mut document) => {
                assert!(!refused.contains_key(&position(record)), "{id} is there and refused");
                // What the sink adds.
                assert!(document.as_object_mut().unwrap().remove("@timestamp").is_some(), "{document}");
                if let Some(geo) = document["geo"].as_object_mut() {
                    let location = geo.remove("location");
                    assert_eq!(location.is_some(), geo.contains_key("lat"), "{geo:?}");
                }
                let event: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
                assert_eq!(document, event, "{id}");
            }
        }
    }
    assert!(found.is_empty(), "documents of nothing: {:?}", found.keys());
    refused
}

/// Waits until the receiver has everything, and compares: each alert came, and those of a service in their order.
pub(super) fn requests(site: &Site, requests: impl FnOnce() -> Vec<Request>) {
    let records = await_delivered(site, "pager", &site.topics.alerts);
    let mut first = HashMap::new();
    for (number, request) in requests().into_iter().enumerate() {
        let id = request.header("webhook-id").unwrap().to_owned();
        first.entry(id).or_insert((number, request.body));
    }
    let mut last_of_service: HashMap<String, usize> = HashMap::new();
    for record in &records {
        let value = record.value.as_ref().unwrap();
        let alert: Value = serde_json::from_slice(value).unwrap();
        let text = |name: &str| alert[name].as_str().unwrap().to_owned();
        let id = format!("{}/{}", text("id"), text("phase"));
        let (number, body) = first.remove(&id).unwrap_or_else(|| panic!("{id} did not come"));
        assert_eq!(body, value.as_slice(), "{id}");
        if let Some(before) = last_of_service.insert(text("service"), number) {
            assert!(before < number, "{id} came before another of its service");
        }
    }
    assert!(first.is_empty(), "requests of no alert: {:?}", first.keys());
}
