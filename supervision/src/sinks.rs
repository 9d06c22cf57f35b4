//! The sinks as children of the root.

use std::time::Duration;

use tidegate_core::supervision::RestartBudget;
use tidegate_sinks::SinkParts;

use crate::root::{Child, OnFailure, Starting};

/// The sinks to run, and how often each may fail.
pub struct Sinks {
    /// What each is made of.
    pub parts: Vec<SinkParts>,
    /// Restarts of one sink within the window, beyond which it stays down.
    pub max_restarts: usize,
    /// The window.
    pub restart_window: Duration,
}

impl Sinks {
    pub(crate) fn into_children(self) -> Vec<Child> {
        let Self { parts, max_restarts, restart_window } = self;
        let child = |parts: SinkParts| {
            let (id, metrics) = (parts.id, parts.metrics.clone());
            Child {
                name: format!("sink {}", parts.settings.name),
                start: Box::new(move |root| -> Starting {
                    let parts = parts.clone();
                    Box::pin(tidegate_sinks::start(parts, root))
                }),
                on_failure: OnFailure::Restart(RestartBudget::new(max_restarts, restart_window)),
                stop: Some(tidegate_sinks::shut_down),
                given_up: Some(Box::new(move |cause| metrics.sink(id).stopped(Some(cause)))),
            }
        };
        parts.into_iter().map(child).collect()
    }
}
