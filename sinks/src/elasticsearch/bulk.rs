//! A bulk request and its answer.

use std::io::{self, Write as _};

use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tidegate_core::delivery::Answer;

use super::{document::Documents, index::IndexName};
use crate::{Batch, http::shown};

/// Longest id that a server takes.
const MAX_ID_BYTES: usize = 512;
/// What a document takes beside its record, about.
const DOCUMENT_OVERHEAD_BYTES: usize = 160;

/// Asks for what [`judge`] reads, and no more: an answer names every document.
pub(super) const ANSWER: &str =
    "filter_path=items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason";

/// Errors that come as a refusal of one document, but concern the index: every document would be refused. They are
/// somebody's to mend, and until then tried again.
const NOT_THE_DOCUMENTS: [&str; 6] = [
    "index_not_found_exception",
    "index_closed_exception",
    "invalid_index_name_exception",
    "cluster_block_exception",
    // No more shards in this cluster.
    "validation_exception",
    "security_exception",
];

/// A bulk request.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    /// Two lines for each document.
    pub(super) body: Vec<u8>,
    /// Index in the batch of each document's record.
    pub(super) sent: Vec<usize>,
    /// Records that cannot be documents, each with the reason.
    pub(super) refused: Vec<(usize, String)>,
}

impl Bulk {
    /// The documents of these records. Each is to be created: one that is there already stays as it is.
    pub(super) fn of(batch: &Batch, records: &[usize], documents: &Documents, index: &IndexName) -> Self {
        let mut bulk = Self::default();
        bulk.body.reserve(batch.size_bytes() + batch.len() * DOCUMENT_OVERHEAD_BYTES);
        for &record in records {
            match documents.of(&batch.record(record)) {
                Ok(None) => {}
                Err(reason) => bulk.refused.push((record, reason)),
                Ok(Some(document)) => {
                    bulk.body.extend_from_slice(b"{\"create\":{\"_id\":");
                    push_json(&mut bulk.body, &short(&document.id));
                    if index.fixed().is_none() {
                        bulk.body.extend_from_slice(b",\"_index\":");
                        push_json(&mut bulk.body, &index.at(document.time));
                    }
                    bulk.body.extend_from_slice(b"}}\n");
                    document.write(&mut bulk.body);
                    bulk.body.push(b'\n');
                    bulk.sent.push(record);
                }
            }
        }
        bulk
    }
}

/// An id that a server takes: one that is too long gives way to its hash.
fn short(id: &str) -> String {
    if id.len() <= MAX_ID_BYTES {
        return id.to_owned();
    }
    Sha256::digest(id).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn push_json(out: &mut Vec<u8>, text: &str) {
    // A string written to memory cannot fail.
    _ = serde_json::to_writer(out, text);
}

/// The body, compressed; the fastest level takes most of what there is to gain.
pub(super) fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

#[derive(Deserialize)]
struct Reply {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Created,
}

#[derive(Deserialize)]
struct Created {
    status: u16,
    error: Option<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    r#type: Option<String>,
    reason: Option<String>,
    caused_by: Option<Box<Cause>>,
}

impl Created {
    /// What became of a document.
    fn answer(&self) -> Answer {
        let kind = self.error.as_ref().and_then(|error| error.r#type.as_deref()).unwrap_or_default();
        match Answer::of_status(self.status) {
            // It was created by an earlier try.
            Answer::Refused if self.status == 409 && kind == "version_conflict_engine_exception" => {
                Answer::Delivered
            }
            Answer::Refused
                if [401, 403, 409].contains(&self.status) || NOT_THE_DOCUMENTS.contains(&kind) =>
            {
                Answer::TryAgain
            }
            answer => answer,
        }
    }

    /// What the server says about it.
    fn words(&self) -> String {
        let mut words = self.status.to_string();
        let mut next = self.error.as_ref();
        let mut separator = " ";
        while let Some(Cause { r#type, reason, caused_by }) = next {
            for part in [r#type, reason].into_iter().flatten() {
                words = format!("{words}{separator}{part}");
                separator = ": ";
            }
            next = caused_by.as_deref();
        }
        shown(&words, std::iter::empty())
    }
}

/// What became of the documents of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Refused for good, each with the reason.
    pub(super) refused: Vec<(usize, String)>,
    /// To be tried again.
    pub(super) again: Vec<usize>,
    /// What is said of the first of those.
    pub(super) cause: Option<String>,
}

/// Reads the answer to a request with these documents; an error tells that it is no such answer.
pub(super) fn judge(answer: &[u8], sent: &[usize]) -> Result<Judgement, String> {
    let Reply { items } =
        serde_json::from_slice(answer).map_err(|error| format!("the answer cannot be read: {error}"))?;
    if items.len() != sent.len() {
        return Err(format!("the answer has {} results for {} documents", items.len(), sent.len()));
    }
    let mut judgement = Judgement::default();
    for (&record, Item { create }) in sent.iter().zip(&items) {
        match create.answer() {
            Answer::Delivered => {}
            Answer::Refused => judgement.refused.push((record, create.words())),
            Answer::TryAgain => {
                judgement.again.push(record);
                judgement.cause.get_or_insert_with(|| create.words());
            }
        }
    }
    Ok(judgement)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use serde_json::json;
    use tidegate_core::{PartitionId, TimestampMs, event::FieldPaths, record::Topic};
    use tidegate_log::RecordRef;

    use super::*;

    fn bulk(index: &str, topic: Topic, values: &[Option<&str>]) -> Bulk {
        let mut batch = Batch::default();
        for (offset, value) in (0..).zip(values) {
            let (partition, timestamp) = (PartitionId(1), TimestampMs(1_760_000_041_200));
            let value = value.map(str::as_bytes);
            batch.push(RecordRef { partition, offset, timestamp, key: None, value }, &mut |_| {});
        }
        let documents = Documents::new(topic, "events", &FieldPaths::default());
        let records: Vec<usize> = (0..batch.len()).collect();
        Bulk::of(&batch, &records, &documents, &IndexName::new(index))
    }

    #[test]
    fn a_request_creates_each_document_under_its_records_position() {
        let values = [Some(r#"{"event_type":"e"}"#), None, Some("no JSON"), Some("{\n}")];
        let made = bulk("log-{yyyy}", Topic::Processed, &values);
        let expected = concat!(
            r#"{"create":{"_id":"events-1-0","_index":"log-2025"}}"#,
            "\n",
            r#"{"@timestamp":"2025-10-09T08:54:01.200Z","event_type":"e"}"#,
            "\n",
            r#"{"create":{"_id":"events-1-3","_index":"log-2025"}}"#,
            "\n",
            r#"{"@timestamp":"2025-10-09T08:54:01.200Z" }"#,
            "\n",
        );
        assert_eq!(String::from_utf8(made.body.clone()).unwrap(), expected);
        assert_eq!((made.sent, made.refused.len(), made.refused[0].0), (vec![0, 3], 1, 2));
        let fixed = bulk("log", Topic::Processed, &values[..1]).body;
        assert!(fixed.starts_with(b"{\"create\":{\"_id\":\"events-1-0\"}}\n"));
        let mut unpacked = Vec::new();
        GzDecoder::new(&gzip(&made.body).unwrap()[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, made.body);
    }

    #[test]
    fn an_id_that_is_too_long_gives_way_to_its_hash() {
        assert_eq!(short(&"a".repeat(512)).len(), 512);
        assert_eq!(short(&"a".repeat(513)).len(), 64);
    }

    /// What follows from the answer to one document.
    fn judged(status: u16, kind: &str) -> Judgement {
        let item = json!({"create": {"status": status, "error": {"type": kind, "reason": "why"}}});
        judge(json!({ "items": [item] }).to_string().as_bytes(), &[5]).unwrap()
    }

    #[test]
    fn every_document_is_judged_by_its_own_answer() {
        let answer = json!({"items": [
            {"create": {"status": 201}},
            {"create": {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "there"}}},
            {"create": {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "field [a]",
                "caused_by": {"reason": "For input\nstring"}}}},
            {"create": {"status": 429, "error": {"type": "rejected_execution_exception", "reason": "busy"}}},
            {"create": {"status": 503}},
        ]});
        let judgement = judge(answer.to_string().as_bytes(), &[0, 2, 4, 6, 8]).unwrap();
        let refused = vec![(4, "400 mapper_parsing_exception: field [a]: For input string".to_owned())];
        let cause = Some("429 rejected_execution_exception: busy".to_owned());
        assert_eq!(judgement, Judgement { refused, again: vec![6, 8], cause });
    }

    #[test]
    fn what_is_wrong_with_the_index_is_not_blamed_on_the_document() {
        for (status, kind) in [
            (404, "index_not_found_exception"),
            (403, "cluster_block_exception"),
            (403, "security_exception"),
            (400, "index_closed_exception"),
            (400, "validation_exception"),
            (409, "something_else"),
            (500, ""),
        ] {
            assert_eq!(judged(status, kind).again, [5], "{status} {kind}");
        }
        for (status, kind) in [(400, "strict_dynamic_mapping_exception"), (400, ""), (413, "")] {
            assert_eq!(judged(status, kind).refused.len(), 1, "{status} {kind}");
        }
    }

    #[test]
    fn an_answer_to_something_else_is_told() {
        for answer in ["", "null", "{}", r#"{"items":[]}"#, r#"{"items":[{"index":{"status":201}}]}"#] {
            assert!(judge(answer.as_bytes(), &[1]).is_err(), "{answer}");
        }
    }
}
