//! A worker of the filter pool: parses a piece, drops bots, and sorts out which events rules count.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{
    RuleId, TimestampMs,
    bots::BotCache,
    event::{
        Event,
        classify::{Fate, Times, classify},
    },
    partitioner::{key_group, window_actor},
    rules::Rule,
    tally::Tally,
};
use tidegate_host::Clock;
use tidegate_log::{ByteRange, RecordBatch, RecordMeta};
use tidegate_telemetry::{Metrics, Stage, TraceContext, Traces};

use super::{
    enrich::EnrichMsg,
    jobs::{Filtered, Job, Verdict},
    pool::Pool,
};
use crate::{
    settings::PipelineSettings,
    traced::sampled_producer,
    windows::grouped::{Group, GroupedEvent, GroupedEvents},
};

/// Longest `user_id` that is kept as evidence, so that one event cannot make an alert too large to write.
const MAX_EVIDENCE_USER_ID_BYTES: usize = 1024;

/// How long an event that seems to come from the future waits for the broker's clock.
const CLOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The worker.
pub struct FilterWorker;

/// To a filter worker, from a partition actor.
pub struct FilterMsg(pub(crate) Job);

/// What a filter worker works with.
pub struct FilterArgs {
    /// Settings.
    pub settings: Arc<PipelineSettings>,
    /// Who goes on with what is filtered.
    pub enrich: Arc<Pool<EnrichMsg>>,
    /// Metrics.
    pub metrics: Metrics,
    /// Where spans are made.
    pub traces: Traces,
    /// Tells the time.
    pub clock: Clock,
}

/// State of a filter worker.
pub struct FilterState {
    args: FilterArgs,
    bots: Option<BotCache>,
}

impl Actor for FilterWorker {
    type Msg = FilterMsg;
    type State = FilterState;
    type Arguments = FilterArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<FilterMsg>,
        args: FilterArgs,
    ) -> Result<FilterState, ActorProcessingErr> {
        let bots = args.settings.bots.clone().map(BotCache::new);
        Ok(FilterState { args, bots })
    }

    async fn handle(
        &self,
        _myself: ActorRef<FilterMsg>,
        FilterMsg(mut job): FilterMsg,
        state: &mut FilterState,
    ) -> Result<(), ActorProcessingErr> {
        let started = Instant::now();
        let records = job.ticket.piece().records().len();
        job.ticket.take_in_hand();
        fail_point!("filter");
        let span = job.trace.child("filter");
        let mut filtered = state.filter(job);
        if filtered.tally.future > 0 && state.args.clock.is_awaited() {
            // The host's clock may be wrong, and the broker's is known in a moment.
            state.args.clock.settled(CLOCK_TIMEOUT).await;
            filtered = state.filter(filtered.job);
        }
        drop(span);
        filtered.job.ticket.queue_for(Stage::Enrich);
        state.args.metrics.stage(Stage::Filter).add_busy(started.elapsed(), records);
        // With no enrich worker alive the ticket is dropped here, and the partition gives the piece out again.
        let _ = state.args.enrich.send(EnrichMsg(Box::new(filtered)));
        Ok(())
    }
}

impl FilterState {
    fn filter(&mut self, job: Job) -> Filtered {
        let settings = Arc::clone(&self.args.settings);
        let piece = job.ticket.piece();
        let now = self.args.clock.now();
        let mut verdicts = Vec::with_capacity(piece.records().len());
        let mut rejections = Vec::new();
        let mut matches = Matches::default();
        let mut tally = Tally::default();
        let mut highest = None;

        for record in &job.batch.records[piece.records()] {
            let value = record.value.map(|value| value.of(&job.batch.arena));
            fail_point!("filter_poison", is_poisonous(value), |_| panic!("poisonous record"));
            let times = Times { record: record.timestamp, now, max_future_ms: settings.max_future_ms };
            let classified = match classify(value, times, &settings.parser, self.bots.as_mut()) {
                Fate::Tombstone => {
                    tally.tombstones += 1;
                    verdicts.push(Verdict::Tombstone);
                    continue;
                }
                Fate::DeadLetter(rejection) => {
                    verdicts.push(Verdict::Reject(rejections.len() as u32));
                    rejections.push(rejection);
                    continue;
                }
                Fate::Event(classified) => classified,
            };
            tally.future += u64::from(classified.is_far_future);
            if classified.moves_watermark() {
                highest = highest.max(Some(classified.timestamp));
            }
            if classified.is_counted() {
                let trace = || self.traced(record, &job.batch);
                matches.collect(&settings, &classified.event, classified.timestamp, record, trace);
            }
            verdicts.push(match classified.bot {
                Some(category) => {
                    tally.bots[category as usize] += 1;
                    Verdict::Bot
                }
                None => Verdict::Forward { ip: classified.event.ip, geo: classified.event.geo },
            });
        }
        let counted = matches.group(&settings.rules, settings.window_actors, settings.key_groups);
        Filtered { job, verdicts, rejections, counted, tally, highest }
    }

    /// The span of a record's producer, if somebody keeps it.
    fn traced(&self, record: &RecordMeta, batch: &RecordBatch) -> Option<Box<TraceContext>> {
        if !self.args.traces.is_on() {
            return None;
        }
        sampled_producer(record.headers.of(&batch.arena)).map(Box::new)
    }
}

#[cfg(feature = "failpoints")]
fn is_poisonous(value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| memchr::memmem::find(value, b"__poison_filter__").is_some())
}

/// Events that rules count, as they come.
#[derive(Default)]
struct Matches {
    text: GroupedEvents,
    found: Vec<Match>,
}

struct Match {
    /// The first rule that counts events of this type; all others of the type count it too.
    rule: RuleId,
    service: ByteRange,
    event: GroupedEvent,
    trace: Option<Box<TraceContext>>,
}

impl Matches {
    fn collect(
        &mut self,
        settings: &PipelineSettings,
        event: &Event<'_>,
        timestamp: TimestampMs,
        record: &RecordMeta,
        trace: impl FnOnce() -> Option<Box<TraceContext>>,
    ) {
        let Some(rule) = settings.rules.iter().position(|rule| rule.event_type == event.event_type) else {
            return;
        };
        let user_id = event.user_id.as_deref().map(|id| {
            let end = id.floor_char_boundary(MAX_EVIDENCE_USER_ID_BYTES);
            self.text.push_text(&id[..end])
        });
        let service = self.text.push_text(&event.service);
        let event = GroupedEvent { timestamp, append_time: record.timestamp, offset: record.offset, user_id };
        self.found.push(Match { rule: RuleId(rule), service, event, trace: trace() });
    }

    /// Groups by window actor, service and rule; within a group the order of arrival stays. Rules that count the same
    /// events share them.
    fn group(mut self, rules: &[Rule], actors: usize, key_groups: u32) -> Vec<GroupedEvents> {
        let mut by_actor: Vec<GroupedEvents> = (0..actors).map(|_| GroupedEvents::default()).collect();
        let text = &self.text;
        self.found.sort_by(|a, b| (a.rule, text.text(a.service)).cmp(&(b.rule, text.text(b.service))));
        for run in
            self.found.chunk_by(|a, b| a.rule == b.rule && text.text(a.service) == text.text(b.service))
        {
            let service = text.text(run[0].service);
            let actor = &mut by_actor[window_actor(key_group(service, key_groups), actors)];
            let first = actor.events.len() as u32;
            for found in run {
                let user_id = found.event.user_id.map(|span| actor.push_text(text.text(span)));
                if let Some(trace) = &found.trace {
                    actor.traced.push((actor.events.len() as u32, (**trace).clone()));
                }
                actor.events.push(GroupedEvent { user_id, ..found.event });
            }
            let service = actor.push_text(service);
            let events = first..actor.events.len() as u32;
            let event_type = &rules[run[0].rule.0].event_type;
            let sharing = rules.iter().enumerate().filter(|(_, rule)| rule.event_type == *event_type);
            let groups =
                sharing.map(|(rule, _)| Group { rule: RuleId(rule), service, events: events.clone() });
            actor.groups.extend(groups);
        }
        by_actor
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::PartitionId;

    use super::*;

    #[test]
    fn matches_are_grouped_by_service_in_arrival_order_for_each_rule_that_counts_them() {
        let other = Rule { event_type: "login".into(), ..Rule::default() };
        let rules = [Rule::default(), other, Rule { name: "again".into(), ..Rule::default() }];
        let mut matches = Matches::default();
        for (offset, service) in ["b", "a", "b", "a", "b"].into_iter().enumerate() {
            let service = matches.text.push_text(service);
            let event = GroupedEvent {
                timestamp: TimestampMs(0),
                append_time: TimestampMs(0),
                offset: offset as i64,
                user_id: None,
            };
            matches.found.push(Match { rule: RuleId(0), service, event, trace: None });
        }
        let [counted] = <[GroupedEvents; 1]>::try_from(matches.group(&rules, 1, 12)).expect("one actor");
        let groups: Vec<_> = counted
            .groups
            .iter()
            .map(|group| {
                let offsets: Vec<_> = counted.events_of(group, PartitionId(0)).map(|e| e.offset).collect();
                (counted.text(group.service), group.rule.0, offsets)
            })
            .collect();
        let [a, b] = [vec![1, 3], vec![0, 2, 4]];
        assert_eq!(groups, [("a", 0, a.clone()), ("a", 2, a), ("b", 0, b.clone()), ("b", 2, b)]);
        assert_eq!(counted.events.len(), 5, "the rules share them");
    }
}
