//! The input: abstract records, of which only what decides is kept.

use tidegate_core::{PartitionId, TimestampMs};

use crate::{
    random::Random,
    shape::{EVENT_TYPES, RECORD_BYTES, SERVICES, Shape},
};

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An event; its type may be one that rules count.
    Event {
        /// Index in [`EVENT_TYPES`], or beyond.
        event_type: usize,
    },
    /// An event of a bot: dropped, but its time counts.
    Bot,
    /// An event from the far future: forwarded, and nothing else.
    Future,
    /// No value: dropped.
    Tombstone,
    /// No event: a dead letter.
    Bad,
    /// No worker survives it: a dead letter in the end.
    Poison {
        /// It is the enrich worker that dies, not the filter worker.
        in_enrich: bool,
    },
}

/// Where a record ends up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Processed,
    Dropped,
    DeadLetter,
}

/// One input record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: PartitionId,
    pub(crate) offset: i64,
    pub(crate) kind: Kind,
    /// Index in [`SERVICES`].
    pub(crate) service: usize,
    pub(crate) timestamp: TimestampMs,
    pub(crate) bytes: usize,
}

impl Record {
    pub(crate) fn fate(&self) -> Fate {
        match self.kind {
            Kind::Event { .. } | Kind::Future => Fate::Processed,
            Kind::Bot | Kind::Tombstone => Fate::Dropped,
            Kind::Bad | Kind::Poison { .. } => Fate::DeadLetter,
        }
    }

    /// Whether it moves event time.
    pub(crate) fn has_time(&self) -> bool {
        matches!(self.kind, Kind::Event { .. } | Kind::Bot)
    }

    /// Whether this rule counts it.
    pub(crate) fn is_counted_by(&self, event_type: &str) -> bool {
        matches!(self.kind, Kind::Event { event_type: of } if EVENT_TYPES.get(of) == Some(&event_type))
    }
}

/// What writes the input.
#[derive(Debug)]
pub(crate) struct Producer {
    /// Records still to be written.
    pub(crate) left: usize,
    poison_left: u32,
    /// Event time goes on with every record.
    time: i64,
    disorder_ms: u64,
    services: usize,
}

impl Producer {
    pub(crate) fn new(shape: &Shape, random: &mut Random) -> Self {
        Self {
            left: shape.records,
            poison_left: u32::from(random.one_in(3)) * 2,
            time: 1_000_000,
            disorder_ms: shape.max_disorder_ms as u64 + 1,
            services: 1 + random.index(SERVICES.len()),
        }
    }

    /// The next record of this partition.
    pub(crate) fn next(&mut self, partition: PartitionId, offset: i64, random: &mut Random) -> Record {
        self.left -= 1;
        let often = if random.one_in(6) { 80 } else { 12 };
        self.time += random.below(often) as i64;
        let late = if random.one_in(8) { 6 } else { 1 };
        let behind = random.below(self.disorder_ms * late) as i64;
        Record {
            partition,
            offset,
            kind: self.kind(random),
            service: random.index(self.services),
            timestamp: TimestampMs(self.time - behind),
            bytes: 1 + random.below(RECORD_BYTES) as usize,
        }
    }

    fn kind(&mut self, random: &mut Random) -> Kind {
        match random.below(32) {
            0 | 1 => Kind::Bot,
            2 => Kind::Future,
            3 | 4 => Kind::Tombstone,
            5 | 6 => Kind::Bad,
            7 | 8 if self.poison_left > 0 => {
                self.poison_left -= 1;
                Kind::Poison { in_enrich: random.one_in(2) }
            }
            9..12 => Kind::Event { event_type: 2 },
            12..18 => Kind::Event { event_type: 1 },
            _ => Kind::Event { event_type: 0 },
        }
    }
}
