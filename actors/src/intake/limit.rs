//! Where the reader of a run that ends by itself stops: what lies beyond is hidden from the partitions, so that nothing
//! of it is processed in part.

use std::sync::Arc;

use tidegate_core::{NextOffset, PartitionId};
use tidegate_log::{RecordRef, RecordSink};

/// For each input partition the offset to stop before.
pub type Ends = Arc<[NextOffset]>;

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
}
