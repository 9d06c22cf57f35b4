//! The owner of a share of the windows.
//!
//! Event time moves only at barriers: an event is late or not by the watermark of the last one, so that a
//! replay of the same cuts decides the same. Events of the next epoch that come early wait.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{
    Epoch, PartitionId, alert,
    epoch::align::{Alignment, OutOfTurn, Turn},
    event::MAX_SERVICE_BYTES,
    partitioner::{key_group, partition_for_key},
    rules::Rule,
    watermark::{PartitionMark, PipelineWatermark},
    window::{EpochDelta, StateChange, WindowKey, WindowState, Windows},
};
use tidegate_log::{Origin, OutputBatch, OutputRecord, Span, Topic, TopicFacts, TopicsFacts, push_header};
use tidegate_state::{encode_key, encode_value};
use tidegate_telemetry::{AlertNames, Metrics, Parent, Stage, Traces};

use crate::{
    clock::Clock,
    job::CountedEvents,
    messages::{BarrierMsg, CommitterMsg, Delta, Raised, Report, Sealed, WindowMsg},
    output::RECORD_OVERHEAD_BYTES,
    traced::Origins,
};

/// What an alert's record takes beside its key and value: a header for the trace may come with it.
const ALERT_OVERHEAD_BYTES: usize = RECORD_OVERHEAD_BYTES + 96;

pub(crate) struct WindowActor;

pub(crate) struct WindowArgs {
    pub(crate) windows: Windows,
    pub(crate) rules: Arc<[Rule]>,
    pub(crate) watermark: PipelineWatermark,
    /// The epoch that is open first.
    pub(crate) epoch: Epoch,
    pub(crate) topics: Arc<TopicsFacts>,
    pub(crate) committer: ActorRef<CommitterMsg>,
    pub(crate) barrier: ActorRef<BarrierMsg>,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Traces,
    pub(crate) allowed_lateness_ms: i64,
    pub(crate) clock: Clock,
}

pub(crate) struct WindowActorState {
    args: WindowArgs,
    alignment: Alignment<PartitionMark>,
    /// Events of the next epoch.
    early: VecDeque<(PartitionId, CountedEvents, Parent)>,
    origins: Origins,
    /// Events counted since the meter was told.
    counted: usize,
}

impl Actor for WindowActor {
    type Msg = WindowMsg;
    type State = WindowActorState;
    type Arguments = WindowArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<WindowMsg>,
        args: WindowArgs,
    ) -> Result<WindowActorState, ActorProcessingErr> {
        let partitions = args.topics[Topic::Raw as usize].partitions as usize;
        Ok(WindowActorState {
            alignment: Alignment::new(args.epoch, partitions),
            args,
            early: VecDeque::new(),
            origins: Origins::default(),
            counted: 0,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<WindowMsg>,
        message: WindowMsg,
        state: &mut WindowActorState,
    ) -> Result<(), ActorProcessingErr> {
        let started = Instant::now();
        fail_point!("window");
        match message {
            WindowMsg::Count { epoch, partition, events, trace } => {
                match state.alignment.turn(epoch, partition)? {
                    Turn::Now => state.count(partition, &events, &trace),
                    Turn::Early => state.early.push_back((partition, events, trace)),
                }
            }
            WindowMsg::Sealed(sealed) => state.sealed(sealed)?,
            WindowMsg::Report { limit, reply } => {
                let windows = &state.args.windows;
                // Who asked may have gone.
                let _ = reply.try_send(Report { open: windows.len(), hottest: windows.hottest(limit) });
            }
        }
        state
            .args
            .metrics
            .stage(Stage::Window)
            .add_busy(started.elapsed(), std::mem::take(&mut state.counted));
        Ok(())
    }
}

impl WindowActorState {
    fn count(&mut self, partition: PartitionId, events: &CountedEvents, trace: &Parent) {
        let _span = trace.child("count");
        self.args.metrics.stage(Stage::Window).queue().sub(events.events.len() as u64);
        self.counted += events.events.len();
        let mut crossed = false;
        for group in &events.groups {
            let service = events.text(group.service);
            for (timestamp, context) in events.traced_of(group) {
                self.origins.counted(group.rule, service, timestamp, context.clone());
            }
            crossed |= self.args.windows.count(group.rule, service, events.events_of(group, partition));
        }
        if crossed {
            // If the barrier is gone, so is this generation.
            let _ = self.args.barrier.cast(BarrierMsg::CutSoon);
        }
    }

    fn sealed(&mut self, sealed: Sealed) -> Result<(), OutOfTurn> {
        self.alignment.seal(sealed.cut.epoch, sealed.partition, sealed.mark)?;
        let epoch = self.alignment.epoch();
        let Some(marks) = self.alignment.open_next() else { return Ok(()) };
        let watermark = self.args.watermark.advance(&marks, sealed.cut.elapsed_ms);
        let delta = self.args.windows.seal(watermark);
        let delta = Box::new(self.render(epoch, delta));
        let _ = self.args.committer.cast(CommitterMsg::Delta(delta));

        if let Some(watermark) = self.args.watermark.value() {
            let (rules, lateness_ms) = (&self.args.rules, self.args.allowed_lateness_ms);
            self.origins.forget(watermark, |rule| rules[rule].window_ms.saturating_add(lateness_ms));
        }
        for (partition, events, trace) in std::mem::take(&mut self.early) {
            self.count(partition, &events, &trace);
        }
        Ok(())
    }

    fn render(&self, epoch: Epoch, delta: EpochDelta) -> Delta {
        let mut alerts = OutputBatch::default();
        let mut raised = Vec::with_capacity(delta.alerts.len());
        let topics = &self.args.topics;
        let now = self.args.clock.record_time();
        let limit = topics[Topic::Alerts as usize].max_message_bytes;
        for alert in &delta.alerts {
            let start = alerts.arena.len() as u32;
            let rule = &self.args.rules[alert.rule];
            let room = limit.saturating_sub(ALERT_OVERHEAD_BYTES + alert.service.len());
            let raw_topic = &topics[Topic::Raw as usize].name;
            alert::render_within(alert, rule, raw_topic, room, &mut alerts.arena);
            let value = Span { start, end: alerts.arena.len() as u32 };
            let key = Span::push(&mut alerts.arena, alert.service.as_bytes());
            let partitions = topics[Topic::Alerts as usize].partitions;
            let partition = partition_for_key(alert.service.as_bytes(), partitions);
            let names = AlertNames {
                rule: &rule.name,
                phase: alert.phase.as_str(),
                service: &alert.service,
                partition,
            };
            let span = self.args.traces.alert(names, self.origins.of(alert));
            let start = alerts.arena.len() as u32;
            if let Some(traceparent) = span.traceparent() {
                push_header(&mut alerts.arena, b"traceparent", Some(traceparent.as_bytes()));
            }
            let headers = Span { start, end: alerts.arena.len() as u32 };
            let record = own_record(Topic::Alerts, partition, now, key, Some(value));
            alerts.records.push(OutputRecord { headers, ..record });
            raised.push(Raised {
                rule: alert.rule,
                phase: alert.phase,
                appended_at: alert.appended_at,
                _span: span,
            });
        }
        Delta {
            epoch,
            alerts: Arc::new(alerts),
            changes: self.changelog(epoch, &delta.changes),
            raised,
            late: delta.late,
            overflow: delta.overflow,
            watermark: self.args.watermark.value(),
        }
    }

    fn changelog(&self, epoch: Epoch, changes: &[StateChange]) -> OutputBatch {
        let mut batch = OutputBatch::default();
        let TopicFacts { partitions: groups, max_message_bytes: limit, .. } =
            self.args.topics[Topic::State as usize];
        let now = self.args.clock.record_time();
        for change in changes {
            let (key, state): (&WindowKey, _) = match change {
                StateChange::Put(key, state) => (key, Some(state)),
                StateChange::Delete(key) => (key, None),
            };
            let start = batch.arena.len() as u32;
            encode_key(key, &mut batch.arena);
            let key_span = Span { start, end: batch.arena.len() as u32 };
            let value = state.map(|state| {
                let room = limit.saturating_sub(RECORD_OVERHEAD_BYTES + key_span.len());
                encode_within(epoch, state, room, &mut batch.arena);
                Span { start: key_span.end, end: batch.arena.len() as u32 }
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
pub(crate) fn limit_evidence(windows: &mut Windows, rules: &[Rule], topics: &TopicsFacts) {
    // Names and the message, escaped, and the numbers.
    let text = |rule: &Rule| 2 * rule.name.len() + 2 * rule.message.len() + 4 * MAX_SERVICE_BYTES;
    let fixed = rules.iter().map(text).max().unwrap_or_default() + 512 + ALERT_OVERHEAD_BYTES;
    let limit = |topic: Topic| topics[topic as usize].max_message_bytes;
    let bytes = limit(Topic::Alerts).min(limit(Topic::State)).saturating_sub(fixed);
    windows.limit_evidence(bytes, alert::evidence_bytes(&topics[Topic::Raw as usize].name));
}

/// A record without headers.
pub(crate) fn own_record(
    topic: Topic,
    partition: u32,
    timestamp: tidegate_core::TimestampMs,
    key: Span,
    value: Option<Span>,
) -> OutputRecord {
    let (key, headers, origin) = (Some(key), Span::EMPTY, Origin::NONE);
    OutputRecord { topic, partition, timestamp, key, value, headers, origin }
}
