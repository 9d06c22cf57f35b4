//! Cuts epochs, one at a time.
//!
//! A cut goes out every `checkpoint.interval`, or sooner when somebody asks: an alert has crossed, or the
//! budget of bytes is used up; or at the start, so that the first output is visible soon. The next cut waits until
//! the epoch before it is committed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{
    Epoch,
    epoch::pace::{Pace, When},
};
use tidegate_log::{Health, Log};

use crate::{
    clock::Clock,
    events::{Events, PipelineEvent},
    messages::{BarrierMsg, Cut, PartitionMsg},
};

pub(crate) struct Barrier;

pub(crate) struct BarrierArgs {
    /// The first epoch to cut.
    pub(crate) epoch: Epoch,
    pub(crate) interval: Duration,
    pub(crate) events: Events,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Clock,
}

pub(crate) struct BarrierState {
    args: BarrierArgs,
    partitions: Vec<ActorRef<PartitionMsg>>,
    pace: Pace,
    began: Instant,
    /// The tick that is under way.
    armed: Option<Duration>,
    /// The cut that is under way.
    open: Option<Cut>,
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
        let pace = Pace::new(args.interval);
        Ok(BarrierState {
            args,
            partitions: Vec::new(),
            pace,
            began: Instant::now(),
            armed: None,
            open: None,
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
            self.args.events.cast(PipelineEvent::Progress { epoch, committed })?;
            if cut.drain {
                self.args.events.cast(PipelineEvent::Drained)?;
            }
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
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
            epoch: self.args.epoch,
            at: Instant::now(),
            elapsed_ms: self.args.clock.elapsed_ms(),
            log_is_up: self.args.log.health() == Health::Up,
            drain: self.pace.is_draining(),
        };
        self.args.epoch = cut.epoch.next();
        self.pace.cut(now);
        self.open = Some(cut);
        for partition in &self.partitions {
            let _ = partition.cast(PartitionMsg::Cut(cut));
        }
    }
}
