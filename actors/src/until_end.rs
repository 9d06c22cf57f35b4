//! A run that ends by itself: it processes what is in the input as of its start and leaves the rest to the
//! next run.
//!
//! Where the input ends is noted once, with the first recovery of the process. What lies beyond is hidden from
//! the partitions, so nothing of it is processed in part, and input that grows cannot put the end off.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tidegate_core::{NextOffset, PartitionId};
use tidegate_log::{RecordRef, RecordSink};

/// How often to say how much is left.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// For each input partition the offset to stop before.
pub(crate) type Ends = Arc<[NextOffset]>;

/// What the supervisor knows of the end.
pub(crate) struct UntilEnd {
    ends: Option<Vec<NextOffset>>,
    told_at: Instant,
}

impl UntilEnd {
    pub(crate) fn new() -> Self {
        Self { ends: None, told_at: Instant::now() }
    }

    /// Where a generation that reads `partitions` partitions stops: at the ends that were found first. A
    /// partition that is newer than those has nothing for this run.
    pub(crate) fn ends(&mut self, found: &[NextOffset], partitions: usize) -> Ends {
        let ends = self.ends.get_or_insert_with(|| found.to_vec());
        ends.resize(partitions, NextOffset(0));
        ends.as_slice().into()
    }

    /// Whether all before the end is committed, or needed no commit.
    pub(crate) fn is_reached(&self, positions: &[AtomicI64]) -> bool {
        self.ends.is_some() && self.left(positions) == 0
    }

    /// Says now and then how far it is.
    pub(crate) fn tell(&mut self, positions: &[AtomicI64]) {
        if self.told_at.elapsed() >= TELL_EVERY {
            self.told_at = Instant::now();
            tracing::info!(offsets_left = self.left(positions), "on the way to the end of the input");
        }
    }

    fn left(&self, positions: &[AtomicI64]) -> i64 {
        let ends = self.ends.iter().flatten();
        ends.zip(positions).map(|(end, position)| (end.0 - position.load(Ordering::Relaxed)).max(0)).sum()
    }
}

/// What the reader knows of the end.
pub(crate) struct Limit {
    ends: Ends,
    /// Partitions whose end was announced because records beyond it came.
    passed: Vec<bool>,
}

impl Limit {
    pub(crate) fn new(ends: Ends) -> Self {
        Self { passed: vec![false; ends.len()], ends }
    }

    /// `sink` as if the partitions ended at their ends.
    pub(crate) fn before<'a, S: RecordSink>(&'a mut self, sink: &'a mut S) -> Limited<'a, S> {
        Limited { limit: self, sink }
    }
}

/// See [`Limit::before`].
pub(crate) struct Limited<'a, S> {
    limit: &'a mut Limit,
    sink: &'a mut S,
}

impl<S: RecordSink> RecordSink for Limited<'_, S> {
    fn record(&mut self, record: RecordRef<'_>, headers: &mut dyn FnMut(&mut Vec<u8>)) {
        let partition = record.partition.0 as usize;
        let end = self.limit.ends[partition];
        if record.offset < end.0 {
            self.sink.record(record, headers);
        } else if !std::mem::replace(&mut self.limit.passed[partition], true) {
            // What stood between the last record and the end was rolled back, or is no record.
            self.sink.end_of_partition(record.partition, end);
        }
    }

    fn end_of_partition(&mut self, partition: PartitionId, next: NextOffset) {
        // Beyond the end are records that nobody has taken.
        let end = self.limit.ends[partition.0 as usize];
        self.sink.end_of_partition(partition, next.min(end));
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::TimestampMs;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Record(u32, i64),
        End(u32, i64),
    }

    #[derive(Default)]
    struct Sink(Vec<Seen>);

    impl RecordSink for Sink {
        fn record(&mut self, record: RecordRef<'_>, _headers: &mut dyn FnMut(&mut Vec<u8>)) {
            self.0.push(Seen::Record(record.partition.0, record.offset));
        }

        fn end_of_partition(&mut self, partition: PartitionId, next: NextOffset) {
            self.0.push(Seen::End(partition.0, next.0));
        }
    }

    fn record(partition: u32, offset: i64) -> RecordRef<'static> {
        let partition = PartitionId(partition);
        RecordRef { partition, offset, timestamp: TimestampMs(0), key: None, value: None }
    }

    #[test]
    fn nothing_beyond_the_end_is_handed_on_and_the_end_is_never_passed() {
        let mut limit = Limit::new([NextOffset(10), NextOffset(3)].into());
        let mut seen = Sink::default();
        let mut sink = limit.before(&mut seen);
        let nothing = &mut |_: &mut Vec<u8>| {};
        sink.record(record(0, 6), nothing);
        sink.end_of_partition(PartitionId(0), NextOffset(8));
        // 7 to 9 were rolled back; what follows came later.
        for offset in 10..13 {
            sink.record(record(0, offset), nothing);
        }
        sink.end_of_partition(PartitionId(0), NextOffset(13));
        sink.record(record(1, 2), nothing);
        sink.end_of_partition(PartitionId(1), NextOffset(3));
        let of_0 = [Seen::Record(0, 6), Seen::End(0, 8), Seen::End(0, 10), Seen::End(0, 10)];
        assert_eq!(seen.0[..4], of_0);
        assert_eq!(seen.0[4..], [Seen::Record(1, 2), Seen::End(1, 3)]);
    }

    #[test]
    fn the_end_is_that_of_the_first_recovery_on_every_partition_there_was() {
        let positions =
            |offsets: &[i64]| offsets.iter().map(|next| AtomicI64::new(*next)).collect::<Vec<_>>();
        let mut until_end = UntilEnd::new();
        assert!(!until_end.is_reached(&positions(&[])), "nothing is known yet");
        assert_eq!(*until_end.ends(&[NextOffset(5), NextOffset(0)], 2), [NextOffset(5), NextOffset(0)]);
        assert!(!until_end.is_reached(&positions(&[4, 0])));
        assert!(until_end.is_reached(&positions(&[5, 0])));
        // A recovery later on finds more.
        let ends = until_end.ends(&[NextOffset(9), NextOffset(9), NextOffset(9)], 3);
        assert_eq!(*ends, [NextOffset(5), NextOffset(0), NextOffset(0)]);
        assert!(until_end.is_reached(&positions(&[5, 0, 0])));
    }
}
