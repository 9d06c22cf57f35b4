//! The cases, named as in `bench/instructions/baseline.txt`.

use std::{
    hint::black_box,
    iter,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use tidegate_core::{
    Epoch, PartitionId, RuleId, alert,
    bots::BotCache,
    dead_letter,
    event::Event,
    geo::{GeoCache, NULL_FRAGMENT},
    partitioner::murmur2,
    splice::splice_geo,
    window::{CountedEvent, EpochDelta, StateChange},
};
use tidegate_state::{encode_key, encode_value};

use crate::{
    Error,
    batch::Workers,
    count_each, measured,
    sample::{self, EVENTS, START},
};

/// Sets up, and measures so many events.
type Case = fn() -> Result<usize, Error>;

/// All of them.
pub(crate) const CASES: [(&str, Case); 14] = [
    ("parse", parse),
    ("dead-letter", dead_letter),
    ("bot-cached", || bot(true)),
    ("bot-new", || bot(false)),
    ("geo-cached", || geo(true)),
    ("geo-new", || geo(false)),
    ("splice", splice),
    ("partitioner", partitioner),
    ("count", || count(1)),
    ("count-20-rules", || count(20)),
    ("changelog", changelog),
    ("alert", alerts),
    ("batch", || batch(1)),
    ("batch-20-rules", || batch(20)),
];

fn parse() -> Result<usize, Error> {
    let parser = sample::parser();
    Ok(count_each(&sample::events(EVENTS), |event| _ = black_box(parser.parse(&event.value))))
}

/// Events that cannot be used, from parsing to the headers.
fn dead_letter() -> Result<usize, Error> {
    let bad =
        [&br#"{"timestamp":1}"#[..], br#"{"event_type":7}"#, b"{\"event_type\":\"click\",", b"\xff", b"[]"];
    let bad: Vec<&[u8]> = bad.into_iter().cycle().take(EVENTS).collect();
    let parser = sample::parser();
    Ok(count_each(&bad, |value| {
        if let Err(rejected) = parser.parse(value) {
            let (reason, detail) = (rejected.reason, &rejected.detail);
            black_box(dead_letter::headers(reason, detail, "raw-events", PartitionId(3), 88_121, START));
        }
    }))
}

/// User agents that the cache knows, or each a new one.
fn bot(known: bool) -> Result<usize, Error> {
    let mut cache = BotCache::new(sample::bots()?);
    let (parser, raw) = (sample::parser(), sample::events(EVENTS));
    let events = sample::parsed(&parser, &raw)?;
    let agents = events.iter().filter_map(|event| event.user_agent.as_deref());
    let mut agents: Vec<String> = agents.map(str::to_owned).collect();
    for agent in &agents {
        cache.drops(agent);
    }
    if !known {
        agents.iter_mut().enumerate().for_each(|(number, agent)| *agent += &format!(" {number}"));
    }
    Ok(count_each(&agents, |agent| _ = black_box(cache.drops(agent))))
}

/// Addresses that the cache knows, or each a new one.
fn geo(known: bool) -> Result<usize, Error> {
    let mut cache = GeoCache::new(Some(sample::geo()?));
    if !known {
        // 20.0.0.0 and on, which the sample database knows.
        let new: Vec<IpAddr> =
            (0..EVENTS as u32).map(|number| Ipv4Addr::from((20 << 24) + number * 65_521).into()).collect();
        return Ok(count_each(&new, |ip| _ = black_box(cache.fragment(*ip))));
    }
    let (parser, raw) = (sample::parser(), sample::events(EVENTS));
    let known: Vec<IpAddr> = sample::parsed(&parser, &raw)?.iter().filter_map(|event| event.ip).collect();
    for ip in &known {
        cache.fragment(*ip);
    }
    Ok(count_each(&known, |ip| _ = black_box(cache.fragment(*ip))))
}

fn splice() -> Result<usize, Error> {
    let mut cache = GeoCache::new(Some(sample::geo()?));
    let (parser, raw) = (sample::parser(), sample::events(EVENTS));
    let events = sample::parsed(&parser, &raw)?;
    let spliced: Vec<_> = iter::zip(&raw, &events)
        .map(|(raw, event)| {
            let fragment = event.ip.map_or(NULL_FRAGMENT, |ip| cache.fragment(ip));
            (&raw.value, &event.geo, fragment.to_vec())
        })
        .collect();
    let mut out = Vec::with_capacity(raw.iter().map(|event| event.value.len() + 100).sum());
    Ok(count_each(&spliced, |(value, slot, fragment)| splice_geo(value, slot, fragment, &mut out)))
}

fn partitioner() -> Result<usize, Error> {
    Ok(count_each(&sample::events(EVENTS), |event| _ = black_box(murmur2(&event.key))))
}

/// Counting, each event by itself: the worst case, for workers group what they count.
fn count(rules: usize) -> Result<usize, Error> {
    let mut windows = sample::windows(sample::rules(rules));
    let (parser, raw) = (sample::parser(), sample::events(EVENTS));
    let events = sample::parsed(&parser, &raw)?;
    Ok(count_each(&events, |event| {
        for rule in 0..rules {
            windows.count(RuleId(rule), &event.service, iter::once(counted(event)));
        }
    }))
}

fn counted<'a>(event: &'a Event<'_>) -> CountedEvent<'a> {
    let timestamp = event.timestamp.unwrap_or(START);
    let (partition, user_id) = (PartitionId(3), event.user_id.as_deref());
    CountedEvent { timestamp, partition, offset: 88_121, user_id, append_time: timestamp }
}

fn changelog() -> Result<usize, Error> {
    let mut out = Vec::with_capacity(1 << 20);
    Ok(count_each(&busy_epoch()?.changes, |change| match change {
        StateChange::Put(key, state) => {
            encode_key(key, &mut out);
            encode_value(Epoch(7), state, &mut out);
        }
        StateChange::Delete(key) => encode_key(key, &mut out),
    }))
}

fn alerts() -> Result<usize, Error> {
    let (rules, mut out) = (sample::rules(1), Vec::with_capacity(1 << 20));
    let raised = busy_epoch()?.alerts;
    Ok(count_each(&raised, |raised| alert::render(raised, &rules[0], "raw-events", &mut out)))
}

/// What a cut hands over when every service has passed the threshold.
fn busy_epoch() -> Result<EpochDelta, Error> {
    let rules = sample::rules(1);
    let above_threshold = rules[0].threshold + 1;
    let mut windows = sample::windows(Arc::clone(&rules));
    let (parser, raw) = (sample::parser(), sample::events(EVENTS));
    for event in &sample::parsed(&parser, &raw)? {
        for _ in 0..above_threshold {
            windows.count(RuleId(0), &event.service, iter::once(counted(event)));
        }
    }
    Ok(windows.seal(None))
}

/// All the work on a batch, the second of two: caches are warm for those who come again.
fn batch(rules: usize) -> Result<usize, Error> {
    let all = sample::events(2 * EVENTS);
    let (first, second) = all.split_at(EVENTS);
    let mut workers = Workers::new(rules)?;
    workers.process(first);
    measured(&mut || _ = black_box(workers.process(second)));
    Ok(second.len())
}
