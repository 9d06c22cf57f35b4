//! Dead letters on their way back to where they came from: what their headers say, which are meant, and which are back
//! already.

use crate::{
    PartitionId, TimestampMs,
    dead_letter::{DETAIL, OFFSET, PARTITION, REASON, SINK, SIZE, TIMESTAMP, TOPIC, last_header},
    record::{Headers, push_header},
};

/// Header of a record that was sent again: the position of its dead letter, as `topic-partition-offset`.
pub const REDRIVEN: &str = "tidegate.redriven";

/// What the headers of a dead letter say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter<'a> {
    /// Why it is one.
    pub reason: &'a str,
    /// What was wrong, and where.
    pub detail: &'a str,
    /// The topic that it came from.
    pub topic: &'a str,
    /// Its partition there.
    pub partition: PartitionId,
    /// Its offset there.
    pub offset: i64,
    /// Its Kafka timestamp there.
    pub timestamp: TimestampMs,
    /// The sink whose destination refused it; `None` if the pipeline did.
    pub sink: Option<&'a str>,
    /// Only the beginning of its value is left.
    pub is_cut: bool,
}

impl<'a> Letter<'a> {
    /// Reads the headers; `None` if it is not a dead letter of ours.
    #[must_use]
    pub fn read(headers: Headers<'a>) -> Option<Self> {
        let (_, added) = split(headers)?;
        let text = |name| last_header(added, name).and_then(|value| str::from_utf8(value).ok());
        Some(Self {
            reason: text(REASON)?,
            detail: text(DETAIL).unwrap_or_default(),
            topic: text(TOPIC)?,
            partition: PartitionId(text(PARTITION)?.parse().ok()?),
            offset: text(OFFSET)?.parse().ok()?,
            timestamp: TimestampMs(text(TIMESTAMP)?.parse().ok()?),
            sink: text(SINK),
            is_cut: last_header(added, SIZE).is_some(),
        })
    }
}

/// The record's own headers, and those that were added when it became a dead letter. A record may have become one more than
/// once: only what was added last is meant.
fn split(headers: Headers<'_>) -> Option<(Headers<'_>, Headers<'_>)> {
    let (mut rest, mut begin, mut sink_at) = (headers.into_iter(), None, None);
    loop {
        let at = headers.0.len() - rest.rest().len();
        let Some((name, _)) = rest.next() else { break };
        if name == REASON.as_bytes() {
            begin = Some(sink_at.unwrap_or(at));
        }
        sink_at = (name == SINK.as_bytes()).then_some(at);
    }
    let (own, added) = headers.0.split_at(begin?);
    Some((Headers(own), Headers(added)))
}

/// Where the last header begins if it is [`REDRIVEN`]; else the end.
fn before_redriven(headers: Headers<'_>) -> usize {
    let (mut rest, end) = (headers.into_iter(), headers.0.len());
    let mut before = end;
    loop {
        let at = end - rest.rest().len();
        let Some((name, _)) = rest.next() else { return before };
        before = if name == REDRIVEN.as_bytes() { at } else { end };
    }
}

/// The record's own headers, as they were before it became a dead letter, and where that one is. Of a record that was sent
/// again before, only the last place is told.
#[must_use]
pub fn headers_back(headers: Headers<'_>, letter_at: &str) -> Vec<u8> {
    let own = split(headers).map_or(headers, |(own, _)| own);
    let mut back = own.0[..before_redriven(own)].to_vec();
    push_header(&mut back, REDRIVEN.as_bytes(), Some(letter_at.as_bytes()));
    back
}

/// Which dead letters are meant; what is absent is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this reason.
    pub reason: Option<String>,
    /// Refused by the destination of this sink.
    pub sink: Option<String>,
    /// From this topic.
    pub topic: Option<String>,
    /// Written at this time or later.
    pub from: Option<TimestampMs>,
    /// Written before this time.
    pub to: Option<TimestampMs>,
}

impl Filter {
    /// Whether a dead letter that was written at `time` is meant.
    #[must_use]
    pub fn matches(&self, letter: &Letter<'_>, time: TimestampMs) -> bool {
        let is = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        is(&self.reason, Some(letter.reason))
            && is(&self.sink, letter.sink)
            && is(&self.topic, Some(letter.topic))
            && self.from.is_none_or(|from| time >= from)
            && self.to.is_none_or(|to| time < to)
    }
}

/// Offsets in one block of marks: so many that a block's text is the longest that Kafka keeps with an offset, 4096 bytes.
const BLOCK: i64 = 16_384;

/// Which dead letters of a stretch of one partition were sent again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(Vec<u8>);

impl Marks {
    /// The block that has the mark of an offset.
    #[must_use]
    pub fn block_of(offset: i64) -> i64 {
        offset.div_euclid(BLOCK)
    }

    /// Whether an offset of this block is marked.
    #[must_use]
    pub fn has(&self, offset: i64) -> bool {
        let (byte, bit) = place(offset);
        self.0.get(byte).is_some_and(|byte| byte & bit != 0)
    }

    /// Marks an offset of this block.
    pub fn add(&mut self, offset: i64) {
        let (byte, bit) = place(offset);
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        self.0[byte] |= bit;
    }

    /// As text of at most 4096 bytes: two hexadecimal digits for eight offsets.
    #[must_use]
    pub fn encode(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads the text; `None` if it is none of ours.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let digits = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let whole = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        whole.then(|| text.as_bytes().chunks(2).map(digits).collect::<Option<_>>())?.map(Self)
    }
}

fn place(offset: i64) -> (usize, u8) {
    let index = offset.rem_euclid(BLOCK) as usize;
    (index / 8, 1 << (index % 8))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{dead_letter, event::Reason};

    fn headers(own: &[(&str, &str)], sink: Option<&str>) -> Vec<u8> {
        let mut encoded = Vec::new();
        for (name, value) in own {
            push_header(&mut encoded, name.as_bytes(), Some(value.as_bytes()));
        }
        let reason = if sink.is_some() { Reason::SinkRejected } else { Reason::InvalidJson };
        if let Some(sink) = sink {
            push_header(&mut encoded, SINK.as_bytes(), Some(sink.as_bytes()));
        }
        for (name, value) in dead_letter::headers(reason, "why", "raw", PartitionId(3), 17, TimestampMs(5)) {
            push_header(&mut encoded, name.as_bytes(), Some(value.as_bytes()));
        }
        encoded
    }

    #[test]
    fn a_dead_letter_says_where_it_came_from_and_who_refused_it() {
        let encoded = headers(&[], Some("warehouse"));
        let letter = Letter::read(Headers(&encoded)).unwrap();
        assert_eq!((letter.topic, letter.partition, letter.offset), ("raw", PartitionId(3), 17));
        assert_eq!((letter.reason, letter.sink, letter.is_cut), ("sink_rejected", Some("warehouse"), false));
        assert_eq!(Letter::read(Headers(&[])), None);
    }

    #[test]
    fn of_a_record_that_became_a_dead_letter_twice_the_last_time_is_meant() {
        let mut encoded = headers(&[("trace", "1")], Some("warehouse"));
        let first = encoded.len();
        encoded.extend(headers(&[], None));
        assert_eq!(Letter::read(Headers(&encoded)).unwrap().sink, None);
        let back = headers_back(Headers(&encoded), "dead-letters-0-9");
        assert_eq!(back[..first], encoded[..first], "it is the dead letter that it was");
        assert_eq!(Letter::read(Headers(&back)).unwrap().sink, Some("warehouse"));
    }

    #[test]
    fn a_record_goes_back_with_its_own_headers_and_the_place_of_its_dead_letter() {
        let encoded = headers(&[("trace", "1"), ("tidegate.mine", "2")], Some("warehouse"));
        let back = headers_back(Headers(&encoded), "dead-letters-0-9");
        let named: Vec<_> = Headers(&back)
            .into_iter()
            .map(|(name, value)| (str::from_utf8(name).unwrap(), str::from_utf8(value.unwrap()).unwrap()))
            .collect();
        assert_eq!(named, [("trace", "1"), ("tidegate.mine", "2"), (REDRIVEN, "dead-letters-0-9")]);
    }

    #[test]
    fn a_record_that_goes_back_once_more_tells_the_last_place_alone() {
        let first = headers_back(Headers(&headers(&[("trace", "1")], None)), "dead-letters-0-9");
        let again = [first, headers(&[], None)].concat();
        let mut expected = Vec::new();
        push_header(&mut expected, b"trace", Some(b"1"));
        push_header(&mut expected, REDRIVEN.as_bytes(), Some(b"dead-letters-0-12"));
        assert_eq!(headers_back(Headers(&again), "dead-letters-0-12"), expected);
    }

    #[test]
    fn a_filter_takes_what_has_all_that_it_names() {
        let encoded = headers(&[], Some("warehouse"));
        let letter = Letter::read(Headers(&encoded)).unwrap();
        let matches = |filter: &Filter| filter.matches(&letter, TimestampMs(100));
        let named = |name: &str| Some(name.to_owned());
        assert!(matches(&Filter::default()));
        assert!(matches(&Filter {
            reason: named("sink_rejected"),
            sink: named("warehouse"),
            topic: named("raw"),
            from: Some(TimestampMs(100)),
            to: Some(TimestampMs(101)),
        }));
        for other in [
            Filter { sink: named("search"), ..Filter::default() },
            Filter { reason: named("invalid_json"), ..Filter::default() },
            Filter { from: Some(TimestampMs(101)), ..Filter::default() },
            Filter { to: Some(TimestampMs(100)), ..Filter::default() },
        ] {
            assert!(!matches(&other), "{other:?}");
        }
    }

    #[test]
    fn marks_survive_as_text_that_is_never_too_long() {
        let mut marks = Marks::default();
        assert_eq!(Marks::decode("").unwrap(), marks);
        let marked = [0, 1, 9, BLOCK - 1];
        for offset in marked {
            marks.add(offset + 5 * BLOCK);
        }
        let text = marks.encode();
        assert!(text.len() <= 4096, "{}", text.len());
        let read = Marks::decode(&text).unwrap();
        for offset in 0..BLOCK {
            assert_eq!(read.has(offset + 5 * BLOCK), marked.contains(&offset), "{offset}");
        }
        assert_eq!(Marks::block_of(5 * BLOCK), 5);
        assert!(Marks::decode("0").is_none() && Marks::decode("é0").is_none());
    }
}
