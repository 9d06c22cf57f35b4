//! Sites with sinks, and what has to be at the destinations before.

use serde_json::json;

use crate::support::{
    kafka::{Input, Record},
    metrics::Metrics,
    opensearch::OpenSearch,
    postgres::Database,
    site::Site,
    wait,
};

/// A site whose members of groups are missed soon when they are killed. Batches are small, so that many are on their way.
pub(super) fn site(name: &str, partitions: i32) -> Site {
    Site::new(name, partitions)
        .order_free()
        .set("kafka.properties.\"session.timeout.ms\"", "3000")
        .set("kafka.properties.\"heartbeat.interval.ms\"", "500")
}

/// Gives a site its sinks.
pub(super) fn with_sinks(site: Site, sinks: &[String]) -> Site {
    site.set("sinks", &format!("[{}]", sinks.join(", ")))
}

/// An element of `sinks`.
pub(super) fn sink(name: &str, kind: &str, topic: &str, keys: &str) -> String {
    format!(
        r#"{{name = "{name}", type = "{kind}", topic = "{topic}", linger = "20ms", batch_records = 500, {keys}}}"#
    )
}

/// Processed events in PostgreSQL.
pub(super) fn warehouse(url: &str) -> String {
    sink("warehouse", "postgres", "processed", &format!("url = \"{url}\""))
}

/// Processed events in OpenSearch.
pub(super) fn search(url: &str, index: &str) -> String {
    sink("search", "elasticsearch", "processed", &format!("url = \"{url}\", index = \"{index}\""))
}

/// Alerts as they are, posted.
pub(super) fn pager(url: &str) -> String {
    sink("pager", "webhook", "alerts", &format!("url = \"{url}\", format = \"json\", concurrency = 4"))
}

/// All three kinds, and each of the topics.
pub(super) fn all_sinks(site: Site, postgres: &str, opensearch: &str, receiver: &str) -> Site {
    let index = site.name.clone();
    let url = format!("url = \"{postgres}\"");
    let sinks = [
        warehouse(postgres),
        sink("alarms", "postgres", "alerts", &url),
        sink("letters", "postgres", "dead_letters", &url),
        search(opensearch, &index),
        pager(receiver),
    ];
    with_sinks(site, &sinks)
}

/// Creates the tables. They have no primary keys: a row that is written twice is there twice.
pub(super) fn create_tables(database: &Database) {
    database.execute(
        r#"create table processed_events (partition int, "offset" bigint, event_time timestamptz, event_type text,
               service text, user_id text, country text, city text, lat float8, lon float8, event jsonb);
           create table alerts (id text, phase text, rule text, service text, message text, count bigint,
               threshold bigint, window_start timestamptz, window_end timestamptz, first_event_at timestamptz,
               last_event_at timestamptz, evidence jsonb);
           create table dead_letters (partition int, "offset" bigint, reason text, detail text, source_topic text,
               source_partition int, source_offset bigint, time timestamptz, key bytea, value bytea, headers jsonb);
           create table tidegate_sink_offsets (sink text, topic text, partition int, next_offset bigint, owner bigint,
               updated_at timestamptz, primary key (sink, topic, partition))"#,
    );
}

/// How many processed events are in PostgreSQL.
pub(super) fn rows(database: &Database) -> usize {
    database.rows("select count(*) from processed_events")[0]["count"].as_u64().unwrap() as usize
}

/// Creates a site's index, in which `payload` is an object and `payload.n` a number, whichever event comes first.
pub(super) fn create_index(server: &OpenSearch, site: &Site) {
    let mappings = json!({"properties": {"payload": {"properties": {"n": {"type": "long"}}}}});
    let index = json!({"settings": {"number_of_replicas": 0}, "mappings": mappings});
    server.call("PUT", &format!("/{}", site.name), Some(&index));
}

/// Waits until a sink is through with all that its topic holds now, and returns that.
pub(super) fn await_delivered(site: &Site, sink: &str, topic: &str) -> Vec<Record> {
    let records = site.kafka.dump(topic);
    let partitions = site.kafka.partitions(topic);
    let mut ends = vec![0; partitions as usize];
    records.iter().for_each(|record| ends[record.partition as usize] = record.offset + 1);
    let watch = site.kafka.committed_watch(&group(site, sink), topic, partitions);
    wait::until_true(&format!("{sink} to deliver all"), || {
        watch.offsets().is_some_and(|now| now.iter().zip(&ends).all(|(now, end)| now >= end))
    });
    records
}

/// The consumer group of a sink.
pub(super) fn group(site: &Site, sink: &str) -> String {
    format!("{}.sink.{sink}", site.name)
}

/// How much a daemon has delivered to a sink.
pub(super) fn delivered(metrics: &Metrics, sink: &str) -> u64 {
    metrics.sum("tidegate_sink_delivered_total", &[("sink", sink)])
}

/// Leaves out what the tests could not read again from a JSON document: lone surrogates, and numbers that no float is.
pub(super) fn readable(mut inputs: Vec<Input>) -> Vec<Input> {
    let has = |value: &[u8], text: &str| value.windows(text.len()).any(|window| window == text.as_bytes());
    inputs.retain(|input| {
        let value = input.value.as_deref().unwrap_or_default();
        !has(value, "\\ud800") && !has(value, "1e999")
    });
    inputs
}
