//! The values behind the metrics: atomics that the pipeline writes and a scrape reads.
//!
//! They stand in for OpenTelemetry's own counters and gauges because one relaxed add costs a nanosecond or
//! two and needs no attribute set, while an SDK counter with attributes costs about a hundred.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use opentelemetry::{KeyValue, metrics};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; meant to be called once per batch or epoch.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that is set. Until it is known it is not exported at all.
#[derive(Debug)]
pub struct Gauge(AtomicU64);

impl Default for Gauge {
    fn default() -> Self {
        // Not a number stands for "not known", so that one atomic holds both.
        Self(AtomicU64::new(f64::NAN.to_bits()))
    }
}

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Takes the value back: it is not known any more.
    pub fn clear(&self) {
        self.set(f64::NAN);
    }

    /// The value, if one is known.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        let value = f64::from_bits(self.0.load(Relaxed));
        (!value.is_nan()).then_some(value)
    }
}

/// A number of things that come and go, such as the events in a queue.
#[derive(Debug, Default)]
pub struct Level(AtomicI64);

impl Level {
    /// `n` things came.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n as i64, Relaxed);
    }

    /// `n` things went.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n as i64, Relaxed);
    }

    /// Sets the level, such as to zero when a queue was thrown away.
    pub fn set(&self, n: u64) {
        self.0.store(n as i64, Relaxed);
    }

    /// The level; never below zero, even while a throw-away and a late [`sub`](Self::sub) cross.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed).max(0) as u64
    }
}

/// A distribution of durations, for things that happen at most a few times a second.
#[derive(Debug, Clone)]
pub struct Histogram {
    pub(crate) instrument: metrics::Histogram<f64>,
    pub(crate) attributes: Vec<KeyValue>,
}

impl Histogram {
    /// Records one duration.
    pub fn record(&self, duration: Duration) {
        self.instrument.record(duration.as_secs_f64(), &self.attributes);
    }
}
