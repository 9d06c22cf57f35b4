//! How a sink is: what keeps it from its work, shown and logged.

use std::collections::BTreeMap;

use tidegate_core::SinkId;
use tidegate_telemetry::{Metrics, SinkMeter};

/// What keeps a sink from its work.
pub(crate) struct Condition {
    name: String,
    id: SinkId,
    metrics: Metrics,
    /// Why the log cannot be read, if so.
    log: Option<String>,
    /// Couriers whose destination does not answer, each with the cause.
    couriers: BTreeMap<usize, String>,
    /// It has heard of its consumer group.
    has_begun: bool,
}

impl Condition {
    pub(crate) fn new(name: String, id: SinkId, metrics: Metrics) -> Self {
        let (log, couriers) = Default::default();
        Self { name, id, metrics, log, couriers, has_begun: false }
    }

    pub(crate) fn meter(&self) -> &SinkMeter {
        self.metrics.sink(self.id)
    }

    /// The group has answered.
    pub(crate) fn began(&mut self) {
        self.has_begun = true;
        self.log_is(None);
    }

    /// How the log is.
    pub(crate) fn log_is(&mut self, trouble: Option<String>) {
        self.log = trouble;
        self.show();
    }

    /// How the destination answers a courier.
    pub(crate) fn courier_is(&mut self, number: usize, trouble: Option<String>) {
        match trouble {
            Some(cause) => self.couriers.insert(number, cause),
            None => self.couriers.remove(&number),
        };
        self.show();
    }

    fn show(&self) {
        match self.couriers.values().next().or(self.log.as_ref()) {
            Some(cause) => {
                if self.meter().degraded(cause) {
                    tracing::warn!(sink = self.name, cause, "the sink cannot deliver and tries again");
                }
            }
            None if self.has_begun => self.meter().works(),
            None => {}
        }
    }
}
