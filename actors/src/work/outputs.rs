//! What outputs have to keep to, as a worker has it.

use std::sync::Arc;

use tidegate_core::{
    output::{OutputBuilder, Targets},
    refused::RefusedRecords,
    tally::Tally,
};
use tidegate_log::{RecordBatch, TopicsFacts};

use tidegate_host::Clock;

/// What outputs have to keep to.
#[derive(Clone)]
pub struct Outputs {
    /// The topics as they are.
    pub topics: Arc<TopicsFacts>,
    /// Records whose output was refused before.
    pub refused: Arc<RefusedRecords>,
    /// Tells the broker's time.
    pub clock: Clock,
}

impl Outputs {
    /// Builds output of records of `source`; `tally` is what was counted of them before.
    pub(crate) fn builder<'a>(&'a self, source: &'a RecordBatch, tally: Tally) -> OutputBuilder<'a> {
        let Self { topics, refused, clock } = self;
        OutputBuilder::new(Targets { topics, refused, broker_now: clock.broker_now() }, source, tally)
    }
}
