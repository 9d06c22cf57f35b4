//! A worker of the filter pool: parses a piece, drops bots, and sorts out which events rules count.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{
    TimestampMs,
    bots::{BotCache, Category},
    event::Event,
    partitioner::{key_group, window_actor},
    rules::Rule,
    watermark::is_far_future,
};
use tidegate_log::{RecordBatch, RecordMeta, Span};
use tidegate_telemetry::{Metrics, Stage, TraceContext, Traces};

use crate::{
    clock::Clock,
    job::{Counted, CountedEvents, Filtered, Group, Job, Verdict},
    messages::{EnrichMsg, FilterMsg},
    pool::Pool,
    settings::PipelineSettings,
    tally::Tally,
    traced::sampled_producer,
};

/// Longest `user_id` that is kept as evidence, so that one event cannot make an alert too large to write.
const MAX_EVIDENCE_USER_ID_BYTES: usize = 1024;

/// How long an event that seems to come from the future waits for the broker's clock.
const CLOCK_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct FilterWorker;

pub(crate) struct FilterArgs {
    pub(crate) settings: Arc<PipelineSettings>,
    pub(crate) enrich: Arc<Pool<EnrichMsg>>,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Traces,
    pub(crate) clock: Clock,
}

pub(crate) struct FilterState {
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
            let Some(value) = record.value.map(|span| span.of(&job.batch.arena)) else {
                tally.tombstones += 1;
                verdicts.push(Verdict::Tombstone);
                continue;
            };
            fail_point!("filter_poison", memchr::memmem::find(value, b"__poison_filter__").is_some(), |_| {
                panic!("poisonous record")
            });
            let event = match settings.parser.parse(value) {
                Ok(event) => event,
                Err(rejection) => {
                    verdicts.push(Verdict::Reject(rejections.len() as u32));
                    rejections.push(rejection);
                    continue;
                }
            };
            let timestamp = event.timestamp.unwrap_or(record.timestamp.max(TimestampMs(0)));
            let far_future = is_far_future(timestamp, record.timestamp, now, settings.max_future_ms);
            if far_future {
                tally.future += 1;
            } else {
                highest = highest.max(Some(timestamp));
            }
            if let Some(category) = self.dropped_as(&event) {
                tally.bots[category as usize] += 1;
                verdicts.push(Verdict::Bot);
                continue;
            }
            if !far_future {
                let trace = || self.traced(record, &job.batch);
                matches.collect(&settings, &event, timestamp, record, trace);
            }
            verdicts.push(Verdict::Forward { ip: event.ip, geo: event.geo });
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

    fn dropped_as(&mut self, event: &Event<'_>) -> Option<Category> {
        self.bots.as_mut()?.drops(event.user_agent.as_deref()?)
    }
}

/// Events that rules count, as they come.
#[derive(Default)]
struct Matches {
    text: CountedEvents,
    found: Vec<Match>,
}

struct Match {
    /// The first rule that counts events of this type; all others of the type count it too.
    rule: usize,
    service: Span,
    event: Counted,
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
        let event = Counted { timestamp, append_time: record.timestamp, offset: record.offset, user_id };
        self.found.push(Match { rule, service, event, trace: trace() });
    }

    /// Groups by window actor, service and rule; within a group the order of arrival stays. Rules that count the same
    /// events share them.
    fn group(mut self, rules: &[Rule], actors: usize, key_groups: u32) -> Vec<CountedEvents> {
        let mut by_actor: Vec<CountedEvents> = (0..actors).map(|_| CountedEvents::default()).collect();
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
                actor.events.push(Counted { user_id, ..found.event });
            }
            let service = actor.push_text(service);
            let events = first..actor.events.len() as u32;
            let event_type = &rules[run[0].rule].event_type;
            let sharing = rules.iter().enumerate().filter(|(_, rule)| rule.event_type == *event_type);
            let groups = sharing.map(|(rule, _)| Group { rule, service, events: events.clone() });
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
            let event = Counted {
                timestamp: TimestampMs(0),
                append_time: TimestampMs(0),
                offset: offset as i64,
                user_id: None,
            };
            matches.found.push(Match { rule: 0, service, event, trace: None });
        }
        let [counted] = <[CountedEvents; 1]>::try_from(matches.group(&rules, 1, 12)).expect("one actor");
        let groups: Vec<_> = counted
            .groups
            .iter()
            .map(|group| {
                let offsets: Vec<_> = counted.events_of(group, PartitionId(0)).map(|e| e.offset).collect();
                (counted.text(group.service), group.rule, offsets)
            })
            .collect();
        let [a, b] = [vec![1, 3], vec![0, 2, 4]];
        assert_eq!(groups, [("a", 0, a.clone()), ("a", 2, a), ("b", 0, b.clone()), ("b", 2, b)]);
        assert_eq!(counted.events.len(), 5, "the rules share them");
    }
}
