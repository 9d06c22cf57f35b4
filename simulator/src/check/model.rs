//! Counting in windows, as simple as can be.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_core::{TimestampMs, alert::AlertPhase, rules::Rule};

use crate::{
    input::Record,
    shape::{SERVICES, Shape},
};

/// Rule, service and start of a window.
pub(super) type Place = (usize, usize, i64);

/// An open window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) count: u64,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) crossed: bool,
    /// The events that were counted, by partition and offset.
    pub(super) events: Vec<(u32, i64)>,
}

/// An alert that has to be: what a crossing has seen depends on the order in which partitions came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Expected {
    pub(super) place: Place,
    pub(super) phase: AlertPhase,
    pub(super) count: u64,
    /// Lowest and highest time counted, of one that closed.
    pub(super) times: Option<(i64, i64)>,
}

#[derive(Debug)]
pub(super) struct Model {
    rules: Arc<[Rule]>,
    lateness_ms: i64,
    pub(super) windows: BTreeMap<Place, Window>,
}

impl Model {
    pub(super) fn new(shape: &Shape) -> Self {
        Self {
            rules: Arc::clone(&shape.rules),
            lateness_ms: shape.allowed_lateness_ms,
            windows: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    pub(super) fn rule(&self, name: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.name == name)
    }

    pub(super) fn length_ms(&self, rule: usize) -> i64 {
        self.rules[rule].window_ms
    }

    fn is_closed(&self, (rule, _, start): Place, watermark: Option<TimestampMs>) -> bool {
        let end = start + self.rules[rule].window_ms + self.lateness_ms;
        watermark.is_some_and(|watermark| end <= watermark.0)
    }

    /// Whether a window closes at this watermark.
    pub(super) fn would_close(&self, watermark: Option<TimestampMs>) -> bool {
        self.windows.keys().any(|place| self.is_closed(*place, watermark))
    }

    /// Counts an event; `watermark` is that of the epoch before.
    pub(super) fn count(
        &mut self,
        record: &Record,
        watermark: Option<TimestampMs>,
        raised: &mut Vec<Expected>,
    ) {
        let time = record.timestamp.0;
        for rule in 0..self.rules.len() {
            let Rule { event_type, window_ms, slide_ms, threshold, .. } = &self.rules[rule];
            if !record.is_counted_by(event_type) {
                continue;
            }
            let (length, slide, threshold) = (*window_ms, *slide_ms, *threshold);
            let mut start = time - time % slide;
            while start > time - length && start >= 0 {
                let place = (rule, record.service, start);
                if !self.is_closed(place, watermark) {
                    let new =
                        Window { count: 0, first: time, last: time, crossed: false, events: Vec::new() };
                    let window = self.windows.entry(place).or_insert(new);
                    window.count += 1;
                    window.first = window.first.min(time);
                    window.last = window.last.max(time);
                    window.events.push((record.partition.0, record.offset));
                    if window.count == threshold + 1 {
                        window.crossed = true;
                        raised.push(Expected {
                            place,
                            phase: AlertPhase::Crossed,
                            count: window.count,
                            times: None,
                        });
                    }
                }
                start -= slide;
            }
        }
    }

    /// Ends an epoch at this watermark; returns the windows that closed.
    pub(super) fn end_epoch(
        &mut self,
        watermark: Option<TimestampMs>,
        raised: &mut Vec<Expected>,
    ) -> Vec<(Place, Window)> {
        let closed: Vec<Place> =
            self.windows.keys().copied().filter(|place| self.is_closed(*place, watermark)).collect();
        let mut gone = Vec::new();
        for place in closed {
            if let Some(window) = self.windows.remove(&place) {
                if window.count > self.rules[place.0].threshold {
                    let times = Some((window.first, window.last));
                    raised.push(Expected { place, phase: AlertPhase::Closed, count: window.count, times });
                }
                gone.push((place, window));
            }
        }
        gone
    }
}

/// The number of a service.
pub(super) fn service(name: &str) -> Option<usize> {
    SERVICES.iter().position(|service| *service == name)
}
