//! Events on their way to the windows that count them.

use std::ops::Range;

use tidegate_core::{PartitionId, RuleId, TimestampMs, window::CountedEvent};
use tidegate_log::ByteRange;
use tidegate_telemetry::TraceContext;

/// Events that rules count, for one window actor: grouped by service, for each rule that counts them, so that a
/// window actor looks a window up once per group and not once per event.
#[derive(Debug, Default)]
pub struct GroupedEvents {
    /// Service names and user ids.
    pub(crate) text: String,
    pub(crate) groups: Vec<Group>,
    pub(crate) events: Vec<GroupedEvent>,
    /// Events that somebody traces: their indices and their producers' spans.
    pub(crate) traced: Vec<(u32, TraceContext)>,
}

/// A run of [`GroupedEvents::events`] of one service, in arrival order, and a rule that counts them.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) rule: RuleId,
    pub(crate) service: ByteRange,
    pub(crate) events: Range<u32>,
}

/// One event that a rule counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupedEvent {
    pub(crate) timestamp: TimestampMs,
    pub(crate) append_time: TimestampMs,
    pub(crate) offset: i64,
    pub(crate) user_id: Option<ByteRange>,
}

impl GroupedEvents {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The text at `span`.
    pub(crate) fn text(&self, span: ByteRange) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    /// The traced events of `group`: their times and their producers' spans.
    pub(crate) fn traced_of(&self, group: &Group) -> impl Iterator<Item = (TimestampMs, &TraceContext)> {
        let traced = self.traced.iter().filter(|(index, _)| group.events.contains(index));
        traced.map(|(index, context)| (self.events[*index as usize].timestamp, context))
    }

    /// Appends `text` and says where it is.
    pub(crate) fn push_text(&mut self, text: &str) -> ByteRange {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        ByteRange { start, end: self.text.len() as u32 }
    }

    /// The events of `group` as the windows take them.
    pub(crate) fn events_of(
        &self,
        group: &Group,
        partition: PartitionId,
    ) -> impl Iterator<Item = CountedEvent<'_>> + Clone {
        let range = group.events.start as usize..group.events.end as usize;
        self.events[range].iter().map(move |event| CountedEvent {
            timestamp: event.timestamp,
            partition,
            offset: event.offset,
            user_id: event.user_id.map(|span| self.text(span)),
            append_time: event.append_time,
        })
    }
}
