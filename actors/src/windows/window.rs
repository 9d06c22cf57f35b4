//! The owner of a share of the windows: counts, and hands over what each epoch did to them.
//!
//! What is late, and what an epoch is, is decided by [`WindowShare`].

use std::{sync::Arc, time::Instant};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{
    Epoch, PartitionId,
    epoch::{
        align::OutOfTurn,
        barrier::Seal,
        share::{ShareDelta, WindowShare},
    },
    rules::Rule,
    window::OpenWindow,
};
use tidegate_host::Clock;
use tidegate_log::TopicsFacts;
use tidegate_telemetry::{Metrics, Parent, Stage, Traces};
use tokio::sync::mpsc;

use super::{grouped::GroupedEvents, render::Renderer};
use crate::{
    commit::{committer::CommitterMsg, epoch::Delta},
    control::barrier::BarrierMsg,
    traced::Origins,
};

/// The actor.
pub struct WindowActor;

/// To a window actor.
pub enum WindowMsg {
    /// From a partition actor: events to count.
    Count {
        /// The epoch that they belong to.
        epoch: Epoch,
        /// Where they come from.
        partition: PartitionId,
        /// The events.
        events: GroupedEvents,
        /// Where their spans belong.
        trace: Parent,
    },
    /// From a partition actor, behind all of its events of the epoch.
    Sealed(Seal),
    /// From the supervisor, for somebody who looks.
    Report {
        /// At most so many open windows, the fullest first.
        limit: usize,
        /// Where the answer goes.
        reply: mpsc::Sender<Report>,
    },
}

/// Open windows of one window actor, for somebody who looks.
pub struct Report {
    /// All there are.
    pub open: usize,
    /// The fullest of them.
    pub hottest: Vec<OpenWindow>,
}

/// Events to count.
pub struct Events {
    partition: PartitionId,
    counted: GroupedEvents,
    trace: Parent,
}

/// What a window actor works with.
pub struct WindowArgs {
    /// The windows, and what epoch is open.
    pub share: WindowShare<Events>,
    /// The rules.
    pub rules: Arc<[Rule]>,
    /// The topics as they are.
    pub topics: Arc<TopicsFacts>,
    /// Where the share's part of each epoch goes.
    pub committer: ActorRef<CommitterMsg>,
    /// Who cuts when an alert has crossed.
    pub barrier: ActorRef<BarrierMsg>,
    /// Metrics.
    pub metrics: Metrics,
    /// Where spans are made.
    pub traces: Traces,
    /// How long after a window's end events still count, in milliseconds.
    pub allowed_lateness_ms: i64,
    /// Tells the time.
    pub clock: Clock,
}

/// State of a window actor.
pub struct WindowActorState {
    links: Links,
    share: WindowShare<Events>,
    origins: Origins,
    /// Events counted since the meter was told.
    counted: usize,
}

/// What does not change.
struct Links {
    committer: ActorRef<CommitterMsg>,
    barrier: ActorRef<BarrierMsg>,
    metrics: Metrics,
    renderer: Renderer,
    allowed_lateness_ms: i64,
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
        let WindowArgs {
            share,
            rules,
            topics,
            committer,
            barrier,
            metrics,
            traces,
            allowed_lateness_ms,
            clock,
        } = args;
        let renderer = Renderer { rules, topics, clock, traces };
        let links = Links { committer, barrier, metrics, renderer, allowed_lateness_ms };
        Ok(WindowActorState { links, share, origins: Origins::default(), counted: 0 })
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
                let events = Events { partition, counted: events, trace };
                if let Some(events) = state.share.admit(epoch, partition, events)? {
                    state.count(&events);
                }
            }
            WindowMsg::Sealed(seal) => state.sealed(&seal)?,
            WindowMsg::Report { limit, reply } => {
                let windows = state.share.windows();
                // Who asked may have gone.
                let _ = reply.try_send(Report { open: windows.len(), hottest: windows.hottest(limit) });
            }
        }
        let counted = std::mem::take(&mut state.counted);
        state.links.metrics.stage(Stage::Window).add_busy(started.elapsed(), counted);
        Ok(())
    }
}

impl WindowActorState {
    fn count(&mut self, Events { partition, counted, trace }: &Events) {
        let _span = trace.child("count");
        self.links.metrics.stage(Stage::Window).queue().sub(counted.events.len() as u64);
        self.counted += counted.events.len();
        let mut has_crossed = false;
        for group in &counted.groups {
            let service = counted.text(group.service);
            for (timestamp, context) in counted.traced_of(group) {
                self.origins.counted(group.rule, service, timestamp, context.clone());
            }
            let events = counted.events_of(group, *partition);
            has_crossed |= self.share.windows_mut().count(group.rule, service, events);
        }
        if has_crossed {
            // If the barrier is gone, so is this generation.
            let _ = self.links.barrier.cast(BarrierMsg::CutSoon);
        }
    }

    fn sealed(&mut self, seal: &Seal) -> Result<(), OutOfTurn> {
        let Some(ShareDelta { epoch, delta, watermark, early }) = self.share.seal(seal)? else {
            return Ok(());
        };
        let renderer = &self.links.renderer;
        let (alerts, raised) = renderer.alerts(&delta, &self.origins);
        let delta = Delta {
            epoch,
            alerts: Arc::new(alerts),
            changes: renderer.changelog(epoch, &delta.changes),
            raised,
            late: delta.late,
            overflow: delta.overflow,
            watermark,
        };
        let _ = self.links.committer.cast(CommitterMsg::Delta(Box::new(delta)));

        if let Some(watermark) = watermark {
            let (rules, lateness_ms) = (&renderer.rules, self.links.allowed_lateness_ms);
            self.origins.forget(watermark, |rule| rules[rule.0].window_ms.saturating_add(lateness_ms));
        }
        for events in early {
            self.count(&events);
        }
        Ok(())
    }
}
