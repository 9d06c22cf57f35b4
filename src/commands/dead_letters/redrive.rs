//! `dead-letters redrive`: each dead letter goes back once.
//!
//! What goes to the input topic is written in one transaction with the marks of its dead letters. What goes to a sink is
//! delivered first and marked then: delivered twice it changes nothing, because it is the same row or document, or has the
//! same `webhook-id`.

use std::{collections::BTreeMap, ops::ControlFlow, process::ExitCode};

use tidegate_config::{Destination, Settings, Sink};
use tidegate_core::{
    PartitionId,
    output::{RECORD_OVERHEAD_BYTES, headers_size_bytes},
    partitioner::partition_for_key,
    record::{ByteRange, Origin, OutputBatch, OutputRecord, Topic},
    redrive::{Filter, headers_back},
};
use tidegate_log::{LogError, RecordRef};
use tidegate_sinks::{Batch, Setup};

use super::{
    Failed, failed,
    scan::{Book, Found, Opened, open, scan},
};
use crate::{
    commands::{config_args, fail},
    daemon, exit, wiring,
};

/// Dead letters that are sent and marked together.
const BATCH: usize = 500;
/// Bytes with which a batch is full, too.
const BATCH_BYTES: usize = 4 << 20;
/// The same as [`BATCH`] for webhooks: so many requests at most are sent again if the command is killed.
const BATCH_REQUESTS: usize = 20;

const RUN_AGAIN: &str = "run the command again, what is done is not done twice";

/// Where a dead letter lies.
type Place = (PartitionId, i64);

/// What was done, and what was not.
#[derive(Debug, Default)]
struct Counts {
    to_input: u64,
    to_sinks: BTreeMap<String, u64>,
    before: u64,
    refused: u64,
    /// Why others stay where they are, and how many.
    left: BTreeMap<String, u64>,
}

struct Redrive<'a> {
    settings: &'a Settings,
    opened: &'a Opened,
    book: Book<'a>,
    is_dry: bool,
    counts: Counts,
    input: OutputBatch,
    input_letters: Vec<Place>,
    sinks: BTreeMap<&'a str, (Batch, Vec<Place>)>,
    /// Sinks whose destinations do not answer, and why: they do not keep the others waiting.
    away: BTreeMap<&'a str, String>,
}

pub(super) fn redrive(settings: &Settings, filter: &Filter, is_dry: bool) -> Result<ExitCode, Failed> {
    let opened = open(settings)?;
    let mut book = Book::open(settings, &opened).map_err(failed)?;
    if !is_dry {
        book.take_over().map_err(failed)?;
    }
    let (counts, input, input_letters, sinks, away) = Default::default();
    let opened = &opened;
    let mut redrive = Redrive { settings, opened, book, is_dry, counts, input, input_letters, sinks, away };
    let mut stopped = None;
    let scanned = scan(&*opened.log, filter, &mut |found| match redrive.take(&found) {
        Ok(()) => ControlFlow::Continue(()),
        Err(why) => {
            stopped = Some(why);
            ControlFlow::Break(())
        }
    });
    let stopped = match (stopped, scanned) {
        (Some(why), _) => Some(why),
        (None, Err(error)) => Some(interrupted(error)),
        (None, Ok(())) => redrive.flush_all().err(),
    };
    let report = redrive.counts.report(is_dry, &wiring::topic_names(settings)[Topic::Raw as usize]);
    let printed = config_args::print(&report);
    for (sink, why) in &redrive.away {
        fail(exit::UNAVAILABLE, format_args!("sink {sink}: {why}; {RUN_AGAIN}"));
    }
    match stopped {
        Some((code, why)) => Ok(fail(code, why)),
        None if !redrive.away.is_empty() => Ok(ExitCode::from(exit::UNAVAILABLE)),
        None if redrive.counts.refused > 0 || !redrive.counts.left.is_empty() => {
            Ok(ExitCode::from(exit::FAILED))
        }
        None => Ok(printed),
    }
}

impl<'a> Redrive<'a> {
    fn take(&mut self, found: &Found<'_>) -> Result<(), Failed> {
        if self.book.has(found.partition, found.offset).map_err(failed)? {
            self.counts.before += 1;
            return Ok(());
        }
        if found.letter.is_cut {
            self.leave("only the beginning of the value is left");
            return Ok(());
        }
        match found.letter.sink {
            Some(name) => self.take_for_sink(name, found),
            None => self.take_for_input(found),
        }
    }

    fn leave(&mut self, why: impl Into<String>) {
        *self.counts.left.entry(why.into()).or_default() += 1;
    }

    fn take_for_sink(&mut self, name: &str, found: &Found<'_>) -> Result<(), Failed> {
        let Some(sink) = self.settings.sinks.iter().find(|sink| sink.name == name) else {
            self.leave(format!("sink {name:?} is not in this configuration"));
            return Ok(());
        };
        if wiring::topic_name(self.settings, sink.topic) != found.letter.topic {
            self.leave(format!("sink {name:?} does not read topic {:?}", found.letter.topic));
            return Ok(());
        }
        if self.away.contains_key(name) {
            self.leave(is_away(name));
            return Ok(());
        }
        let (batch, letters) = self.sinks.entry(sink.name.as_str()).or_default();
        let record = RecordRef {
            partition: found.letter.partition,
            offset: found.letter.offset,
            timestamp: found.letter.timestamp,
            key: found.key,
            value: found.value,
        };
        let headers = headers_back(found.headers, &self.opened.name_of(found));
        batch.push(record, &mut |arena| arena.extend_from_slice(&headers));
        letters.push((found.partition, found.offset));
        let most = if matches!(sink.destination, Destination::Webhook(_)) { BATCH_REQUESTS } else { BATCH };
        let is_full = letters.len() >= most || batch.size_bytes() >= BATCH_BYTES;
        if is_full { self.flush_sink(sink) } else { Ok(()) }
    }

    fn take_for_input(&mut self, found: &Found<'_>) -> Result<(), Failed> {
        let raw = &self.opened.topics[Topic::Raw as usize];
        if found.letter.topic != raw.name {
            self.leave(format!("it came from topic {:?}, the input is {:?}", found.letter.topic, raw.name));
            return Ok(());
        }
        let partition = match found.key {
            _ if found.letter.partition.0 < raw.partitions => found.letter.partition.0,
            Some(key) => partition_for_key(key, raw.partitions),
            None => found.letter.partition.0 % raw.partitions,
        };
        let headers = headers_back(found.headers, &self.opened.name_of(found));
        let bytes_len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let size = bytes_len(found.key) + bytes_len(found.value) + headers_size_bytes(&headers);
        if size + RECORD_OVERHEAD_BYTES > raw.max_message_bytes {
            let (name, limit) = (&raw.name, raw.max_message_bytes);
            self.leave(format!("topic {name} takes at most {limit} bytes a message"));
            return Ok(());
        }
        let arena = &mut self.input.arena;
        let mut own = |bytes: &[u8]| ByteRange::push(arena, bytes);
        let (key, value) = (found.key.map(&mut own), found.value.map(&mut own));
        let headers = own(&headers);
        self.input.records.push(OutputRecord {
            topic: Topic::Raw,
            partition,
            timestamp: found.letter.timestamp,
            key,
            value,
            headers,
            origin: Origin::NONE,
        });
        self.input_letters.push((found.partition, found.offset));
        let is_full = self.input_letters.len() >= BATCH || self.input.arena.len() >= BATCH_BYTES;
        if is_full { self.flush_input() } else { Ok(()) }
    }

    fn flush_all(&mut self) -> Result<(), Failed> {
        self.flush_input()?;
        let settings = self.settings;
        settings.sinks.iter().try_for_each(|sink| self.flush_sink(sink))
    }

    fn flush_input(&mut self) -> Result<(), Failed> {
        let (batch, letters) = (std::mem::take(&mut self.input), std::mem::take(&mut self.input_letters));
        if !self.is_dry && !letters.is_empty() {
            self.book.write(&batch, &letters).map_err(interrupted)?;
        }
        self.counts.to_input += letters.len() as u64;
        Ok(())
    }

    fn flush_sink(&mut self, sink: &'a Sink) -> Result<(), Failed> {
        let Some((batch, letters)) = self.sinks.remove(sink.name.as_str()) else { return Ok(()) };
        let sent = self.counts.to_sinks.entry(sink.name.clone()).or_default();
        if self.is_dry {
            *sent += letters.len() as u64;
            return Ok(());
        }
        let topic_name = wiring::topic_name(self.settings, sink.topic);
        let setup = Setup { sink, topic_name, paths: &self.settings.event };
        let done = daemon::block_on(async { Ok(tidegate_sinks::redeliver(setup, &batch).await) })
            .map_err(|failure| (failure.code, failure.text))?;
        *sent += done.delivered.len() as u64;
        self.counts.refused += done.refused.len() as u64;
        for (record, why) in &done.refused {
            let (partition, offset) = letters[*record];
            eprintln!("refused again: {partition}/{offset}: sink {}: {why}", sink.name);
        }
        let marked: Vec<Place> = done.delivered.iter().map(|record| letters[*record]).collect();
        if !marked.is_empty() {
            self.book.write(&OutputBatch::default(), &marked).map_err(interrupted)?;
        }
        if let Some(why) = done.failure {
            let left = letters.len() - done.delivered.len() - done.refused.len();
            *self.counts.left.entry(is_away(&sink.name)).or_default() += left as u64;
            self.away.insert(&sink.name, why);
        }
        Ok(())
    }
}

impl Opened {
    /// Where a dead letter lies, as its record tells when it is back.
    fn name_of(&self, found: &Found<'_>) -> String {
        let topic = &self.topics[Topic::DeadLetters as usize].name;
        format!("{topic}-{}-{}", found.partition, found.offset)
    }
}

fn is_away(sink: &str) -> String {
    format!("sink {sink:?} is away")
}

fn interrupted(error: LogError) -> Failed {
    let why = match error {
        LogError::Fenced(_) => "another redrive has begun, or this one was held up for too long: ",
        _ => "",
    };
    let (code, text) = failed(error);
    (code, format!("{why}{text}; {RUN_AGAIN}"))
}

impl Counts {
    fn report(&self, is_dry: bool, input: &str) -> String {
        let sent = if is_dry { "would be sent" } else { "sent" };
        let mut text = String::new();
        if self.to_input > 0 {
            text += &format!("{} {sent} to topic {input}\n", self.to_input);
        }
        for (sink, count) in self.to_sinks.iter().filter(|(_, count)| **count > 0) {
            text += &format!("{count} {sent} to sink {sink}\n");
        }
        if self.before > 0 {
            text += &format!("{} were sent before\n", self.before);
        }
        if self.refused > 0 {
            text += &format!("{} were refused again and stay\n", self.refused);
        }
        for (why, count) in &self.left {
            text += &format!("{count} stay: {why}\n");
        }
        if text.is_empty() { "no dead letters to send\n".to_owned() } else { text }
    }
}
