//! What the cases work on: sample traffic, always the same.

use std::sync::Arc;

use tidegate_core::{
    TimestampMs,
    bots::{self, BotFilter},
    event::{Event, EventParser, FieldPaths},
    geo::GeoDatabase,
    rules::Rule,
    window::{OpenWindows, Windows},
};
use tidegate_traffic::{SampleEvent, Traffic, mmdb_writer::sample_city_database};

use crate::Error;

/// Events of a case.
pub(crate) const EVENTS: usize = 1000;
/// When they happened.
pub(crate) const START: TimestampMs = TimestampMs(1_760_000_000_000);
/// Counted events that a window remembers, by default.
pub(crate) const EVIDENCE: usize = 5;

const SEED: u64 = 1;
const RATE: f64 = 1000.0;

/// Events in the mix of `tidegate generate`.
pub(crate) fn events(count: usize) -> Vec<SampleEvent> {
    let mut traffic = Traffic::new(SEED, START, RATE);
    let mut next = || {
        let mut event = SampleEvent::default();
        traffic.next(&mut event);
        event
    };
    (0..count).map(|_| next()).collect()
}

/// With the default paths.
pub(crate) fn parser() -> EventParser {
    EventParser::new(&FieldPaths::default())
}

/// The events parsed, which sample traffic always can be.
pub(crate) fn parsed<'a>(parser: &EventParser, events: &'a [SampleEvent]) -> Result<Vec<Event<'a>>, Error> {
    events.iter().map(|event| parser.parse(&event.value).map_err(|rejected| rejected.detail.into())).collect()
}

/// The built-in list.
pub(crate) fn bots() -> Result<Arc<BotFilter>, Error> {
    Ok(Arc::new(BotFilter::new(&bots::embedded(), &bots::Category::dropped_by_default())?))
}

/// The networks that sample traffic comes from.
pub(crate) fn geo() -> Result<Arc<GeoDatabase>, Error> {
    Ok(Arc::new(GeoDatabase::from_bytes(sample_city_database(START.0.cast_unsigned() / 1000))?))
}

/// So many rules as the default one.
pub(crate) fn rules(count: usize) -> Arc<[Rule]> {
    (0..count).map(|number| Rule { name: format!("rule-{number}"), ..Rule::default() }).collect()
}

/// No windows yet.
pub(crate) fn windows(rules: Arc<[Rule]>) -> Windows {
    Windows::new(rules, 0, EVIDENCE, Arc::new(OpenWindows::new(1_000_000)))
}
