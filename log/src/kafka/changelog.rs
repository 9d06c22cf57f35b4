//! Reading the state topic to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_core::{NextOffset, PartitionId};

use super::{config::KafkaConfig, end_in_background, health::Clients, reader::KafkaReader};
use crate::{ChangelogRecord, LogError, OffsetRange, RecordReader, RecordRef, RecordSink, Topic};

const BATCH: usize = 4_000;

/// Reads each partition from its place in `from` to the end of its range, the high watermark.
///
/// What is read is committed, so the last record may stand before the end: control records and aborted ones take
/// offsets too. Only the end-of-partition event passes those, and it is what the end is measured by. A range's
/// end that an open transaction holds back is waited for.
pub(super) fn read(
    config: &Arc<KafkaConfig>,
    clients: &Clients,
    ranges: &[OffsetRange],
    from: &[NextOffset],
    deadline: Instant,
    each: &mut dyn FnMut(ChangelogRecord<'_>),
) -> Result<Vec<NextOffset>, LogError> {
    let start = |(index, range): (usize, &OffsetRange)| {
        from.get(index).map_or(range.begin, |from| (*from).clamp(range.begin, range.end))
    };
    let mut positions: Vec<NextOffset> = ranges.iter().enumerate().map(start).collect();
    let behind =
        |positions: &[NextOffset]| positions.iter().zip(ranges).any(|(next, range)| *next < range.end);
    if !behind(&positions) {
        return Ok(positions);
    }
    let mut reader = KafkaReader::connect(config, Topic::State, clients)?;
    let wanted: Vec<_> = positions
        .iter()
        .zip(ranges)
        .enumerate()
        .filter(|(_, (next, range))| **next < range.end)
        .map(|(partition, (next, _))| (PartitionId(partition as u32), *next))
        .collect();
    reader.assign(&wanted)?;
    while behind(&positions) {
        if Instant::now() > deadline {
            let cause =
                "the end of the state topic was not reached in time; a transaction may be open".into();
            return Err(LogError::Unavailable { what: "reading the changelog", cause });
        }
        let mut sink = Sink { positions: &mut positions, ranges, each };
        reader.poll(Duration::from_millis(100), BATCH, &mut sink)?;
    }
    end_in_background(reader);
    Ok(positions)
}

struct Sink<'a> {
    positions: &'a mut [NextOffset],
    ranges: &'a [OffsetRange],
    each: &'a mut dyn FnMut(ChangelogRecord<'_>),
}

impl RecordSink for Sink<'_> {
    fn record(&mut self, record: RecordRef<'_>, _headers: &mut dyn FnMut(&mut Vec<u8>)) {
        let partition = record.partition.0;
        let index = partition as usize;
        // What came behind the end after the call began is not part of it.
        if record.offset >= self.ranges[index].end.0 {
            self.end_of_partition(record.partition, self.ranges[index].end);
            return;
        }
        let RecordRef { offset, timestamp, value, .. } = record;
        let key = record.key.unwrap_or_default();
        (self.each)(ChangelogRecord { partition, offset, timestamp, key, value });
        self.positions[index] = NextOffset(record.offset + 1);
    }

    fn end_of_partition(&mut self, partition: PartitionId, next: NextOffset) {
        let index = partition.0 as usize;
        self.positions[index] = self.positions[index].max(next.min(self.ranges[index].end));
    }
}
