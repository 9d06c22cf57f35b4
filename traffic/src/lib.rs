//! Realistic sample traffic: what the visitors of a web shop and the bots among them do, and how its services
//! fail now and then. The same seed gives the same events.

mod catalog;
mod event;
pub mod mmdb_writer;
mod random;

use tidegate_core::TimestampMs;

use event::{Json, Visitor};
use random::Random;

const SERVICES: usize = catalog::DOMAINS.len() * catalog::ROLES.len();
const USERS: u64 = 50_000;
const BOTS: u64 = 400;

/// Shares of all events, in per mille. Bots raise no errors, so that bursts keep their strength.
const BOT_EVENTS: u64 = 80;
const BURST_ERRORS: u64 = 30;
const BACKGROUND_ERRORS: u64 = 10;

/// How long one service fails before the next one does, in milliseconds of event time. With 3 % of 1,000
/// events/s a burst passes 50 errors within two seconds.
const BURST_MS: std::ops::Range<i64> = 30_000..90_000;

/// Entries of the table that gives services their popularity.
const POPULARITY: usize = 4096;

/// One event, with buffers that are used again for the next one.
#[derive(Debug, Default)]
pub struct SampleEvent {
    /// The user's id, as the record's key.
    pub key: Vec<u8>,
    /// The event as JSON, about 330 bytes.
    pub value: Vec<u8>,
    /// When it happened.
    pub timestamp: TimestampMs,
}

/// An endless stream of events.
#[derive(Debug)]
pub struct Traffic {
    random: Random,
    start_ms: i64,
    interval_ms: f64,
    events: u64,
    services: Vec<String>,
    /// Indices of services, each as often as it is popular: a look-up instead of a search per event.
    popularity: Box<[u8; POPULARITY]>,
    failing: u8,
    failing_until_ms: i64,
}

impl Traffic {
    /// Events from `start` on, `rate` of them in a second of event time.
    pub fn new(seed: u64, start: TimestampMs, rate: f64) -> Self {
        Self {
            random: Random::new(seed),
            start_ms: start.0,
            interval_ms: 1000.0 / rate,
            events: 0,
            services: service_names(),
            popularity: popularity(),
            failing: 0,
            failing_until_ms: i64::MIN,
        }
    }

    /// Puts the next event into `event`. It is at or a little before its turn in event time, never behind.
    pub fn next(&mut self, event: &mut SampleEvent) {
        let due_ms = self.start_ms + (self.events as f64 * self.interval_ms) as i64;
        self.events += 1;
        let timestamp_ms = due_ms - self.delay_ms();
        let (visitor, service, event_type) = self.who_does_what(due_ms);
        event.timestamp = TimestampMs(timestamp_ms);
        event.key.clear();
        visitor.append_id(&mut event.key);
        event.value.clear();
        let mut json = Json(&mut event.value);
        let service = &self.services[usize::from(service)];
        json.event(&mut self.random, &visitor, service, event_type, timestamp_ms);
    }

    /// Most events arrive at once, one in a hundred up to three seconds after it happened.
    fn delay_ms(&mut self) -> i64 {
        let most = if self.random.chance(10) { 3000 } else { 40 };
        self.random.below(most) as i64
    }

    fn who_does_what(&mut self, now_ms: i64) -> (Visitor, u8, &'static str) {
        self.choose_failing(now_ms);
        let popular = self.popularity[self.random.below(POPULARITY as u64) as usize];
        if self.random.chance(BOT_EVENTS) {
            return (Visitor::bot(self.random.below(BOTS)), popular, "page_view");
        }
        let visitor = Visitor::person(self.person());
        match self.random.below(1000 - BOT_EVENTS) {
            roll if roll < BURST_ERRORS => (visitor, self.failing, "error"),
            // The background is spread evenly: no service passes a threshold by it alone.
            roll if roll < BURST_ERRORS + BACKGROUND_ERRORS => {
                (visitor, self.random.below(SERVICES as u64) as u8, "error")
            }
            _ => (visitor, popular, self.random.pick(&catalog::EVENT_TYPES)),
        }
    }

    /// The number of a person. The product of two even draws makes some people much busier than others.
    fn person(&mut self) -> u64 {
        let within = self.random.below(USERS) + 1;
        self.random.below(within)
    }

    fn choose_failing(&mut self, now_ms: i64) {
        if now_ms >= self.failing_until_ms {
            self.failing = self.random.below(SERVICES as u64) as u8;
            let spread = (BURST_MS.end - BURST_MS.start) as u64;
            self.failing_until_ms = now_ms + BURST_MS.start + self.random.below(spread) as i64;
        }
    }
}

fn service_names() -> Vec<String> {
    let roles = catalog::ROLES.iter();
    roles.flat_map(|role| catalog::DOMAINS.iter().map(move |domain| format!("{domain}{role}"))).collect()
}

/// Zipf's law with exponent 1: the k-th service is asked 1/k times as often as the first.
fn popularity() -> Box<[u8; POPULARITY]> {
    let harmonic: f64 = (1..=SERVICES).map(|rank| 1.0 / rank as f64).sum();
    let mut table = Box::new([0; POPULARITY]);
    let (mut rank, mut reached) = (1, 1.0 / harmonic);
    for (index, service) in table.iter_mut().enumerate() {
        while rank < SERVICES && (index as f64 + 0.5) / POPULARITY as f64 > reached {
            rank += 1;
            reached += 1.0 / (rank as f64 * harmonic);
        }
        *service = (rank - 1) as u8;
    }
    table
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{HashMap, HashSet};

    use serde_json::Value;

    use super::*;

    const START: TimestampMs = TimestampMs(1_760_000_000_000);

    fn sample(seed: u64, count: usize) -> Vec<(TimestampMs, Vec<u8>, Vec<u8>)> {
        let mut traffic = Traffic::new(seed, START, 1000.0);
        let mut event = SampleEvent::default();
        let mut next = || {
            traffic.next(&mut event);
            (event.timestamp, event.key.clone(), event.value.clone())
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_events_and_another_seed_others() {
        assert_eq!(sample(7, 1000), sample(7, 1000));
        assert_ne!(sample(7, 1000), sample(8, 1000));
    }

    #[test]
    fn every_event_is_json_of_about_330_bytes_that_agrees_with_its_key_and_timestamp() {
        let events = sample(1, 20_000);
        let bytes: usize = events.iter().map(|(_, _, value)| value.len()).sum();
        let mean = bytes / events.len();
        assert!((300..=350).contains(&mean), "mean size is {mean} bytes");
        for (timestamp, key, value) in &events {
            let event: Value = serde_json::from_slice(value).unwrap();
            assert_eq!(event["user_id"].as_str().unwrap().as_bytes(), key);
            assert!(event["event_type"].is_string(), "{event}");
            assert!(event["timestamp"].is_null() || event["timestamp"] == timestamp.0);
        }
    }

    #[test]
    fn timestamps_follow_the_rate_with_little_disorder() {
        for (index, (timestamp, ..)) in sample(1, 20_000).iter().enumerate() {
            let due = START.0 + index as i64;
            assert!(
                (due - 3000..=due).contains(&timestamp.0),
                "event {index} is at {timestamp}, due at {due}"
            );
        }
    }

    #[test]
    fn the_mix_has_bots_errors_and_absent_fields_in_their_shares() {
        let events: Vec<Value> =
            sample(1, 50_000).iter().map(|(.., value)| serde_json::from_slice(value).unwrap()).collect();
        let per_mille = |is: &dyn Fn(&Value) -> bool| events.iter().filter(|e| is(e)).count() / 50;
        let bots: HashSet<&str> = catalog::BOTS.into();
        let share =
            per_mille(&|event| event["payload"]["user_agent"].as_str().is_some_and(|a| bots.contains(a)));
        assert!((70..=90).contains(&share), "bots: {share} per mille");
        let share = per_mille(&|event| event["event_type"] == "error");
        assert!((32..=48).contains(&share), "errors: {share} per mille");
        for field in ["ip", "user_agent", "service_name"] {
            let share = per_mille(&|event| event["payload"][field].is_null());
            assert!((3..=40).contains(&share), "without {field}: {share} per mille");
        }
    }

    #[test]
    fn bursts_of_errors_pass_fifty_a_minute_and_the_background_does_not() {
        let mut errors: HashMap<(String, i64), u32> = HashMap::new();
        for (timestamp, _, value) in sample(1, 300_000) {
            let event: Value = serde_json::from_slice(&value).unwrap();
            if let ("error", Some(service)) =
                (event["event_type"].as_str().unwrap(), event["payload"]["service_name"].as_str())
            {
                *errors.entry((service.to_owned(), timestamp.0 / 60_000)).or_default() += 1;
            }
        }
        let above = errors.values().filter(|&&count| count > 50).count();
        assert!((4..=20).contains(&above), "{above} windows in five minutes are above 50 errors");
        assert!(errors.len() > 500, "errors are seen in {} windows only", errors.len());
    }

    #[test]
    fn services_are_skewed() {
        let table = popularity();
        let share = |service: u8| table.iter().filter(|&&s| s == service).count() * 1000 / POPULARITY;
        assert!((165..=175).contains(&share(0)), "{}", share(0));
        assert!(share(199) <= 1);
        assert_eq!(service_names().len(), SERVICES);
    }
}
