//! The actor that delivers: one connection to the destination, one delivery at a time.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hasher, RandomState},
    marker::PhantomData,
    time::{Duration, Instant},
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{
    NextOffset, PartitionId, SinkId,
    delivery::{AfterFailure, Held, Retry, Undelivered},
};
use tidegate_telemetry::Metrics;
use tokio::{sync::watch, time::sleep};

use crate::{
    Assigned, Destination, Failure, Outcome, delivery::Delivery, destination::delivered_of, iso,
    rejected::Rejected,
};

/// To a courier.
pub(crate) enum CourierMsg {
    /// Deliver.
    Deliver(Delivery),
    /// Take over partitions, where the destination keeps the positions.
    TakeOver(Vec<Assigned>),
    /// Do what is to be done from time to time.
    Tick,
}

/// From a courier to its sink.
pub(crate) enum CourierEvent {
    /// A delivery is over. Of these partitions it was given up, because they are somebody else's.
    Delivered { delivery: Delivery, given_up: BTreeSet<PartitionId> },
    /// Partitions are taken over; to be read from these positions on.
    TookOver(Vec<(PartitionId, NextOffset)>),
    /// What is to be done from time to time is done.
    Ticked,
    /// Somebody else has taken partitions over.
    Replaced(Vec<PartitionId>),
    /// The destination does not answer as it should; tried again.
    Failing(String),
    /// It does again.
    Works,
}

/// The courier.
pub(crate) struct Courier<D>(PhantomData<fn() -> D>);

impl<D> Default for Courier<D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// What a courier works with.
pub(crate) struct CourierArgs<D> {
    pub(crate) destination: D,
    /// Tells its sink.
    pub(crate) tell: Box<dyn Fn(CourierEvent) + Send + Sync>,
    pub(crate) held: watch::Receiver<Held>,
    pub(crate) rejected: Rejected,
    pub(crate) give_up_after: Option<Duration>,
    pub(crate) metrics: Metrics,
    pub(crate) id: SinkId,
}

pub(crate) struct CourierState<D> {
    args: CourierArgs<D>,
    is_failing: bool,
    began: Instant,
    /// Spreads the pauses of couriers that were refused at once.
    chance: RandomState,
}

impl<D: Destination> Actor for Courier<D> {
    type Msg = CourierMsg;
    type State = CourierState<D>;
    type Arguments = CourierArgs<D>;

    async fn pre_start(
        &self,
        _myself: ActorRef<CourierMsg>,
        args: CourierArgs<D>,
    ) -> Result<CourierState<D>, ActorProcessingErr> {
        Ok(CourierState { args, is_failing: false, began: Instant::now(), chance: RandomState::new() })
    }

    async fn handle(
        &self,
        _myself: ActorRef<CourierMsg>,
        message: CourierMsg,
        state: &mut CourierState<D>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CourierMsg::Deliver(delivery) => {
                let given_up = state.deliver(&delivery).await;
                state.tell(CourierEvent::Delivered { delivery, given_up });
            }
            CourierMsg::TakeOver(assigned) => {
                let positions = state.take_over(assigned).await;
                state.tell(CourierEvent::TookOver(positions));
            }
            CourierMsg::Tick => {
                state.tick().await;
                state.tell(CourierEvent::Ticked);
            }
        }
        Ok(())
    }
}

impl<D: Destination> CourierState<D> {
    /// Delivers all that is still this sink's, and says of which partitions it was given up.
    async fn deliver(&mut self, delivery: &Delivery) -> BTreeSet<PartitionId> {
        let batch = &delivery.source.batch;
        let mut undelivered = Undelivered::new(delivery.records.clone());
        let (mut given_up, mut rejected) = (BTreeSet::new(), false);
        let mut retry = self.retry();
        loop {
            self.give_up_lost(delivery, &mut undelivered, &mut given_up);
            let Some(records) = undelivered.next() else { break };
            match self.args.destination.deliver(batch, records).await {
                Outcome::Delivered => {
                    self.delivered(delivery, records);
                    undelivered.settled();
                    retry = self.retry();
                }
                Outcome::Refused(why) => {
                    self.works();
                    if let Some(record) = undelivered.refused() {
                        self.reject(delivery, record, why).await;
                        rejected = true;
                    }
                }
                Outcome::Judged { refused, again, failure } => {
                    self.delivered(delivery, &delivered_of(records, &refused, &again));
                    rejected |= !refused.is_empty();
                    for (record, why) in refused {
                        self.reject(delivery, record, why).await;
                    }
                    undelivered.again(again);
                    if let Some(failure) = failure {
                        rejected |= self.wait(&mut retry, failure, delivery, &mut undelivered).await;
                    }
                }
                Outcome::Failed(failure) => {
                    rejected |= self.wait(&mut retry, failure, delivery, &mut undelivered).await;
                }
                Outcome::Replaced(partitions) => {
                    undelivered.retain(|record| !partitions.contains(&batch.record(record).partition));
                    given_up.extend(&partitions);
                    self.tell(CourierEvent::Replaced(partitions));
                }
            }
        }
        if D::KEEPS_POSITIONS && rejected {
            self.keep(delivery, &mut given_up).await;
        }
        given_up
    }

    /// After a failure: waits, or gives up and rejects what was to be delivered. Returns whether it did that.
    async fn wait(
        &mut self,
        retry: &mut Retry,
        failure: Failure,
        delivery: &Delivery,
        undelivered: &mut Undelivered,
    ) -> bool {
        let cause = failure.cause.clone();
        if self.pause(retry, failure).await {
            return false;
        }
        let given_up = undelivered.next().unwrap_or_default().to_vec();
        for record in given_up {
            self.reject(delivery, record, format!("given up after give_up_after: {cause}")).await;
        }
        undelivered.settled();
        *retry = self.retry();
        true
    }

    /// Waits until a failed delivery is to be tried again; `false` if it was tried for long enough. A change of what the
    /// sink holds ends the wait.
    async fn pause(&mut self, retry: &mut Retry, failure: Failure) -> bool {
        self.is_failing = true;
        self.meter().retries.add(1);
        self.tell(CourierEvent::Failing(failure.cause));
        let now = self.began.elapsed();
        match retry.failed(now, self.chance(), failure.retry_after) {
            AfterFailure::GiveUp => false,
            AfterFailure::At(at) => {
                tokio::select! {
                    () = sleep(at.saturating_sub(now)) => {}
                    // The sink's end ends this actor too.
                    Ok(()) = self.args.held.changed() => {}
                }
                true
            }
        }
    }

    /// Writes a record to the dead letters, however long that takes: nothing behind it may be kept as delivered before.
    async fn reject(&mut self, delivery: &Delivery, record: usize, why: String) {
        let mut retry = Retry::new(None, self.began.elapsed());
        while let Err(error) = self.args.rejected.write(&delivery.source.batch, record, why.clone()).await {
            let cause = format!("a rejected record cannot be written to the dead letters: {error}");
            self.pause(&mut retry, Failure::new(cause)).await;
        }
        self.works();
        self.meter().rejected.add(1);
        self.args.metrics.dead_letters(tidegate_core::event::Reason::SinkRejected).add(1);
        let rejected = delivery.source.batch.record(record);
        tracing::debug!(partition = %rejected.partition, offset = rejected.offset, why, "record rejected");
    }

    /// Has the destination keep where the delivery ends: what was rejected there moved no position yet.
    async fn keep(&mut self, delivery: &Delivery, given_up: &mut BTreeSet<PartitionId>) {
        let mut retry = Retry::new(None, self.began.elapsed());
        loop {
            let held = self.args.held.borrow_and_update().clone();
            let ours = delivery.spans.iter().filter(|(partition, ..)| {
                held.has_since(*partition, delivery.assignment) && !given_up.contains(partition)
            });
            let ends: Vec<_> = ours.map(|(partition, _, next)| (*partition, *next)).collect();
            if ends.is_empty() {
                return;
            }
            match self.args.destination.keep(&ends).await {
                Outcome::Failed(failure) => {
                    self.pause(&mut retry, failure).await;
                }
                Outcome::Replaced(partitions) => {
                    given_up.extend(&partitions);
                    self.tell(CourierEvent::Replaced(partitions));
                }
                Outcome::Refused(cause) => {
                    self.pause(&mut retry, Failure::new(cause)).await;
                }
                Outcome::Delivered | Outcome::Judged { .. } => return self.works(),
            }
        }
    }

    async fn take_over(&mut self, assigned: Vec<Assigned>) -> Vec<(PartitionId, NextOffset)> {
        let mut retry = Retry::new(None, self.began.elapsed());
        loop {
            let held = self.args.held.borrow_and_update().clone();
            let ours: Vec<Assigned> =
                assigned.iter().copied().filter(|assigned| held.has(assigned.partition)).collect();
            if ours.is_empty() {
                return Vec::new();
            }
            match self.args.destination.take_over(&ours).await {
                Ok(positions) => {
                    self.works();
                    return positions;
                }
                Err(failure) => {
                    self.pause(&mut retry, failure).await;
                }
            }
        }
    }

    async fn tick(&mut self) {
        let held: Vec<_> = self.args.held.borrow().partitions().collect();
        match self.args.destination.tick(&held).await {
            Ok(()) => self.works(),
            Err(failure) => {
                self.is_failing = true;
                self.tell(CourierEvent::Failing(failure.cause));
            }
        }
    }

    /// Begins nothing more of the partitions that are not this sink's any more.
    fn give_up_lost(
        &mut self,
        delivery: &Delivery,
        undelivered: &mut Undelivered,
        given_up: &mut BTreeSet<PartitionId>,
    ) {
        let held = self.args.held.borrow_and_update();
        undelivered.retain(|record| {
            let partition = delivery.source.batch.record(record).partition;
            let is_held = held.has_since(partition, delivery.assignment);
            if !is_held {
                given_up.insert(partition);
            }
            is_held
        });
    }

    fn delivered(&mut self, delivery: &Delivery, records: &[usize]) {
        // Of a batch that is to be tried again as a whole nothing is.
        if records.is_empty() {
            return;
        }
        self.works();
        self.meter().delivered.add(records.len() as u64);
        let Some(histogram) = self.args.metrics.sink_delivery(self.args.id) else { return };
        let now_ms = iso::now().0;
        for record in records {
            let since_ms = now_ms - delivery.source.batch.record(*record).timestamp.0;
            histogram.record(Duration::from_millis(since_ms.max(0).cast_unsigned()));
        }
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            self.tell(CourierEvent::Works);
        }
    }

    fn retry(&self) -> Retry {
        Retry::new(self.args.give_up_after, self.began.elapsed())
    }

    /// A number from 0 to 1.
    fn chance(&self) -> f64 {
        let mut hasher = self.chance.build_hasher();
        hasher.write_u128(self.began.elapsed().as_nanos());
        hasher.finish() as f64 / u64::MAX as f64
    }

    fn meter(&self) -> &tidegate_telemetry::SinkMeter {
        self.args.metrics.sink(self.args.id)
    }

    fn tell(&self, event: CourierEvent) {
        (self.args.tell)(event);
    }
}
