//! Cuts epochs, one at a time.
//!
//! A cut goes out every `checkpoint.interval`, or sooner when somebody asks: an alert has crossed, or the
//! budget of bytes is used up; or at the start, so that the first output is visible soon. The next cut waits until
//! the epoch before it is committed.

use std::{sync::Arc, time::Duration};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef, DerivedActorRef};
use tidegate_core::{
    Epoch,
    epoch::{
        barrier::Cut,
        pace::{Pace, When},
    },
};
use tidegate_host::Clock;
use tidegate_log::{Health, Log};

use crate::events::{Events, PipelineEvent};

/// The actor.
pub struct Barrier;

/// To the barrier actor.
pub enum BarrierMsg {
    /// From the wiring: all actors are there, these partitions among them; begin cutting.
    Start(Vec<DerivedActorRef<Cut>>),
    /// A timer of its own.
    Tick,
    /// From a window actor: an alert crossed.
    CutSoon,
    /// From the reader, again and again: the budget is used up, it reads nothing before the next commit.
    CutNow,
    /// From the committer.
    Finished {
        /// The epoch.
        epoch: Epoch,
        /// It is committed; else it was empty and needed no commit.
        committed: bool,
    },
    /// From the supervisor: nothing more is read; commit what is there, then say so.
    Drain,
}

/// What the barrier works with.
pub struct BarrierArgs {
    /// The first epoch to cut.
    pub epoch: Epoch,
    /// Length of an epoch.
    pub interval: Duration,
    /// Where progress is reported.
    pub events: Events,
    /// Tells whether it answers.
    pub log: Arc<dyn Log>,
    /// Tells the time.
    pub clock: Clock,
}

/// State of the barrier.
pub struct BarrierState {
    links: Links,
    /// The next epoch to cut.
    epoch: Epoch,
    partitions: Vec<DerivedActorRef<Cut>>,
    pace: Pace,
    /// When the generation began, by the process's clock.
    began: Duration,
    /// The tick that is under way.
    armed: Option<Duration>,
    /// The cut that is under way.
    open: Option<Cut>,
}

/// What does not change.
struct Links {
    events: Events,
    log: Arc<dyn Log>,
    clock: Clock,
}

impl Actor for Barrier {
    type Msg = BarrierMsg;
    type State = BarrierState;
    type Arguments = BarrierArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<BarrierMsg>,
        args: BarrierArgs,
    ) -> Result<BarrierState, ActorProcessingErr> {
        let BarrierArgs { epoch, interval, events, log, clock } = args;
        Ok(BarrierState {
            epoch,
            partitions: Vec::new(),
            pace: Pace::new(interval),
            began: clock.elapsed(),
            armed: None,
            open: None,
            links: Links { events, log, clock },
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<BarrierMsg>,
        message: BarrierMsg,
        state: &mut BarrierState,
    ) -> Result<(), ActorProcessingErr> {
        fail_point!("barrier");
        match message {
            BarrierMsg::Start(partitions) => state.partitions = partitions,
            BarrierMsg::Tick => state.armed = None,
            BarrierMsg::CutSoon => state.pace.hurry(),
            BarrierMsg::CutNow => state.pace.budget_used(state.now()),
            BarrierMsg::Drain => state.pace.drain(),
            BarrierMsg::Finished { epoch, committed } => state.finished(epoch, committed)?,
        }
        state.cut_if_due(&myself);
        Ok(())
    }
}

impl BarrierState {
    fn finished(&mut self, epoch: Epoch, committed: bool) -> Result<(), ActorProcessingErr> {
        if let Some(cut) = self.open.take_if(|cut| cut.epoch == epoch) {
            self.pace.finished(committed);
            self.links.events.cast(PipelineEvent::Progress { epoch, committed })?;
            if cut.drain {
                self.links.events.cast(PipelineEvent::Drained)?;
            }
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.links.clock.elapsed().saturating_sub(self.began)
    }

    fn cut_if_due(&mut self, myself: &ActorRef<BarrierMsg>) {
        if self.partitions.is_empty() {
            return;
        }
        let now = self.now();
        match self.pace.when(now) {
            When::Now => self.cut(now),
            When::At(due) if self.armed.is_none_or(|armed| due < armed) => {
                self.armed = Some(due);
                myself.send_after(due - now, || BarrierMsg::Tick);
            }
            When::At(_) | When::Later => {}
        }
    }

    fn cut(&mut self, now: Duration) {
        let cut = Cut {
            epoch: self.epoch,
            at: self.links.clock.elapsed(),
            log_is_up: self.links.log.health() == Health::Up,
            drain: self.pace.is_draining(),
        };
        self.epoch = cut.epoch.next();
        self.pace.cut(now);
        self.open = Some(cut);
        for partition in &self.partitions {
            let _ = partition.cast(cut);
        }
    }
}
