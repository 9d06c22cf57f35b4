//! `[[sinks]]`: the keys that all sinks have, and the types with keys of their own.

mod elasticsearch;
mod pair;
mod postgres;
mod webhook;

use std::time::Duration;

use tidegate_core::{delivery::BatchLimits, record::Topic};

use crate::{
    kind::{Bytes, Choice, Count, Derived, Period, Text},
    note::Unwritten,
    sink::{Destination, ELASTICSEARCH, POSTGRES, Sink, WEBHOOK},
    start::Start,
    walk::Walk,
};

/// Most sinks; each has a consumer of its own.
const MAX_SINKS: usize = 50;

/// Of a sink that has no name.
const NO_NAME: &str = "";

/// Reads all sinks.
pub(crate) fn read(walk: &mut Walk<'_>) -> Vec<Sink> {
    walk.tables(
        "sinks",
        MAX_SINKS,
        Unwritten::Empty,
        "Where committed records of the output topics are delivered to, at most 50 sinks; there is none by default. Each \
         is a consumer group of its own, `<kafka.group_id>.sink.<name>`. The keys come first that all sinks have, then \
         those of each type. A secret may be given as it is, or as a file, whose line break at the end does not count.",
        sink,
    )
}

fn sink(walk: &mut Walk<'_>) -> Sink {
    let name = walk.required(
        "name",
        &Text::own_name(),
        NO_NAME.into(),
        "warehouse".into(),
        "Names the sink in metrics, and its consumer group: another name reads from the `start` again.",
    );
    let kind = walk.required(
        "type",
        &Choice(&[
            (POSTGRES, Some(POSTGRES)),
            (ELASTICSEARCH, Some(ELASTICSEARCH)),
            (WEBHOOK, Some(WEBHOOK)),
        ]),
        None,
        Some(POSTGRES),
        "What it delivers to. `elasticsearch` is OpenSearch as well.",
    );
    for (key, help) in [
        ("name", "add a name of its own, such as `name = \"warehouse\"`"),
        ("type", "add `type = \"postgres\"`, `\"elasticsearch\"` or `\"webhook\"`"),
    ] {
        if !walk.is_written_here(key) {
            walk.conflict_here(&[key], "is missing", help);
        }
    }
    let topic = topic(walk, kind);
    let start = walk.key(
        "start",
        &Choice(&[("earliest", Start::Earliest), ("latest", Start::Latest)]),
        Start::Earliest,
        "Where to begin. Used only while the sink has no position yet.",
    );
    let (limits, in_flight_bytes) = limits(walk);
    let give_up_after = walk.key(
        "give_up_after",
        &Period { min: Duration::ZERO, max: Duration::from_secs(30 * 24 * 3600) },
        Duration::ZERO,
        "How long a record is tried before it becomes a dead letter; `0s` is for ever. What a destination refuses for \
         good becomes one at once.",
    );
    let give_up_after = Some(give_up_after).filter(|period| !period.is_zero());
    let destination = destination(walk, kind, topic);
    Sink { name, topic, start, limits, in_flight_bytes, give_up_after, destination }
}

fn topic(walk: &mut Walk<'_>, kind: Option<&str>) -> Topic {
    let topics = Choice(&[
        ("processed", Topic::Processed),
        ("alerts", Topic::Alerts),
        ("dead_letters", Topic::DeadLetters),
    ]);
    walk.derived(
        "topic",
        &Derived { kind: topics, absent: "`\"alerts\"` with `type = \"webhook\"`, else `\"processed\"`" },
        if kind == Some(WEBHOOK) { Topic::Alerts } else { Topic::Processed },
        "Which of `topics` is delivered.",
    )
}

fn limits(walk: &mut Walk<'_>) -> (BatchLimits, usize) {
    let limits = BatchLimits {
        linger: walk.key(
            "linger",
            &Period { min: Duration::ZERO, max: Duration::from_secs(60) },
            Duration::from_millis(200),
            "A batch is sent when it is full or this old.",
        ),
        records: walk.key(
            "batch_records",
            &Count { min: 1, max: 100_000 },
            2000,
            "Records with which a batch is full.",
        ),
        bytes: walk.key(
            "batch_bytes",
            &Bytes { min: 1 << 10, max: 256 << 20 },
            4 << 20,
            "Bytes of records with which a batch is full. Its last record may go beyond.",
        ),
    };
    let in_flight_bytes = walk.key(
        "in_flight_bytes",
        &Bytes { min: 1 << 10, max: 4 << 30 },
        16 << 20,
        "Bytes of records read and not yet delivered. Beyond it reading waits.",
    );
    if in_flight_bytes < limits.bytes {
        let help = "allowed: room for a batch at least, better for four";
        walk.conflict_here(&["in_flight_bytes", "batch_bytes"], "is less than `batch_bytes`", help);
    }
    (limits, in_flight_bytes)
}

/// Reads the keys of all types, of which a sink has those of its own.
fn destination(walk: &mut Walk<'_>, kind: Option<&'static str>, topic: Topic) -> Destination {
    let postgres = walk.variant(POSTGRES, kind, postgres::DOC, |walk| postgres::read(walk, topic));
    let elasticsearch =
        walk.variant(ELASTICSEARCH, kind, elasticsearch::DOC, |walk| elasticsearch::read(walk, topic));
    let webhook = walk.variant(WEBHOOK, kind, webhook::DOC, |walk| webhook::read(walk, topic));
    match kind {
        Some(ELASTICSEARCH) => Destination::Elasticsearch(elasticsearch),
        Some(WEBHOOK) => Destination::Webhook(webhook),
        // Without a type, which is a problem already, it is never used.
        _ => Destination::Postgres(postgres),
    }
}
