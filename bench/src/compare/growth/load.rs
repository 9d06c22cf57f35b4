//! Writing inputs.

use std::{
    io::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer},
};

use super::axis::Traffic;
use crate::{
    Error,
    compare::site::{Input, Workshop, finish},
};

const TIMEOUT: Duration = Duration::from_secs(60);
/// One event in so many is an error, as in sample traffic.
const ERROR_IN: u64 = 25;
const USERS: u64 = 50_000;

/// Creates the topic and writes so many events.
pub(super) fn write(workshop: &Workshop, input: &Input, traffic: Traffic, events: u64) -> Result<(), Error> {
    let site = workshop.site_with_input(&format!("load-{}", input.topic), input)?;
    match traffic {
        Traffic::Sample => {
            let mut generate = workshop.tidegate(&["generate", "--seed", "1"], &site);
            finish(generate.arg("--events").arg(events.to_string()), &site)?;
        }
        Traffic::Plain { services, bytes } => plain(workshop, input, services, bytes, events)?,
    }
    workshop.remove(&site)
}

/// Events a millisecond apart, the last of them now.
fn plain(workshop: &Workshop, input: &Input, services: u64, bytes: usize, events: u64) -> Result<(), Error> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &workshop.kafka)
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .create()?;
    let start = now_ms().saturating_sub(events);
    let (mut key, mut value) = (Vec::new(), Vec::with_capacity(bytes));
    for number in 0..events {
        let draw = mix(number);
        key.clear();
        write!(key, "user-{}", draw % USERS)?;
        event(&mut value, number, start + number, services, bytes)?;
        let timestamp = (start + number) as i64;
        let mut record = BaseRecord::to(&input.topic).key(&key).payload(&value).timestamp(timestamp);
        while let Err((error, refused)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(5));
            record = refused;
        }
    }
    Ok(producer.flush(TIMEOUT)?)
}

/// An event of `bytes` bytes, or a few more if that is too little; larger ones have more members.
fn event(out: &mut Vec<u8>, number: u64, timestamp: u64, services: u64, bytes: usize) -> Result<(), Error> {
    let draw = mix(number);
    let event_type = if number.is_multiple_of(ERROR_IN) { "error" } else { "click" };
    let [a, b, c, d, ..] = draw.to_le_bytes();
    let service = (draw >> 32) % services;
    out.clear();
    write!(
        out,
        "{{\"event_type\":\"{event_type}\",\"timestamp\":{timestamp},\"service_name\":\"s-{service:06}\",\
         \"ip\":\"{}.{b}.{c}.{d}\"",
        20 + a % 60,
    )?;
    let mut member = 0;
    while out.len() + 32 < bytes {
        write!(out, ",\"field-{member:03}\":\"value-{:08x}\"", mix(draw + member) as u32)?;
        member += 1;
    }
    out.push(b'}');
    Ok(())
}

/// One step of SplitMix64: numbers that look drawn, the same in each run.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[expect(clippy::disallowed_methods, reason = "the product's clock is in a part that is not used here")]
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn events_are_json_of_about_the_size_asked_for() {
        for bytes in [100, 338, 1024, 10_240] {
            let mut out = Vec::new();
            event(&mut out, 25, 1_760_000_000_000, 1000, bytes).unwrap();
            assert!(out.len().abs_diff(bytes) <= 34, "{} of {bytes}", out.len());
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(value["event_type"], "error");
        }
    }
}
