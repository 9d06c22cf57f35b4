//! What becomes of a record, in this order: a tombstone is passed over; what is no event goes to the dead letters; an
//! event that is not from the far future moves the watermark; a bot is dropped; rules count what is neither from the
//! far future nor a bot; all but bots is forwarded.

use super::{Event, EventParser, Rejection};
use crate::{
    TimestampMs,
    bots::{BotCache, Category},
    time::watermark::is_far_future,
};

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate<'a> {
    /// It has no value: it is counted and passed over.
    Tombstone,
    /// It is no event.
    DeadLetter(Rejection),
    /// It is an event.
    Event(Classified<'a>),
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified<'a> {
    /// The event.
    pub event: Event<'a>,
    /// Its time: its own, else its record's.
    pub timestamp: TimestampMs,
    /// Its time is so far ahead that it is taken for wrong.
    pub is_far_future: bool,
    /// It is of a bot of this category, and dropped for that.
    pub bot: Option<Category>,
}

impl Classified<'_> {
    /// Whether the watermark takes its time into account. That of a bot is as good as any.
    #[must_use]
    pub fn moves_watermark(&self) -> bool {
        !self.is_far_future
    }

    /// Whether rules count it.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        !self.is_far_future && self.bot.is_none()
    }

    /// Whether it goes to the output.
    #[must_use]
    pub fn is_forwarded(&self) -> bool {
        self.bot.is_none()
    }
}

/// What the time of a record is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Kafka timestamp of the record; negative if it has none.
    pub record: TimestampMs,
    /// What time it is.
    pub now: TimestampMs,
    /// How far ahead an event may be, in milliseconds.
    pub max_future_ms: i64,
}

/// What becomes of the record with this value. Without `bots` none is dropped.
#[inline]
pub fn classify<'a>(
    value: Option<&'a [u8]>,
    times: Times,
    parser: &EventParser,
    bots: Option<&mut BotCache>,
) -> Fate<'a> {
    let Some(value) = value else { return Fate::Tombstone };
    let event = match parser.parse(value) {
        Ok(event) => event,
        Err(rejection) => return Fate::DeadLetter(rejection),
    };
    let timestamp = event.timestamp.unwrap_or(times.record.max(TimestampMs(0)));
    let is_far_future = is_far_future(timestamp, times.record, times.now, times.max_future_ms);
    let bot = bots.and_then(|bots| bots.drops(event.user_agent.as_deref()?));
    Fate::Event(Classified { event, timestamp, is_far_future, bot })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        bots::{BotFilter, embedded},
        event::{FieldPaths, Reason},
    };

    const NOW: TimestampMs = TimestampMs(1_760_000_000_000);
    const TIMES: Times = Times { record: NOW, now: NOW, max_future_ms: 60_000 };
    const FUTURE: i64 = NOW.0 + 60_001;

    fn fate(value: &str, times: Times) -> Fate<'_> {
        let filter = BotFilter::new(&embedded(), &Category::dropped_by_default()).expect("the list compiles");
        let mut bots = BotCache::new(Arc::new(filter));
        classify(Some(value.as_bytes()), times, &EventParser::new(&FieldPaths::default()), Some(&mut bots))
    }

    fn event(value: &str, times: Times) -> Classified<'_> {
        match fate(value, times) {
            Fate::Event(classified) => classified,
            other => panic!("{other:?}"),
        }
    }

    fn does(classified: &Classified<'_>) -> (bool, bool, bool) {
        (classified.moves_watermark(), classified.is_counted(), classified.is_forwarded())
    }

    #[test]
    fn a_record_without_a_value_is_a_tombstone() {
        let parser = EventParser::new(&FieldPaths::default());
        assert_eq!(classify(None, TIMES, &parser, None), Fate::Tombstone);
    }

    #[test]
    fn what_is_no_event_is_a_dead_letter_even_of_a_bot() {
        let Fate::DeadLetter(rejection) = fate(r#"{"user_agent":"Googlebot/2.1"}"#, TIMES) else {
            panic!("it has no type");
        };
        assert_eq!(rejection.reason, Reason::MissingEventType);
    }

    #[test]
    fn an_event_moves_the_watermark_is_counted_and_forwarded() {
        let click = event(r#"{"event_type":"click","timestamp":1760000000000}"#, TIMES);
        assert_eq!((click.timestamp, does(&click)), (NOW, (true, true, true)));
    }

    #[test]
    fn a_bot_moves_the_watermark_and_does_nothing_else() {
        let bot = event(r#"{"event_type":"click","timestamp":1,"user_agent":"Googlebot/2.1"}"#, TIMES);
        assert_eq!((bot.bot, does(&bot)), (Some(Category::Search), (true, false, false)));
    }

    #[test]
    fn an_event_from_the_far_future_is_forwarded_and_does_nothing_else() {
        let value = format!(r#"{{"event_type":"click","timestamp":{FUTURE}}}"#);
        assert_eq!(does(&event(&value, TIMES)), (false, false, true));
    }

    #[test]
    fn a_bot_from_the_far_future_does_nothing_at_all() {
        let value = format!(r#"{{"event_type":"click","timestamp":{FUTURE},"user_agent":"Googlebot/2.1"}}"#);
        assert_eq!(does(&event(&value, TIMES)), (false, false, false));
    }

    #[test]
    fn an_event_without_a_time_has_that_of_its_record_and_without_that_too_the_beginning_of_time() {
        let value = r#"{"event_type":"click"}"#;
        assert_eq!(event(value, TIMES).timestamp, NOW);
        assert_eq!(event(value, Times { record: TimestampMs(-1), ..TIMES }).timestamp, TimestampMs(0));
    }

    #[test]
    fn without_a_bot_filter_nobody_is_a_bot() {
        let value = br#"{"event_type":"click","user_agent":"Googlebot/2.1"}"#;
        let parser = EventParser::new(&FieldPaths::default());
        let Fate::Event(classified) = classify(Some(value), TIMES, &parser, None) else { panic!("an event") };
        assert_eq!(classified.bot, None);
    }
}
