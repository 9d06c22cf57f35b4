//! All the work on a batch of records, as the filter, enrich and window workers do it between them.

use std::sync::Arc;

use tidegate_core::{
    PartitionId, RuleId, TimestampMs,
    bots::BotCache,
    event::{EventParser, GeoSlot},
    geo::{GeoCache, NULL_FRAGMENT},
    rules::Rule,
    splice::splice_geo,
    time::watermark::is_far_future,
    window::{CountedEvent, Windows},
};
use tidegate_traffic::SampleEvent;

use crate::{Error, sample};

const MAX_FUTURE_MS: i64 = 300_000;
/// Room for the geo data of an event.
const GEO_BYTES: usize = 80;

/// What workers keep between batches.
pub(crate) struct Workers {
    parser: EventParser,
    bots: BotCache,
    geo: GeoCache,
    rules: Arc<[Rule]>,
    windows: Windows,
}

/// What the enrich worker needs of an event that passed the filter.
struct Forwarded<'a> {
    value: &'a [u8],
    ip: Option<std::net::IpAddr>,
    geo: GeoSlot,
}

/// An event of a rule, to be grouped with the others of its service.
struct Match {
    rule: usize,
    service: String,
    user_id: Option<String>,
    timestamp: TimestampMs,
    offset: i64,
}

impl Workers {
    pub(crate) fn new(rules: usize) -> Result<Self, Error> {
        let rules = sample::rules(rules);
        Ok(Self {
            parser: sample::parser(),
            bots: BotCache::new(sample::bots()?),
            geo: GeoCache::new(Some(sample::geo()?)),
            windows: sample::windows(Arc::clone(&rules)),
            rules,
        })
    }

    /// Returns the output.
    pub(crate) fn process(&mut self, events: &[SampleEvent]) -> Vec<u8> {
        let (forwarded, matches) = self.filter(events);
        let bytes = forwarded.iter().map(|event| event.value.len() + GEO_BYTES).sum();
        let mut output = Vec::with_capacity(bytes);
        for event in &forwarded {
            let fragment = event.ip.map_or(NULL_FRAGMENT, |ip| self.geo.fragment(ip));
            splice_geo(event.value, &event.geo, fragment, &mut output);
        }
        self.count(matches);
        output
    }

    fn filter<'a>(&mut self, events: &'a [SampleEvent]) -> (Vec<Forwarded<'a>>, Vec<Match>) {
        let mut forwarded = Vec::with_capacity(events.len());
        let mut matches = Vec::new();
        for (offset, SampleEvent { value, timestamp: append_time, .. }) in events.iter().enumerate() {
            let Ok(event) = self.parser.parse(value) else { continue };
            let timestamp = event.timestamp.unwrap_or(*append_time);
            let far_future = is_far_future(timestamp, *append_time, *append_time, MAX_FUTURE_MS);
            if event.user_agent.as_ref().is_some_and(|agent| self.bots.drops(agent).is_some()) {
                continue;
            }
            for (rule, _) in
                self.rules.iter().enumerate().filter(|(_, rule)| rule.event_type == event.event_type)
            {
                if !far_future {
                    let (service, user_id) =
                        (event.service.to_string(), event.user_id.as_deref().map(str::to_owned));
                    matches.push(Match { rule, service, user_id, timestamp, offset: offset as i64 });
                }
            }
            forwarded.push(Forwarded { value, ip: event.ip, geo: event.geo });
        }
        (forwarded, matches)
    }

    fn count(&mut self, mut matches: Vec<Match>) {
        matches.sort_by(|a, b| (a.rule, &a.service).cmp(&(b.rule, &b.service)));
        for group in matches.chunk_by(|a, b| a.rule == b.rule && a.service == b.service) {
            let events = group.iter().map(|found| CountedEvent {
                timestamp: found.timestamp,
                partition: PartitionId(0),
                offset: found.offset,
                user_id: found.user_id.as_deref(),
                append_time: found.timestamp,
            });
            self.windows.count(RuleId(group[0].rule), &group[0].service, events);
        }
    }
}
