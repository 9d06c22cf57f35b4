//! How busy a stage is, and how long it waits for the next one.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{Gauge, Level};

/// Ratios are taken over this many ticks. The window is fixed, not "since the last scrape", so that two
/// scrapers see the same numbers.
const WINDOW_TICKS: usize = 10;

/// Time that a stage's workers spent working and waiting, and what is queued for them.
#[derive(Debug)]
pub struct StageMeter {
    busy_ns: AtomicU64,
    waiting_ns: AtomicU64,
    events: AtomicU64,
    workers: AtomicU64,
    queue: Level,
    busy_ratio: Gauge,
    backpressure_ratio: Gauge,
    rate: Gauge,
    /// Oldest first; at most `WINDOW_TICKS + 1`. Only ticks take this lock.
    samples: Mutex<VecDeque<Sample>>,
}

/// The totals at one tick.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    busy_ns: u64,
    waiting_ns: u64,
    events: u64,
}

impl Default for StageMeter {
    fn default() -> Self {
        let meter = Self {
            busy_ns: AtomicU64::new(0),
            waiting_ns: AtomicU64::new(0),
            events: AtomicU64::new(0),
            workers: AtomicU64::new(1),
            queue: Level::default(),
            busy_ratio: Gauge::default(),
            backpressure_ratio: Gauge::default(),
            rate: Gauge::default(),
            samples: Mutex::new(VecDeque::with_capacity(WINDOW_TICKS + 1)),
        };
        meter.busy_ratio.set(0.0);
        meter.backpressure_ratio.set(0.0);
        meter
    }
}

impl StageMeter {
    /// A worker worked for this long, on so many events; added once per batch.
    pub fn add_busy(&self, duration: Duration, events: usize) {
        self.busy_ns.fetch_add(duration.as_nanos() as u64, Relaxed);
        self.events.fetch_add(events as u64, Relaxed);
    }

    /// A worker had work but waited this long for the next stage or for budget.
    pub fn add_waiting(&self, duration: Duration) {
        self.waiting_ns.fetch_add(duration.as_nanos() as u64, Relaxed);
    }

    /// The stage has this many workers (1 unless set): a ratio of 1 means that all of them are busy.
    pub fn set_workers(&self, workers: usize) {
        self.workers.store(workers.max(1) as u64, Relaxed);
    }

    /// Events waiting for the stage.
    #[must_use]
    pub fn queue(&self) -> &Level {
        &self.queue
    }

    /// Share of the last ten ticks that the workers spent working, 0 to 1.
    #[must_use]
    pub fn busy_ratio(&self) -> f64 {
        self.busy_ratio.get().unwrap_or_default()
    }

    /// Share of the last ten ticks that the workers spent waiting, 0 to 1.
    #[must_use]
    pub fn backpressure_ratio(&self) -> f64 {
        self.backpressure_ratio.get().unwrap_or_default()
    }

    /// Events a second that the stage worked on, over the last ten ticks.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate.get().unwrap_or_default()
    }

    /// How many workers the stage has.
    #[must_use]
    pub fn workers(&self) -> u64 {
        self.workers.load(Relaxed)
    }

    /// Takes a sample and works the ratios out anew.
    pub(crate) fn tick(&self, now: Instant) {
        let newest = Sample {
            at: now,
            busy_ns: self.busy_ns.load(Relaxed),
            waiting_ns: self.waiting_ns.load(Relaxed),
            events: self.events.load(Relaxed),
        };
        let oldest = {
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            if samples.len() > WINDOW_TICKS {
                samples.pop_front();
            }
            samples.push_back(newest);
            samples.front().copied().unwrap_or(newest)
        };
        let passed = now.duration_since(oldest.at);
        let available_ns = passed.as_nanos() as f64 * self.workers() as f64;
        if available_ns > 0.0 {
            // Time is added when a batch is done, so a long batch can bring more than the window holds.
            let ratio = |spent_ns: u64| (spent_ns as f64 / available_ns).min(1.0);
            self.busy_ratio.set(ratio(newest.busy_ns.saturating_sub(oldest.busy_ns)));
            self.backpressure_ratio.set(ratio(newest.waiting_ns.saturating_sub(oldest.waiting_ns)));
            self.rate.set((newest.events - oldest.events) as f64 / passed.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_cover_all_workers_and_forget_what_is_older_than_the_window() {
        let meter = StageMeter::default();
        meter.set_workers(2);
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        meter.tick(second(0));
        meter.add_busy(Duration::from_secs(1), 500);
        meter.add_waiting(Duration::from_millis(500));
        meter.tick(second(1));
        assert_eq!((meter.busy_ratio(), meter.backpressure_ratio(), meter.rate()), (0.5, 0.25, 500.0));
        for n in 2..=10 {
            meter.tick(second(n));
        }
        assert_eq!((meter.busy_ratio(), meter.backpressure_ratio(), meter.rate()), (0.05, 0.025, 50.0));
        meter.tick(second(11));
        assert_eq!((meter.busy_ratio(), meter.backpressure_ratio(), meter.rate()), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_batch_longer_than_the_window_is_no_more_than_fully_busy() {
        let meter = StageMeter::default();
        let start = Instant::now();
        meter.tick(start);
        meter.add_busy(Duration::from_secs(60), 1);
        meter.tick(start + Duration::from_secs(1));
        assert_eq!(meter.busy_ratio(), 1.0);
    }
}
