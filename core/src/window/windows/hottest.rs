//! The open windows that are nearest to an alert, for people to look at.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use super::{ServiceId, Windows};
use crate::TimestampMs;

/// An open window as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWindow {
    /// Name of the rule.
    pub rule: Arc<str>,
    /// The service whose events are counted.
    pub service: Arc<str>,
    /// First millisecond of the window.
    pub start: TimestampMs,
    /// One past its last millisecond.
    pub end: TimestampMs,
    /// Events counted so far.
    pub count: u64,
    /// An alert is raised when the count passes this.
    pub threshold: u64,
    /// It was.
    pub crossed: bool,
}

impl OpenWindow {
    /// How much of the way to an alert is gone, in millionths; what is beyond a million is above the threshold.
    #[must_use]
    pub fn fill_ppm(&self) -> u64 {
        fill_ppm(self.count, self.threshold)
    }
}

fn fill_ppm(count: u64, threshold: u64) -> u64 {
    count.saturating_mul(1_000_000) / threshold.saturating_add(1)
}

/// What windows are compared by: how full they are, and then anything that makes the order the same each time.
type Rank = (u64, TimestampMs, Reverse<usize>, ServiceId);

impl Windows {
    /// At most `limit` open windows, the fullest first. Looks at all of them, so not for every batch.
    #[must_use]
    pub fn hottest(&self, limit: usize) -> Vec<OpenWindow> {
        let mut best: BinaryHeap<Reverse<Rank>> = BinaryHeap::new();
        for (index, rule) in self.rules.iter().enumerate() {
            for (start, windows) in &rule.by_start {
                for (id, window) in windows {
                    best.push(Reverse((
                        fill_ppm(window.state.count, rule.threshold),
                        *start,
                        Reverse(index),
                        *id,
                    )));
                    if best.len() > limit {
                        best.pop();
                    }
                }
            }
        }
        best.into_sorted_vec().into_iter().filter_map(|Reverse(rank)| self.shown(rank)).collect()
    }

    fn shown(&self, (_, start, Reverse(rule), id): Rank) -> Option<OpenWindow> {
        let rule = &self.rules[rule];
        let state = &rule.by_start.get(&start)?.get(&id)?.state;
        Some(OpenWindow {
            rule: Arc::clone(&rule.name),
            service: Arc::clone(self.services.name(id)),
            start,
            end: rule.frame.end(start),
            count: state.count,
            threshold: rule.threshold,
            crossed: state.crossed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        PartitionId, RuleId,
        rules::Rule,
        window::{CountedEvent, OpenWindows},
    };

    #[test]
    fn the_windows_nearest_to_their_thresholds_come_first() {
        let rules = [
            Rule { name: "few".into(), threshold: 1, ..Rule::default() },
            Rule { name: "many".into(), threshold: 99, ..Rule::default() },
        ];
        let mut windows = Windows::new(rules.into(), 0, 5, Arc::new(OpenWindows::new(100)));
        for (rule, service, count) in
            [(0, "a", 3), (1, "a", 60), (1, "b", 98), (1, "c", 1), (0, "c", 1), (1, "d", 99)]
        {
            let event = CountedEvent {
                timestamp: TimestampMs(0),
                partition: PartitionId(0),
                offset: 0,
                user_id: None,
                append_time: TimestampMs(0),
            };
            windows.count(RuleId(rule), service, std::iter::repeat_n(event, count));
        }
        let shown = |limit| -> Vec<_> {
            let hottest = windows.hottest(limit);
            hottest.iter().map(|window| (window.rule.to_string(), window.service.to_string())).collect()
        };
        let of = |rule: &str, service: &str| (rule.to_owned(), service.to_owned());
        assert_eq!(shown(4), [of("few", "a"), of("many", "d"), of("many", "b"), of("many", "a")]);
        assert_eq!(shown(100).len(), 6);
        assert!(shown(0).is_empty());
        let first = &windows.hottest(1)[0];
        assert_eq!((first.count, first.crossed, first.fill_ppm()), (3, true, 1_500_000));
    }
}
