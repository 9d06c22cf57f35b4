//! `dead-letters list` and `show`.

use std::{collections::BTreeMap, ops::ControlFlow, process::ExitCode};

use serde_json::{Value, json};
use tidegate_config::Settings;
use tidegate_core::{TimestampMs, redrive::Filter};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Failed, failed,
    scan::{Book, Found, open, scan},
};
use crate::commands::config_args;

/// How much of a value or key is printed for people.
const SHOWN_CHARS: usize = 200;

/// Dead letters of one reason, sink and topic.
struct Sum {
    letters: u64,
    sent_again: u64,
    first: TimestampMs,
    last: TimestampMs,
}

pub(super) fn list(settings: &Settings, filter: &Filter, as_json: bool) -> Result<ExitCode, Failed> {
    let opened = open(settings)?;
    let mut book = Book::open(settings, &opened).map_err(failed)?;
    let mut sums: BTreeMap<(String, Option<String>, String), Sum> = BTreeMap::new();
    let mut wrong = None;
    scan(&*opened.log, filter, &mut |found| {
        let is_sent = match book.has(found.partition, found.offset) {
            Ok(is_sent) => is_sent,
            Err(error) => {
                wrong = Some(error);
                return ControlFlow::Break(());
            }
        };
        let letter = &found.letter;
        let key = (letter.reason.to_owned(), letter.sink.map(str::to_owned), letter.topic.to_owned());
        let new = Sum { letters: 0, sent_again: 0, first: found.timestamp, last: found.timestamp };
        let sum = sums.entry(key).or_insert(new);
        sum.letters += 1;
        sum.sent_again += u64::from(is_sent);
        sum.first = sum.first.min(found.timestamp);
        sum.last = sum.last.max(found.timestamp);
        ControlFlow::Continue(())
    })
    .map_err(failed)?;
    if let Some(error) = wrong {
        return Err(failed(error));
    }
    if as_json {
        let row = |((reason, sink, topic), sum): (&(String, Option<String>, String), &Sum)| {
            json!({
                "reason": reason, "sink": sink, "topic": topic, "dead_letters": sum.letters,
                "redriven": sum.sent_again, "first": sum.first.0, "last": sum.last.0,
            })
        };
        let rows: Value = sums.iter().map(row).collect();
        return Ok(config_args::print(&format!("{rows:#}\n")));
    }
    if sums.is_empty() {
        return Ok(config_args::print("no dead letters\n"));
    }
    let mut text = format!(
        "{:>8} {:>9}  {:<20} {:<16} {:<20} {:<24} {}\n",
        "letters", "redriven", "reason", "sink", "topic", "first", "last"
    );
    for ((reason, sink, topic), sum) in &sums {
        text += &format!(
            "{:>8} {:>9}  {reason:<20} {:<16} {topic:<20} {:<24} {}\n",
            sum.letters,
            sum.sent_again,
            sink.as_deref().unwrap_or("-"),
            shown_time(sum.first),
            shown_time(sum.last),
        );
    }
    Ok(config_args::print(&text))
}

pub(super) fn show(
    settings: &Settings,
    filter: &Filter,
    limit: usize,
    as_json: bool,
) -> Result<ExitCode, Failed> {
    let opened = open(settings)?;
    let mut book = Book::open(settings, &opened).map_err(failed)?;
    let (mut text, mut shown, mut wrong) = (String::new(), 0, None);
    scan(&*opened.log, filter, &mut |found| {
        if shown == limit {
            return ControlFlow::Break(());
        }
        shown += 1;
        match book.has(found.partition, found.offset) {
            Ok(is_sent) => text += &if as_json { line_of(&found, is_sent) } else { text_of(&found, is_sent) },
            Err(error) => wrong = Some(error),
        }
        if wrong.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .map_err(failed)?;
    match wrong {
        Some(error) => Err(failed(error)),
        None if shown == 0 && !as_json => Ok(config_args::print("no dead letters\n")),
        None => Ok(config_args::print(&text)),
    }
}

fn text_of(found: &Found<'_>, is_sent: bool) -> String {
    let letter = &found.letter;
    let sink = letter.sink.map(|sink| format!(" of sink {sink}")).unwrap_or_default();
    let sent = if is_sent { ", redriven" } else { "" };
    let cut = if letter.is_cut { " (cut)" } else { "" };
    format!(
        "{}/{}  {}  {}{sink}{sent}\n  from   {}/{}/{}\n  detail {}\n  key    {}\n  value{cut}  {}\n",
        found.partition,
        found.offset,
        shown_time(found.timestamp),
        letter.reason,
        letter.topic,
        letter.partition,
        letter.offset,
        printable(letter.detail),
        excerpt(found.key),
        excerpt(found.value),
    )
}

fn line_of(found: &Found<'_>, is_sent: bool) -> String {
    let letter = &found.letter;
    let headers = found
        .headers
        .into_iter()
        .map(|(name, value)| json!([String::from_utf8_lossy(name), value.map(String::from_utf8_lossy)]));
    let line = json!({
        "partition": found.partition.0,
        "offset": found.offset,
        "timestamp": found.timestamp.0,
        "reason": letter.reason,
        "detail": letter.detail,
        "sink": letter.sink,
        "topic": letter.topic,
        "topic_partition": letter.partition.0,
        "topic_offset": letter.offset,
        "redriven": is_sent,
        "is_cut": letter.is_cut,
        "key": found.key.map(String::from_utf8_lossy),
        "value": found.value.map(String::from_utf8_lossy),
        "headers": headers.collect::<Vec<_>>(),
    });
    format!("{line}\n")
}

fn excerpt(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN_CHARS)]).into_owned();
    let mut chars = text.chars();
    let shown: String = chars.by_ref().take(SHOWN_CHARS).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("{}{more}", printable(&shown))
}

/// Without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

fn shown_time(TimestampMs(ms): TimestampMs) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| ms.to_string())
}
