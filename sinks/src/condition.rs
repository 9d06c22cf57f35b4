//! How a sink is: what keeps it from its work, shown and logged.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tidegate_core::SinkId;
use tidegate_telemetry::{Metrics, SinkMeter};

/// While nothing works, a new cause is logged this often at most: texts of clients differ by counters in them.
const LOG_EVERY: Duration = Duration::from_secs(30);

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
    logged: Option<Instant>,
}

impl Condition {
    pub(crate) fn new(name: String, id: SinkId, metrics: Metrics) -> Self {
        let (log, couriers) = Default::default();
        Self { name, id, metrics, log, couriers, has_begun: false, logged: None }
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

    fn show(&mut self) {
        match self.couriers.values().next().or(self.log.as_ref()) {
            Some(cause) => {
                let was_logged = self.logged.is_some_and(|at| at.elapsed() < LOG_EVERY);
                if self.meter().degraded(cause) && !was_logged {
                    tracing::warn!(sink = self.name, cause, "the sink cannot deliver and tries again");
                    self.logged = Some(Instant::now());
                }
            }
            None if self.has_begun => {
                if self.logged.take().is_some() {
                    tracing::info!(sink = self.name, "the sink works again");
                }
                self.meter().works();
            }
            None => {}
        }
    }
}
