//! What travels through the pools: work for a filter worker, and for an enrich worker.

use std::{net::IpAddr, sync::Arc};

use tidegate_core::{
    TimestampMs,
    event::{GeoSlot, Rejection},
    tally::Tally,
};
use tidegate_log::RecordBatch;
use tidegate_telemetry::Parent;

use super::ticket::Ticket;
use crate::windows::grouped::GroupedEvents;

/// Work for the filter pool: a piece of a batch.
pub(crate) struct Job {
    pub(crate) ticket: Ticket,
    pub(crate) batch: Arc<RecordBatch>,
    pub(crate) trace: Parent,
}

/// What the filter decided about one record.
#[derive(Debug)]
pub(crate) enum Verdict {
    Tombstone,
    Bot,
    /// To the dead letters; index into [`Filtered::rejections`].
    Reject(u32),
    Forward {
        ip: Option<IpAddr>,
        geo: GeoSlot,
    },
}

/// Work for the enrich pool: a piece with a verdict for each of its records.
pub(crate) struct Filtered {
    pub(crate) job: Job,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) rejections: Vec<Rejection>,
    /// Per window actor.
    pub(crate) counted: Vec<GroupedEvents>,
    pub(crate) tally: Tally,
    /// Highest timestamp that may move the watermark.
    pub(crate) highest: Option<TimestampMs>,
}
