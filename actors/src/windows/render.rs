//! What an epoch did to the windows, as records: alerts, and changes of the state.

use std::sync::Arc;

use tidegate_core::{
    Epoch, alert,
    event::MAX_SERVICE_BYTES,
    output::{RECORD_OVERHEAD_BYTES, own_record},
    partitioner::{key_group, partition_for_key},
    rules::Rule,
    window::{EpochDelta, StateChange, WindowKey, WindowState, Windows},
};
use tidegate_host::Clock;
use tidegate_log::{ByteRange, OutputBatch, OutputRecord, Topic, TopicFacts, TopicsFacts, push_header};
use tidegate_state::{encode_key, encode_value};
use tidegate_telemetry::{AlertNames, Traces};

use crate::{commit::epoch::Raised, traced::Origins};

/// What an alert's record takes beside its key and value: a header for the trace may come with it.
const ALERT_OVERHEAD_BYTES: usize = RECORD_OVERHEAD_BYTES + 96;

/// Renders for one window actor.
pub(super) struct Renderer {
    pub(super) rules: Arc<[Rule]>,
    pub(super) topics: Arc<TopicsFacts>,
    pub(super) clock: Clock,
    pub(super) traces: Traces,
}

impl Renderer {
    /// The alerts of an epoch, with what the metrics and those who wait for alerts are told of each.
    pub(super) fn alerts(&self, delta: &EpochDelta, origins: &Origins) -> (OutputBatch, Vec<Raised>) {
        let mut alerts = OutputBatch::default();
        let mut raised = Vec::with_capacity(delta.alerts.len());
        let topics = &self.topics;
        let now = self.clock.record_time();
        let limit = topics[Topic::Alerts as usize].max_message_bytes;
        for alert in &delta.alerts {
            let start = alerts.arena.len() as u32;
            let rule = &self.rules[alert.rule.0];
            let room = limit.saturating_sub(ALERT_OVERHEAD_BYTES + alert.service.len());
            let raw_topic = &topics[Topic::Raw as usize].name;
            alert::render_within(alert, rule, raw_topic, room, &mut alerts.arena);
            let value = ByteRange { start, end: alerts.arena.len() as u32 };
            let key = ByteRange::push(&mut alerts.arena, alert.service.as_bytes());
            let partitions = topics[Topic::Alerts as usize].partitions;
            let partition = partition_for_key(alert.service.as_bytes(), partitions);
            let names = AlertNames {
                rule: &rule.name,
                phase: alert.phase.as_str(),
                service: &alert.service,
                partition,
            };
            let span = self.traces.alert(names, origins.of(alert));
            let start = alerts.arena.len() as u32;
            if let Some(traceparent) = span.traceparent() {
                push_header(&mut alerts.arena, b"traceparent", Some(traceparent.as_bytes()));
            }
            let headers = ByteRange { start, end: alerts.arena.len() as u32 };
            let record = own_record(Topic::Alerts, partition, now, key, Some(value));
            alerts.records.push(OutputRecord { headers, ..record });
            raised.push(Raised {
                rule: alert.rule,
                phase: alert.phase,
                appended_at: alert.appended_at,
                _span: span,
            });
        }
        (alerts, raised)
    }

    /// The changes of an epoch as changelog records.
    pub(super) fn changelog(&self, epoch: Epoch, changes: &[StateChange]) -> OutputBatch {
        let mut batch = OutputBatch::default();
        let TopicFacts { partitions: groups, max_message_bytes: limit, .. } =
            self.topics[Topic::State as usize];
        let now = self.clock.record_time();
        for change in changes {
            let (key, state): (&WindowKey, _) = match change {
                StateChange::Put(key, state) => (key, Some(state)),
                StateChange::Delete(key) => (key, None),
            };
            let start = batch.arena.len() as u32;
            encode_key(key, &mut batch.arena);
            let key_span = ByteRange { start, end: batch.arena.len() as u32 };
            let value = state.map(|state| {
                let room = limit.saturating_sub(RECORD_OVERHEAD_BYTES + key_span.len());
                encode_within(epoch, state, room, &mut batch.arena);
                ByteRange { start: key_span.end, end: batch.arena.len() as u32 }
            });
            let partition = key_group(&key.service, groups);
            batch.records.push(own_record(Topic::State, partition, now, key_span, value));
        }
        batch
    }
}

/// Appends the value of a window, with as much of its evidence as there is room for; its counts are never given up.
fn encode_within(epoch: Epoch, state: &WindowState, room: usize, out: &mut Vec<u8>) {
    let start = out.len();
    encode_value(epoch, state, out);
    let mut smaller = None;
    while out.len() - start > room
        && let Some(_) = smaller.get_or_insert_with(|| state.clone()).evidence.pop()
        && let Some(smaller) = &smaller
    {
        out.truncate(start);
        encode_value(epoch, smaller, out);
    }
}

/// Has windows remember only what their alerts and their state have room for.
pub fn limit_evidence(windows: &mut Windows, rules: &[Rule], topics: &TopicsFacts) {
    // Names and the message, escaped, and the numbers.
    let text = |rule: &Rule| 2 * rule.name.len() + 2 * rule.message.len() + 4 * MAX_SERVICE_BYTES;
    let fixed = rules.iter().map(text).max().unwrap_or_default() + 512 + ALERT_OVERHEAD_BYTES;
    let limit = |topic: Topic| topics[topic as usize].max_message_bytes;
    let bytes = limit(Topic::Alerts).min(limit(Topic::State)).saturating_sub(fixed);
    windows.limit_evidence(bytes, alert::evidence_bytes(&topics[Topic::Raw as usize].name));
}
