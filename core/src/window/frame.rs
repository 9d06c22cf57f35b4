//! Where a rule's windows lie in event time, and which events share them.

use std::ops::Range;

use super::CountedEvent;
use crate::{TimestampMs, rules::Rule};

/// Where a rule's windows lie: `[k * slide, k * slide + length)` for all `k >= 0`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) length_ms: i64,
    slide_ms: i64,
    allowed_lateness_ms: i64,
}

impl Frame {
    pub(super) fn new(rule: &Rule, allowed_lateness_ms: i64) -> Self {
        Self { length_ms: rule.window_ms, slide_ms: rule.slide_ms.max(1), allowed_lateness_ms }
    }

    /// One past the last millisecond of the window.
    pub(super) fn end(self, start: TimestampMs) -> TimestampMs {
        TimestampMs(start.0.saturating_add(self.length_ms))
    }

    /// Whether a window starts there.
    pub(super) fn has_start(self, start: TimestampMs) -> bool {
        start.0 >= 0 && start.0 % self.slide_ms == 0
    }

    /// Whether the window is closed at this watermark.
    pub(super) fn is_closed(self, start: TimestampMs, watermark: Option<TimestampMs>) -> bool {
        watermark.is_some_and(|watermark| {
            self.end(start).0.saturating_add(self.allowed_lateness_ms) <= watermark.0
        })
    }

    /// The starts of the windows that an event belongs to, ascending.
    pub(super) fn starts(self, timestamp: TimestampMs) -> impl Iterator<Item = TimestampMs> + Clone {
        let last = self.pane(timestamp).start;
        let first = last.saturating_sub(self.length_ms).saturating_add(self.slide_ms).max(0);
        (first..=last).step_by(self.slide_ms as usize).map(TimestampMs)
    }

    /// The times between two starts that an event lies in: all of a pane belong to the same windows.
    fn pane(self, timestamp: TimestampMs) -> Range<i64> {
        let start = timestamp.0.saturating_sub(timestamp.0.rem_euclid(self.slide_ms));
        start..start.saturating_add(self.slide_ms)
    }
}

/// Events of one service that follow each other and belong to the same windows.
#[derive(Debug, Clone)]
pub(super) struct Run<I> {
    events: I,
    pub(super) len: usize,
    pub(super) first: TimestampMs,
    pub(super) lowest: TimestampMs,
    pub(super) highest: TimestampMs,
}

impl<'a, I: Iterator<Item = CountedEvent<'a>> + Clone> Run<I> {
    /// The run at the beginning of `events`; `None` if there are none.
    pub(super) fn at_beginning(events: I, frame: Frame) -> Option<Self> {
        let mut following = events.clone();
        let first = following.next()?.timestamp;
        let pane = frame.pane(first);
        let mut run = Self { events, len: 1, first, lowest: first, highest: first };
        for event in following.take_while(|event| pane.contains(&event.timestamp.0)) {
            run.len += 1;
            run.lowest = run.lowest.min(event.timestamp);
            run.highest = run.highest.max(event.timestamp);
        }
        Some(run)
    }

    pub(super) fn events(&self) -> impl Iterator<Item = CountedEvent<'a>> {
        self.events.clone().take(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(length_ms: i64, slide_ms: i64, timestamp: i64) -> Vec<i64> {
        let frame = Frame { length_ms, slide_ms, allowed_lateness_ms: 0 };
        frame.starts(TimestampMs(timestamp)).map(|start| start.0).collect()
    }

    #[test]
    fn windows_are_aligned_to_the_epoch_and_none_starts_before_it() {
        assert_eq!(starts(60, 60, 119), [60]);
        assert_eq!(starts(60, 60, 120), [120]);
        assert_eq!(starts(60, 20, 119), [60, 80, 100]);
        assert_eq!(starts(60, 20, 25), [0, 20]);
        assert!(starts(60, 20, -1).is_empty());
    }

    #[test]
    fn times_at_the_edge_of_the_number_range_do_not_overflow() {
        for timestamp in [i64::MIN, i64::MAX, TimestampMs::MAX.0] {
            for length in [1, 60_000, i64::MAX] {
                let frame = Frame { length_ms: length, slide_ms: length, allowed_lateness_ms: i64::MAX };
                for start in frame.starts(TimestampMs(timestamp)) {
                    assert!(!frame.is_closed(start, Some(TimestampMs(i64::MAX - 1))));
                }
            }
        }
    }
}
