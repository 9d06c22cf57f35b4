//! The work on each event: parse, drop bots, add geo data, count.

use std::{
    fs, iter,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidegate_config::Settings;
use tidegate_core::{
    PartitionId, RuleId, TimestampMs, alert,
    bots::{self, BotCache, BotFilter},
    event::{Event, EventParser},
    geo::{GeoCache, GeoDatabase, NULL_FRAGMENT},
    partitioner::partition_for_key,
    splice::splice_geo,
    time::watermark::{PartitionClock, PartitionMark, PipelineWatermark, is_far_future},
    window::{CountedEvent, OpenWindows, Windows},
};

use crate::{Error, batch::Batch, native::Record};

/// Everything that one thread needs for it.
pub(super) struct Work {
    settings: Settings,
    parser: EventParser,
    bots: BotCache,
    geo: GeoCache,
    windows: Windows,
    clocks: Vec<PartitionClock>,
    watermark: PipelineWatermark,
    began: Instant,
}

impl Work {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let database = GeoDatabase::from_bytes(fs::read(&settings.geo.database)?)?;
        let open = Arc::new(OpenWindows::new(settings.limits.open_windows));
        let lateness_ms = millis(settings.time.allowed_lateness);
        let rules = settings.rules.clone().into();
        Ok(Self {
            parser: EventParser::new(&settings.event),
            bots: BotCache::new(Arc::new(BotFilter::new(
                &bots::embedded(),
                &bots::Category::dropped_by_default(),
            )?)),
            geo: GeoCache::new(Some(Arc::new(database))),
            windows: Windows::new(rules, lateness_ms, settings.alert_evidence, open),
            clocks: vec![PartitionClock::default(); settings.topics.raw.partitions as usize],
            watermark: PipelineWatermark::new(None),
            began: Instant::now(),
            settings: settings.clone(),
        })
    }

    /// The processed events of a batch of raw ones.
    pub(super) fn process(&mut self, batch: &Batch) -> Result<Batch, Error> {
        let now = now();
        let mut output = Batch::with_room(batch.len());
        for record in batch.iter() {
            let value = record.value.ok_or("the input has a tombstone, which sample traffic has not")?;
            let event = self.parser.parse(value).map_err(|rejected| rejected.detail)?;
            let is_bot = event.user_agent.as_ref().is_some_and(|agent| self.bots.drops(agent).is_some());
            self.observe(&event, &record, is_bot, now);
            if is_bot {
                continue;
            }
            let fragment = event.ip.map_or(NULL_FRAGMENT, |ip| self.geo.fragment(ip));
            output.push_with(&record, |arena| splice_geo(value, &event.geo, fragment, arena));
        }
        Ok(output)
    }

    /// Moves event time on, which bots do too, and counts the event in its windows.
    fn observe(&mut self, event: &Event<'_>, record: &Record<'_>, is_bot: bool, now: TimestampMs) {
        let append_time = TimestampMs(record.timestamp);
        let timestamp = event.timestamp.unwrap_or(append_time);
        if is_far_future(timestamp, append_time, now, millis(self.settings.time.max_future)) {
            return;
        }
        self.clocks[record.partition as usize].observe(timestamp);
        for rule in 0..self.settings.rules.len() {
            if self.settings.rules[rule].event_type == event.event_type && !is_bot {
                let counted = CountedEvent {
                    timestamp,
                    partition: PartitionId(record.partition as u32),
                    offset: record.offset,
                    user_id: event.user_id.as_deref(),
                    append_time,
                };
                self.windows.count(RuleId(rule), &event.service, iter::once(counted));
            }
        }
    }

    /// Closes the windows behind the watermark; returns the alerts since the last cut.
    pub(super) fn cut(&mut self) -> Batch {
        let max_disorder_ms = millis(self.settings.time.max_disorder);
        let mark = |clock: &PartitionClock| PartitionMark {
            watermark: clock.watermark(max_disorder_ms),
            idle: false,
        };
        let marks: Vec<_> = self.clocks.iter().map(mark).collect();
        let watermark = self.watermark.advance(&marks, self.began.elapsed().as_millis() as i64);
        let timestamp = now().0;
        let mut alerts = Batch::default();
        for alert in self.windows.seal(watermark).alerts {
            let key = alert.service.as_bytes();
            let partition = partition_for_key(key, self.settings.topics.alerts.partitions) as i32;
            let record = Record { partition, offset: 0, timestamp, key: Some(key), value: None };
            let rule = &self.settings.rules[alert.rule.0];
            let raw = &self.settings.topics.raw.name;
            alerts.push_with(&record, |arena| alert::render(&alert, rule, raw, arena));
        }
        alerts
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the product's clock is in a part that is not used here")]
fn now() -> TimestampMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    TimestampMs(since_epoch.as_millis() as i64)
}
