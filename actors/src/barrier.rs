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
use tidegate_core::Epoch;
use tidegate_log::{Health, Log};

use crate::{
    clock::Clock,
    events::{Events, PipelineEvent},
    messages::{BarrierMsg, Cut, PartitionMsg},
};

/// Cuts for alerts are at least a tenth of the interval apart, so that a storm of them does not turn the whole time
/// into commits.
const EARLY_CUTS_PER_INTERVAL: u32 = 10;
/// A generation cuts early until its second commit: the first may hold nothing but the owner's name. And no longer
/// than this: with nothing to read there is nothing to hurry for.
const EARLY_COMMITS: u32 = 2;
const EARLY_FOR: Duration = Duration::from_secs(1);

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
    /// When the next cut is due if no alert asks for one.
    due: Instant,
    last_cut: Instant,
    /// The tick that is under way.
    armed: Option<Instant>,
    /// A cut is under way.
    open: Option<Cut>,
    wanted: bool,
    began: Instant,
    commits: u32,
    draining: bool,
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
        let now = Instant::now();
        Ok(BarrierState {
            args,
            partitions: Vec::new(),
            due: now,
            last_cut: now,
            armed: None,
            open: None,
            wanted: false,
            began: now,
            commits: 0,
            draining: false,
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
            BarrierMsg::CutSoon => state.wanted = true,
            // While a cut is under way it may be all that is needed; the reader asks again.
            BarrierMsg::CutNow if state.open.is_none() => state.due = Instant::now(),
            BarrierMsg::CutNow => {}
            BarrierMsg::Drain => state.draining = true,
            BarrierMsg::Finished { epoch, committed } => state.finished(epoch, committed)?,
        }
        state.cut_if_due(&myself, Instant::now())
    }
}

impl BarrierState {
    fn finished(&mut self, epoch: Epoch, committed: bool) -> Result<(), ActorProcessingErr> {
        if let Some(cut) = self.open.take_if(|cut| cut.epoch == epoch) {
            self.commits += u32::from(committed);
            self.args.events.cast(PipelineEvent::Progress { epoch, committed })?;
            if cut.drain {
                self.args.events.cast(PipelineEvent::Drained)?;
            }
        }
        Ok(())
    }

    fn cut_if_due(&mut self, myself: &ActorRef<BarrierMsg>, now: Instant) -> Result<(), ActorProcessingErr> {
        if self.open.is_some() || self.partitions.is_empty() {
            return Ok(());
        }
        let starting = self.commits < EARLY_COMMITS && now - self.began < EARLY_FOR;
        let due = match (self.draining, self.wanted || starting) {
            (true, _) => now,
            (false, true) => self.due.min(self.last_cut + self.args.interval / EARLY_CUTS_PER_INTERVAL),
            (false, false) => self.due,
        };
        if due <= now {
            return self.cut(now);
        }
        if self.armed.is_none_or(|armed| due < armed) {
            self.armed = Some(due);
            myself.send_after(due - now, || BarrierMsg::Tick);
        }
        Ok(())
    }

    fn cut(&mut self, now: Instant) -> Result<(), ActorProcessingErr> {
        let cut = Cut {
            epoch: self.args.epoch,
            at: now,
            elapsed_ms: self.args.clock.elapsed_ms(),
            log_is_up: self.args.log.health() == Health::Up,
            drain: self.draining,
        };
        self.args.epoch = cut.epoch.next();
        (self.last_cut, self.due, self.wanted, self.open) = (now, now + self.args.interval, false, Some(cut));
        for partition in &self.partitions {
            let _ = partition.cast(PartitionMsg::Cut(cut));
        }
        Ok(())
    }
}
