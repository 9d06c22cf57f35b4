//! What has to come out, computed from what went in: naively, one record at a time, and with no line of the
//! pipeline's code.
//!
//! Which event is late, and which ones were counted first, depends on where epochs are cut. Inputs are made so
//! that it does not matter: within a [`Phase`] nothing can become late, and of what an alert shows of the order
//! of counting only what holds for any order is compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    events::BOT_MARKS,
    geo,
    json::{find, members},
    kafka::{Headers, Record},
};

const MAX_EVENT_BYTES: usize = 1024 * 1024;
const MAX_SERVICE_BYTES: usize = 256;
const END_OF_9999: i64 = 253_402_300_799_999;

/// A `[[rules]]` entry.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: &'static str,
    pub event_type: &'static str,
    pub window: &'static str,
    pub window_ms: i64,
    pub slide_ms: i64,
    pub threshold: u64,
    pub message: &'static str,
    pub phases: &'static [&'static str],
}

/// A rule whose windows overlap.
pub const SLIDING_RULE: Rule = Rule {
    name: "many-clicks",
    event_type: "click",
    window: "30s",
    window_ms: 30_000,
    slide_ms: 10_000,
    threshold: 20,
    message: "{count} clicks",
    phases: &["crossed", "closed"],
};

/// The rule of the default configuration.
pub const DEFAULT_RULE: Rule = Rule {
    name: "high-error-rate",
    event_type: "error",
    window: "60s",
    window_ms: 60_000,
    slide_ms: 60_000,
    threshold: 50,
    message: "High error rate: {count} errors in {window}",
    phases: &["crossed", "closed"],
};

impl Rule {
    /// As it stands in the configuration.
    pub fn toml(&self) -> String {
        format!(
            "[[rules]]\nname = {:?}\nevent_type = {:?}\nwindow = {:?}\nslide = \"{}ms\"\nthreshold = {}\n\
             message = {:?}\nemit = {:?}\n",
            self.name, self.event_type, self.window, self.slide_ms, self.threshold, self.message, self.phases
        )
    }

    /// Starts of the windows that a timestamp lies in.
    pub fn windows(&self, timestamp: i64) -> Vec<i64> {
        let last = timestamp - timestamp.rem_euclid(self.slide_ms);
        let starts = (0..self.window_ms / self.slide_ms).map(|n| last - n * self.slide_ms);
        starts.filter(|start| *start >= 0 && timestamp < start + self.window_ms).collect()
    }
}

/// The configuration as far as it decides about records.
#[derive(Debug, Clone)]
pub struct Job {
    pub rules: Vec<Rule>,
    pub allowed_lateness_ms: i64,
    pub max_future_ms: i64,
    pub evidence: usize,
    /// Events whose enriched value is longer do not fit the output topic.
    pub max_output_bytes: usize,
    /// Events that contain this cannot be processed, by a fault that is injected.
    pub poison: Option<&'static str>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            rules: vec![DEFAULT_RULE],
            allowed_lateness_ms: 0,
            max_future_ms: 300_000,
            evidence: 5,
            max_output_bytes: MAX_EVENT_BYTES,
            poison: None,
        }
    }
}

/// The watermark that decides about the lateness of the records before some offsets.
#[derive(Debug, Clone)]
pub struct Phase {
    /// By partition, exclusive.
    pub until: Vec<i64>,
    /// `None`: nothing is late.
    pub watermark: Option<i64>,
}

/// What becomes of one record.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    Skipped,
    Dead(&'static str),
    Bot { future: bool },
    Forwarded(Forwarded),
}

/// An event that goes on.
#[derive(Debug, PartialEq, Eq)]
pub struct Forwarded {
    pub value: Vec<u8>,
    pub event_type: String,
    pub service: String,
    pub user_id: Option<String>,
    pub timestamp: i64,
    pub future: bool,
}

/// A record of `processed-events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub headers: Headers,
    pub timestamp: i64,
}

/// Names a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowId {
    pub rule: &'static str,
    pub service: String,
    pub start: i64,
}

/// A counted event, as far as an alert may show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user_id: Option<String>,
    pub timestamp: i64,
}

/// All that has to come out.
#[derive(Debug, Default)]
pub struct Expected {
    /// By input partition and offset.
    pub processed: Vec<Processed>,
    /// Reasons by input partition and offset, with the input.
    pub dead: BTreeMap<(i32, i64), (&'static str, Record)>,
    pub records: u64,
    pub skipped: u64,
    pub bots: u64,
    pub future: u64,
    pub late: BTreeMap<&'static str, u64>,
    /// Counted events of each window by input partition and offset.
    pub windows: BTreeMap<WindowId, BTreeMap<(i32, i64), Member>>,
}

impl Expected {
    /// What has to come out of all `records` of the input topic.
    pub fn of(records: &[Record], job: &Job, phases: &[Phase]) -> Self {
        let mut expected = Self::default();
        for record in records {
            expected.records += 1;
            match fate(record, job) {
                Fate::Skipped => expected.skipped += 1,
                Fate::Dead(reason) => {
                    expected.dead.insert((record.partition, record.offset), (reason, record.clone()));
                }
                Fate::Bot { future } => {
                    expected.bots += 1;
                    expected.future += u64::from(future);
                }
                Fate::Forwarded(event) => {
                    expected.count(record, &event, job, watermark(record, phases));
                    expected.processed.push(Processed {
                        partition: record.partition,
                        key: record.key.clone(),
                        value: event.value,
                        headers: record.headers.clone(),
                        timestamp: record.timestamp,
                    });
                }
            }
        }
        expected
    }

    fn count(&mut self, record: &Record, event: &Forwarded, job: &Job, watermark: Option<i64>) {
        if event.future {
            self.future += 1;
            return;
        }
        for rule in job.rules.iter().filter(|rule| rule.event_type == event.event_type) {
            for start in rule.windows(event.timestamp) {
                let closes = start + rule.window_ms + job.allowed_lateness_ms;
                if watermark.is_some_and(|watermark| closes <= watermark) {
                    *self.late.entry(rule.name).or_default() += 1;
                    continue;
                }
                let id = WindowId { rule: rule.name, service: event.service.clone(), start };
                let member = Member { user_id: event.user_id.clone(), timestamp: event.timestamp };
                self.windows.entry(id).or_default().insert((record.partition, record.offset), member);
            }
        }
    }

    /// The windows that raise alerts, with their rules.
    pub fn alerts<'a>(
        &'a self,
        job: &'a Job,
    ) -> impl Iterator<Item = (&'a WindowId, &'a Rule, &'a BTreeMap<(i32, i64), Member>)> {
        self.windows.iter().filter_map(|(id, members)| {
            let rule = job.rules.iter().find(|rule| rule.name == id.rule)?;
            (members.len() as u64 > rule.threshold).then_some((id, rule, members))
        })
    }

    /// Reasons of dead letters that occur.
    pub fn reasons(&self) -> BTreeSet<&'static str> {
        self.dead.values().map(|(reason, _)| *reason).collect()
    }
}

fn watermark(record: &Record, phases: &[Phase]) -> Option<i64> {
    phases.iter().find(|phase| record.offset < phase.until[record.partition as usize])?.watermark
}

/// What becomes of a record.
pub fn fate(record: &Record, job: &Job) -> Fate {
    let Some(value) = &record.value else { return Fate::Skipped };
    let text = match checked(value) {
        Ok(text) => text,
        Err(reason) => return Fate::Dead(reason),
    };
    if job.poison.is_some_and(|poison| text.contains(poison)) {
        return Fate::Dead("processing_failed");
    }
    let (event_type, timestamp, service) = match fields(text) {
        Ok((event_type, timestamp, service)) => (event_type, timestamp.unwrap_or(record.timestamp), service),
        Err(reason) => return Fate::Dead(reason),
    };
    let future = timestamp > record.timestamp + job.max_future_ms;
    if is_bot(text) {
        return Fate::Bot { future };
    }
    let value = enriched(text, geo_of(text));
    if value.len() > job.max_output_bytes {
        return Fate::Dead("output_too_large");
    }
    let user_id = find(text, &["user_id"]).and_then(|at| string(&text[at]));
    Fate::Forwarded(Forwarded { value, event_type, service, user_id, timestamp, future })
}

fn checked(value: &[u8]) -> Result<&str, &'static str> {
    if value.len() > MAX_EVENT_BYTES {
        return Err("too_large");
    }
    let text = std::str::from_utf8(value).map_err(|_| "invalid_utf8")?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| "invalid_json")?;
    text.trim_start().starts_with('{').then_some(text).ok_or("not_an_object")
}

fn fields(text: &str) -> Result<(String, Option<i64>, String), &'static str> {
    let event_type = find(text, &["event_type"]).filter(|at| &text[at.clone()] != "null");
    let event_type = event_type.ok_or("missing_event_type")?;
    let event_type = string(&text[event_type]).ok_or("invalid_field")?;
    let timestamp = find(text, &["timestamp"]).filter(|at| &text[at.clone()] != "null");
    let timestamp = timestamp.map(|at| integer(&text[at]).ok_or("invalid_field")).transpose()?;
    Ok((event_type, timestamp, service(text)?))
}

fn service(text: &str) -> Result<String, &'static str> {
    for path in [&["service_name"][..], &["payload", "service_name"]] {
        match find(text, path).map(|at| &text[at]) {
            None | Some("null" | r#""""#) => {}
            Some(name) => return string(name).map(cut).ok_or("invalid_field"),
        }
    }
    Ok("unknown".to_owned())
}

fn cut(mut service: String) -> String {
    while service.len() > MAX_SERVICE_BYTES {
        service.pop();
    }
    service
}

fn string(token: &str) -> Option<String> {
    serde_json::from_str(token).ok()
}

fn integer(token: &str) -> Option<i64> {
    let number: i64 = token.parse().ok()?;
    (0..=END_OF_9999).contains(&number).then_some(number)
}

fn strings<'a>(text: &'a str, field: &'a str) -> impl Iterator<Item = String> + 'a {
    let paths = [find(text, &[field]), find(text, &["payload", field])];
    paths.into_iter().flatten().filter_map(|at| string(&text[at]))
}

fn is_bot(text: &str) -> bool {
    strings(text, "user_agent").next().is_some_and(|agent| BOT_MARKS.iter().any(|mark| agent.contains(mark)))
}

fn geo_of(text: &str) -> &'static str {
    strings(text, "ip").find_map(|ip| ip.parse::<IpAddr>().ok()).map_or("null", geo::look_up)
}

/// The event's bytes with `geo` set and nothing else changed.
fn enriched(text: &str, geo: &str) -> Vec<u8> {
    let mut text = text.to_owned();
    let geos = members(&text, 0..text.len()).into_iter().filter(|(key, _)| key == "geo");
    let geos: Vec<_> = geos.map(|(_, value)| value).collect();
    if geos.is_empty() {
        let end = text.rfind('}').unwrap();
        text.insert_str(end, &format!(",\"geo\":{geo}"));
    }
    for value in geos.into_iter().rev() {
        text.replace_range(value, geo);
    }
    text.into_bytes()
}

/// The partition the Java client chooses for a key: Austin Appleby's MurmurHash2 with Kafka's seed.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    (hash & 0x7fff_ffff) as i32 % partitions
}
