//! The actor of a sink: what it reads, what is on its way, how far it has come.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tidegate_core::{
    NextOffset, PartitionId, SinkId,
    dead_letter::is_rejected_by,
    delivery::{Held, Holdings, Lanes, Progress},
    supervision::Backoff,
};
use tidegate_log::{Health, Log, Topic};
use tidegate_telemetry::{Journal, Metrics};
use tokio::sync::watch;

use crate::{
    Assigned, Destination, SinkRecord,
    condition::Condition,
    courier::{Courier, CourierArgs, CourierEvent, CourierMsg},
    delivery::{Delivery, Lane},
    reader::{InFlight, ReaderCommand, ReaderEvent, ReaderHandle, Reading, Report},
    rejected::Rejected,
};

/// How often positions are kept.
const KEEP_EVERY: Duration = Duration::from_millis(250);
/// How long another member, or the end, waits for what is on its way to the destination.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before the log is joined anew, after the first and after many failures.
const REJOIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// What a sink is made of.
pub(crate) struct SinkArgs<D> {
    pub(crate) id: SinkId,
    pub(crate) name: String,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) reading: Reading,
    pub(crate) give_up_after: Option<Duration>,
    /// One for each courier.
    pub(crate) destinations: Vec<D>,
    pub(crate) metrics: Metrics,
    pub(crate) journal: Journal,
}

/// To a sink.
pub(crate) enum SinkMsg {
    /// From its reader.
    Reader {
        /// Which one.
        number: u64,
        /// What it tells.
        event: ReaderEvent,
    },
    /// From one of its couriers.
    Courier {
        /// Which one.
        number: usize,
        /// What it tells.
        event: CourierEvent,
    },
    /// From itself, now and then.
    Tick,
    /// From itself: a courier has something to do besides.
    CourierTick,
    /// From itself: join the group anew.
    Join,
    /// Deliver what is on its way, keep the positions, and end.
    ShutDown,
}

/// The actor.
pub(crate) struct Sink<D>(PhantomData<fn() -> D>);

impl<D> Default for Sink<D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

pub(crate) struct SinkState {
    myself: ActorRef<SinkMsg>,
    name: String,
    log: Arc<dyn Log>,
    reading: Reading,
    keeps_positions: bool,
    lane: Option<Lane>,
    /// `None` until it is joined anew.
    reader: Option<ReaderHandle>,
    /// Number of the present reader.
    reader_number: u64,
    rejoin: Backoff,
    couriers: Vec<ActorRef<CourierMsg>>,
    idle: Vec<usize>,
    /// What each busy courier delivers: the lane, and the partitions.
    busy: BTreeMap<usize, (u64, BTreeSet<PartitionId>)>,
    lanes: Lanes<Delivery>,
    /// Partitions to take over, while the courier is busy.
    to_take_over: Vec<Assigned>,
    is_tick_due: bool,
    progress: Progress,
    holdings: Holdings,
    /// Tells the couriers of it.
    held: watch::Sender<Held>,
    /// What another member waits for, one after the other, and since when.
    leaving: VecDeque<(BTreeSet<PartitionId>, Instant)>,
    ends: BTreeMap<PartitionId, NextOffset>,
    condition: Condition,
    ending: Ending,
}

/// How near the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nobody has asked for it.
    No,
    /// Nothing more is begun; since when what is on its way is waited for.
    Settling(Instant),
    /// The positions are kept, and the reader leaves the group.
    Leaving,
}

impl<D: Destination> Actor for Sink<D> {
    type Msg = SinkMsg;
    type State = SinkState;
    type Arguments = SinkArgs<D>;

    async fn pre_start(
        &self,
        myself: ActorRef<SinkMsg>,
        args: SinkArgs<D>,
    ) -> Result<SinkState, ActorProcessingErr> {
        let held = watch::Sender::new(Held::default());
        let SinkArgs { id, name, log, reading, give_up_after, destinations, metrics, journal } = args;
        let rejected = Rejected::spawn(Arc::clone(&log), reading.topic, name.clone(), journal)?;
        let mut couriers = Vec::new();
        for (number, destination) in destinations.into_iter().enumerate() {
            let sink = myself.clone();
            let args = CourierArgs {
                destination,
                tell: Box::new(move |event| {
                    // If the sink is gone, the courier ends with it.
                    let _ = sink.cast(SinkMsg::Courier { number, event });
                }),
                held: held.subscribe(),
                rejected: rejected.clone(),
                give_up_after,
                metrics: metrics.clone(),
                id,
            };
            let (courier, _) = Actor::spawn_linked(None, Courier::default(), args, myself.get_cell()).await?;
            couriers.push(courier);
        }
        myself.cast(SinkMsg::Join)?;
        myself.send_interval(KEEP_EVERY, || SinkMsg::Tick);
        if let Some(every) = D::TICK {
            myself.send_interval(every, || SinkMsg::CourierTick);
        }
        Ok(SinkState {
            condition: Condition::new(name.clone(), id, metrics),
            name,
            log,
            reading,
            keeps_positions: D::KEEPS_POSITIONS,
            lane: D::ONE_BY_ONE.then_some(D::lane),
            reader: None,
            reader_number: 0,
            rejoin: Backoff::new(REJOIN.0, REJOIN.1),
            idle: (0..couriers.len()).collect(),
            couriers,
            busy: BTreeMap::new(),
            lanes: Lanes::default(),
            to_take_over: Vec::new(),
            is_tick_due: false,
            progress: Progress::default(),
            holdings: Holdings::default(),
            held,
            leaving: VecDeque::new(),
            ends: BTreeMap::new(),
            ending: Ending::No,
            myself,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<SinkMsg>,
        message: SinkMsg,
        state: &mut SinkState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SinkMsg::Reader { number, event } if number == state.reader_number => state.heard(event),
            SinkMsg::Reader { .. } => {}
            SinkMsg::Courier { number, event } => state.courier(number, event),
            SinkMsg::Tick => state.keep_positions(),
            SinkMsg::CourierTick => state.is_tick_due = true,
            SinkMsg::Join if state.ending != Ending::No => {}
            SinkMsg::Join => state.join()?,
            SinkMsg::ShutDown => state.shut_down(),
        }
        state.go_on();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<SinkMsg>,
        event: SupervisionEvent,
        _state: &mut SinkState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            // What it was about to deliver is read again.
            SupervisionEvent::ActorFailed(_, error) => Err(error),
            SupervisionEvent::ActorTerminated(..) => Err("a courier ended by itself".into()),
            _ => Ok(()),
        }
    }
}

impl SinkState {
    fn tell_reader(&self, command: ReaderCommand) {
        if let Some(reader) = &self.reader {
            reader.tell(command);
        }
    }

    fn join(&mut self) -> std::io::Result<()> {
        self.reader_number += 1;
        let (number, sink) = (self.reader_number, self.myself.clone());
        let tell = move |event| {
            // If the sink is gone, so is the handle, and the thread ends.
            let _ = sink.cast(SinkMsg::Reader { number, event });
        };
        self.reader = Some(ReaderHandle::spawn(Arc::clone(&self.log), self.reading.clone(), tell)?);
        Ok(())
    }

    fn heard(&mut self, event: ReaderEvent) {
        match event {
            ReaderEvent::Assigned(assigned) => self.assigned(assigned),
            ReaderEvent::Revoked(partitions) => {
                let partitions: BTreeSet<_> = partitions.into_iter().collect();
                self.hold_no_more(&partitions);
                self.leaving.push_back((partitions, Instant::now()));
            }
            ReaderEvent::Lost(partitions) => {
                let partitions = partitions.into_iter().collect();
                self.hold_no_more(&partitions);
                self.forget(&partitions);
                self.tell_reader(ReaderCommand::Release);
            }
            ReaderEvent::Read(source) => self.read(&source),
            ReaderEvent::Kept(positions) => self.progress.kept(&positions),
            ReaderEvent::Report(Report { ends, reached, health }) => {
                self.ends = ends;
                self.report_lag(&reached);
                self.condition.log_is(match health {
                    Health::Down(cause) => Some(format!("the log does not answer: {cause}")),
                    Health::Connecting | Health::Up => None,
                });
            }
            ReaderEvent::Waiting(error) => self.condition.log_is(Some(error.to_string())),
            ReaderEvent::Left => self.end(),
            ReaderEvent::Failed(_) if self.ending != Ending::No => self.end(),
            ReaderEvent::Failed(cause) => self.rejoin_later(cause),
        }
    }

    fn assigned(&mut self, assigned: Vec<Assigned>) {
        self.condition.began();
        self.rejoin.reset();
        if assigned.is_empty() {
            return;
        }
        tracing::info!(sink = self.name, partitions = assigned.len(), "partitions assigned");
        self.holdings.assigned(assigned.iter().map(|new| new.partition));
        self.held.send_replace(self.holdings.held().clone());
        if self.keeps_positions {
            self.to_take_over.extend(assigned);
            return;
        }
        let positions: Vec<_> = assigned.iter().map(|new| (new.partition, new.from)).collect();
        self.read_from(&positions);
        // Where a sink began is kept at once: `start` must not decide a second time.
        let new = assigned.iter().filter(|new| !new.is_committed).map(|new| (new.partition, new.from));
        let new: Vec<_> = new.collect();
        if !new.is_empty() {
            self.tell_reader(ReaderCommand::Keep(new));
        }
    }

    fn read_from(&mut self, positions: &[(PartitionId, NextOffset)]) {
        let held = self.holdings.held();
        let ours: Vec<_> = positions.iter().copied().filter(|(partition, _)| held.has(*partition)).collect();
        for (partition, from) in &ours {
            self.progress.assigned(*partition, *from);
        }
        if !ours.is_empty() {
            self.tell_reader(ReaderCommand::ReadFrom(ours));
        }
    }

    fn read(&mut self, source: &Arc<InFlight>) {
        let is_wanted = |record: &SinkRecord<'_>| {
            self.reading.topic != Topic::DeadLetters || !is_rejected_by(&self.name, record.headers)
        };
        for (lane, delivery) in Delivery::of(source, self.lane, self.holdings.last(), is_wanted) {
            for (partition, first, next) in &delivery.spans {
                self.progress.sent(*partition, *first, *next);
            }
            self.lanes.push(lane, delivery);
        }
    }

    fn courier(&mut self, number: usize, event: CourierEvent) {
        match event {
            CourierEvent::Delivered { delivery, given_up } => {
                for (partition, first, _) in &delivery.spans {
                    let counts = self.holdings.counts(*partition, delivery.assignment);
                    if counts && !given_up.contains(partition) {
                        self.progress.delivered(*partition, *first);
                    }
                }
                self.is_idle(number);
            }
            CourierEvent::TookOver(positions) => {
                self.is_idle(number);
                self.read_from(&positions);
            }
            CourierEvent::Ticked => self.is_idle(number),
            CourierEvent::Replaced(partitions) => {
                // As a member of the group it soon knows whose they are, and takes them over if they are its own.
                self.rejoin_later(format!("another process delivers {partitions:?} for the same sink"));
            }
            CourierEvent::Failing(cause) => self.condition.courier_is(number, Some(cause)),
            CourierEvent::Works => self.condition.courier_is(number, None),
        }
    }

    fn is_idle(&mut self, number: usize) {
        if let Some((lane, _)) = self.busy.remove(&number) {
            self.lanes.done(lane);
        }
        self.idle.push(number);
    }

    /// What can be done now: gives work to idle couriers, releases partitions, and ends.
    fn go_on(&mut self) {
        self.release();
        match self.ending {
            Ending::No => {}
            Ending::Settling(since) => {
                if self.busy.is_empty() || since.elapsed() > PATIENCE {
                    self.keep_positions();
                    self.tell_reader(ReaderCommand::Leave);
                    self.ending = Ending::Leaving;
                    if self.reader.is_none() {
                        self.end();
                    }
                }
                return;
            }
            Ending::Leaving => return,
        }
        while let Some(number) = self.idle.pop() {
            let (lane, partitions, message) = if !self.to_take_over.is_empty() {
                let assigned = std::mem::take(&mut self.to_take_over);
                let partitions = assigned.iter().map(|assigned| assigned.partition).collect();
                (u64::MAX, partitions, CourierMsg::TakeOver(assigned))
            } else if std::mem::take(&mut self.is_tick_due) {
                (u64::MAX, BTreeSet::new(), CourierMsg::Tick)
            } else if let Some((lane, delivery)) = self.lanes.start() {
                let partitions = delivery.spans.iter().map(|(partition, ..)| *partition).collect();
                (lane, partitions, CourierMsg::Deliver(delivery))
            } else {
                self.idle.push(number);
                return;
            };
            self.busy.insert(number, (lane, partitions));
            // A courier that is gone takes this actor with it.
            let _ = self.couriers[number].cast(message);
        }
    }

    /// Couriers begin nothing more of these partitions.
    fn hold_no_more(&mut self, partitions: &BTreeSet<PartitionId>) {
        self.holdings.gone(partitions);
        self.held.send_replace(self.holdings.held().clone());
        self.to_take_over.retain(|assigned| !partitions.contains(&assigned.partition));
    }

    fn forget(&mut self, partitions: &BTreeSet<PartitionId>) {
        for partition in partitions {
            self.progress.revoked(*partition);
            self.ends.remove(partition);
        }
    }

    /// Lets partitions go once nothing of them is on its way, or the other member has waited for long enough.
    fn release(&mut self) {
        while let Some((partitions, since)) = self.leaving.front() {
            let is_on_its_way = self.busy.values().any(|(_, delivered)| !delivered.is_disjoint(partitions));
            if is_on_its_way && since.elapsed() < PATIENCE {
                return;
            }
            let partitions = partitions.clone();
            self.leaving.pop_front();
            self.keep_positions();
            self.forget(&partitions);
            self.tell_reader(ReaderCommand::Release);
            tracing::info!(sink = self.name, partitions = partitions.len(), "partitions released");
        }
    }

    fn keep_positions(&mut self) {
        let positions = self.progress.to_keep();
        if !positions.is_empty() {
            self.tell_reader(ReaderCommand::Keep(positions));
        }
    }

    /// The log cannot be read any more: joins anew after a pause.
    fn rejoin_later(&mut self, cause: String) {
        let pause = self.rejoin.wait();
        tracing::warn!(sink = self.name, cause, retry_in = ?pause, "the sink cannot read");
        self.reader = None;
        let all = self.holdings.held().partitions().collect();
        self.hold_no_more(&all);
        self.leaving.clear();
        self.lanes.clear();
        self.progress = Progress::default();
        self.ends.clear();
        self.condition.log_is(Some(cause));
        self.myself.send_after(pause, || SinkMsg::Join);
    }

    fn shut_down(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Settling(Instant::now());
            self.tell_reader(ReaderCommand::Halt);
            self.lanes.clear();
            let all = self.holdings.held().partitions().collect();
            self.hold_no_more(&all);
        }
    }

    fn end(&mut self) {
        self.reader = None;
        self.condition.meter().stopped(None);
        // An error means that it is ending already.
        let _ = self.myself.drain();
    }

    fn report_lag(&self, reached: &BTreeMap<PartitionId, NextOffset>) {
        let behind = |partition| {
            let (end, position) = (self.ends.get(&partition)?, self.progress.position(partition)?);
            // Behind the last record may be more that nobody sees.
            let passed = reached.get(&partition).filter(|_| self.progress.is_settled(partition));
            Some((end.0 - position.max(passed.copied().unwrap_or_default()).0).max(0))
        };
        let lag = &self.condition.meter().lag;
        // Unknown while a partition is not read yet: its destination may be away from the start.
        match self.holdings.held().partitions().map(behind).sum::<Option<i64>>() {
            Some(records) => lag.set(records as f64),
            None => lag.clear(),
        }
    }
}
