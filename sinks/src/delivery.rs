//! What is given to a courier.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_core::{NextOffset, PartitionId};

use crate::{Batch, SinkRecord, reader::InFlight};

/// Records to deliver, in order.
pub(crate) struct Delivery {
    pub(crate) source: Arc<InFlight>,
    /// Indices of the records; those that are not to be delivered are left out.
    pub(crate) records: Vec<usize>,
    /// From where to where it leads in each partition.
    pub(crate) spans: Vec<(PartitionId, NextOffset, NextOffset)>,
    /// Number of the last assignment when the records came.
    pub(crate) assignment: u64,
}

/// Tells which records must not overtake each other.
pub(crate) type Lane = fn(&SinkRecord<'_>) -> u64;

impl Delivery {
    /// The deliveries of a batch, each with its lane: one for each record if records have lanes, else one of all.
    pub(crate) fn of(
        source: &Arc<InFlight>,
        lane: Option<Lane>,
        assignment: u64,
        is_wanted: impl Fn(&SinkRecord<'_>) -> bool,
    ) -> Vec<(u64, Self)> {
        let delivery = |records, spans| Self { source: Arc::clone(source), records, spans, assignment };
        let wanted = |(index, record): (usize, SinkRecord<'_>)| is_wanted(&record).then_some(index);
        let batch = &source.batch;
        let Some(lane) = lane else {
            let records = batch.iter().enumerate().filter_map(wanted).collect();
            return vec![(0, delivery(records, spans(batch)))];
        };
        let one = |(index, record): (usize, SinkRecord<'_>)| {
            let span = (record.partition, NextOffset(record.offset), record.next());
            (lane(&record), delivery(wanted((index, record)).into_iter().collect(), vec![span]))
        };
        batch.iter().enumerate().map(one).collect()
    }
}

/// From where to where a batch leads in each partition.
fn spans(batch: &Batch) -> Vec<(PartitionId, NextOffset, NextOffset)> {
    let mut spans: BTreeMap<PartitionId, (NextOffset, NextOffset)> = BTreeMap::new();
    for record in batch.iter() {
        let (first, next) = (NextOffset(record.offset), record.next());
        spans.entry(record.partition).and_modify(|span| span.1 = next).or_insert((first, next));
    }
    spans.into_iter().map(|(partition, (first, next))| (partition, first, next)).collect()
}
