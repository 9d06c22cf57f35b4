//! When a batch is sent: when it is full, or old enough. All times are of one monotonic clock.

use std::time::Duration;

/// What a batch holds at most, and how long it waits for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records.
    pub records: usize,
    /// Bytes.
    pub bytes: usize,
    /// How long its first record waits for others.
    pub linger: Duration,
}

/// A batch in the making.
#[derive(Debug, Clone)]
pub struct Batching {
    limits: BatchLimits,
    records: usize,
    bytes: usize,
    begun: Option<Duration>,
}

impl Batching {
    /// An empty batch.
    #[must_use]
    pub fn new(limits: BatchLimits) -> Self {
        Self { limits, records: 0, bytes: 0, begun: None }
    }

    /// A record of so many bytes was added at `now`. Returns whether the batch is full.
    pub fn add(&mut self, bytes: usize, now: Duration) -> bool {
        self.records += 1;
        self.bytes += bytes;
        self.begun.get_or_insert(now);
        self.records >= self.limits.records || self.bytes >= self.limits.bytes
    }

    /// When it is to be sent although it is not full; `None` while it is empty.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.begun.map(|begun| begun + self.limits.linger)
    }

    /// It is sent: the next one is empty.
    pub fn sent(&mut self) {
        *self = Self::new(self.limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BatchLimits = BatchLimits { records: 3, bytes: 100, linger: Duration::from_millis(200) };
    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn a_batch_is_full_by_its_records_or_by_its_bytes() {
        let mut batching = Batching::new(LIMITS);
        assert_eq!([1, 1, 1].map(|bytes| batching.add(bytes, NOW)), [false, false, true]);
        batching.sent();
        assert_eq!([50, 50].map(|bytes| batching.add(bytes, NOW)), [false, true]);
    }

    #[test]
    fn a_record_larger_than_a_batch_is_a_batch_of_its_own() {
        assert!(Batching::new(LIMITS).add(1_000, NOW));
    }

    #[test]
    fn a_batch_that_is_not_full_waits_from_its_first_record_on() {
        let mut batching = Batching::new(LIMITS);
        assert_eq!(batching.due(), None);
        batching.add(1, NOW);
        batching.add(1, NOW + LIMITS.linger / 2);
        assert_eq!(batching.due(), Some(NOW + LIMITS.linger));
        batching.sent();
        assert_eq!(batching.due(), None);
    }
}
