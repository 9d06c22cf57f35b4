//! Keeps the local copy of the window state: applies committed epochs to sled.
//!
//! The copy only makes a restart fast. When the disk fails, the pipeline goes on without it, and the next
//! recovery rebuilds it from the changelog. Epochs are gathered for a while and merged, since most windows
//! change in each of them: sled gets the last row of each. A process that is killed finds the others in the
//! changelog.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{Epoch, NextOffset};
use tidegate_log::{Log, OutputBatch, Topic};
use tidegate_state::{StateDir, Store};
use tidegate_telemetry::{CheckpointPhase, Metrics, Parent};

/// How often to note how far the changelog is surely included, so that catching up never reads much.
const NOTE_POSITIONS_EVERY: Duration = Duration::from_secs(30);
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long epochs are gathered. The longer, the more rows a killed process finds in the changelog only; it
/// reads back to the noted positions in any case.
const GATHER_FOR: Duration = Duration::from_secs(2);
/// ... and how many bytes of them: they are in memory meanwhile, and a recovery waits until they are applied.
const GATHER_BYTES: usize = 8 << 20;

/// The state directory and the store in it, if it is usable; shared with recovery.
pub(crate) struct LocalCopy {
    pub(crate) dir: StateDir,
    pub(crate) store: Option<Store>,
    /// It was last written to so long ago that it can only be used as it is, or rebuilt.
    pub(crate) stale: bool,
}

pub(crate) type SharedCopy = Arc<Mutex<LocalCopy>>;

/// A committed epoch to apply.
#[derive(Clone)]
pub(crate) struct Apply {
    pub(crate) epoch: Epoch,
    pub(crate) changes: Vec<Arc<OutputBatch>>,
    /// When the commit was begun.
    pub(crate) begun: Instant,
    pub(crate) trace: Parent,
}

/// To the store actor, through its handle.
pub(crate) enum StoreMsg {
    /// From the writer: there is one more epoch to apply.
    Committed,
    /// From a timer of its own, or from the generation that ends: apply them now.
    Apply,
}

/// A cheap handle of the store actor.
#[derive(Clone)]
pub(crate) struct StoreHandle {
    actor: ActorRef<StoreMsg>,
    unapplied: Unapplied,
}

/// Committed epochs that are not applied yet, oldest first. They outlive the generation: what its store actor
/// leaves, the recovery applies. One is taken out only when it is applied or the copy is given up, since later
/// ones must not be applied without it.
pub(crate) type Unapplied = Arc<Mutex<Vec<Apply>>>;

impl StoreHandle {
    pub(crate) fn new(actor: ActorRef<StoreMsg>, unapplied: Unapplied) -> Self {
        Self { actor, unapplied }
    }

    /// Hands over a committed epoch.
    pub(crate) fn apply(&self, apply: Apply) {
        self.unapplied.lock().unwrap_or_else(PoisonError::into_inner).push(apply);
        // If the actor is gone, a recovery follows.
        let _ = self.actor.cast(StoreMsg::Committed);
    }

    /// Waits until all that was handed over is applied, and ends the actor.
    pub(crate) async fn drain(&self, timeout: Duration) {
        let _ = self.actor.cast(StoreMsg::Apply);
        // An error means that it is dead already.
        let _ = self.actor.get_cell().drain_and_wait(Some(timeout)).await;
    }
}

pub(crate) struct StoreActor;

pub(crate) struct StoreArgs {
    pub(crate) unapplied: Unapplied,
    pub(crate) copy: SharedCopy,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) metrics: Metrics,
}

pub(crate) struct StoreState {
    args: StoreArgs,
    /// A timer will say when to apply.
    is_gathering: bool,
    noted_at: Instant,
    /// Ends of the changelog and when the answer came. Epochs whose commit began later are not before them.
    noted: Option<(Vec<NextOffset>, Instant)>,
}

impl Actor for StoreActor {
    type Msg = StoreMsg;
    type State = StoreState;
    type Arguments = StoreArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<StoreMsg>,
        args: StoreArgs,
    ) -> Result<StoreState, ActorProcessingErr> {
        Ok(StoreState { args, is_gathering: false, noted_at: Instant::now(), noted: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<StoreMsg>,
        message: StoreMsg,
        state: &mut StoreState,
    ) -> Result<(), ActorProcessingErr> {
        fail_point!("store");
        match message {
            StoreMsg::Committed if state.gathered_bytes() < GATHER_BYTES => {
                if !mem::replace(&mut state.is_gathering, true) {
                    myself.send_after(GATHER_FOR, || StoreMsg::Apply);
                }
            }
            StoreMsg::Committed => state.apply().await?,
            StoreMsg::Apply => {
                state.is_gathering = false;
                state.apply().await?;
            }
        }
        Ok(())
    }
}

impl StoreState {
    fn gathered_bytes(&self) -> usize {
        let unapplied = self.args.unapplied.lock().unwrap_or_else(PoisonError::into_inner);
        unapplied.iter().flat_map(|apply| &apply.changes).map(|changes| changes.arena.len()).sum()
    }

    /// Applies what was committed until now.
    async fn apply(&mut self) -> Result<(), ActorProcessingErr> {
        let unapplied = self.args.unapplied.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(&Apply { epoch, begun, .. }) = unapplied.last() else { return Ok(()) };
        let positions = self.positions_before(begun);
        let copy = Arc::clone(&self.args.copy);
        let metrics = self.args.metrics.clone();
        tokio::task::spawn_blocking(move || {
            let mut copy = copy.lock().unwrap_or_else(PoisonError::into_inner);
            apply_to(&mut copy, unapplied, positions.as_deref(), &metrics);
            fail_point!("after_store");
        })
        .await?;
        let unapplied = &self.args.unapplied;
        unapplied.lock().unwrap_or_else(PoisonError::into_inner).retain(|apply| apply.epoch > epoch);
        self.note_positions().await;
        Ok(())
    }

    /// Positions that are included when an epoch is applied whose commit began at `begun`: all epochs that
    /// were committed before the positions were asked for came earlier, and are applied.
    fn positions_before(&mut self, begun: Instant) -> Option<Vec<NextOffset>> {
        self.noted.take_if(|(_, answered)| *answered < begun).map(|(positions, _)| positions)
    }

    async fn note_positions(&mut self) {
        if self.noted_at.elapsed() < NOTE_POSITIONS_EVERY {
            return;
        }
        self.noted_at = Instant::now();
        let log = Arc::clone(&self.args.log);
        let offsets =
            tokio::task::spawn_blocking(move || log.offsets(Topic::State, true, OFFSETS_TIMEOUT)).await;
        if let Ok(Ok(ranges)) = offsets {
            self.noted = Some((ranges.into_iter().map(|range| range.end).collect(), Instant::now()));
        }
    }
}

type Row = (Vec<u8>, Option<Vec<u8>>);

/// Applies what an ended generation has left, so that nothing of it has to be read from the changelog.
pub(crate) fn apply_left(copy: &mut LocalCopy, unapplied: &Unapplied, metrics: &Metrics) {
    let left = mem::take(&mut *unapplied.lock().unwrap_or_else(PoisonError::into_inner));
    apply_to(copy, left, None, metrics);
}

fn apply_to(
    copy: &mut LocalCopy,
    mut unapplied: Vec<Apply>,
    positions: Option<&[NextOffset]>,
    metrics: &Metrics,
) {
    let started = Instant::now();
    let Some(store) = &mut copy.store else { return };
    // Of a writer that came back late from a commit that was found out about and caught up with meanwhile.
    unapplied.retain(|apply| store.base().is_none_or(|base| base.epoch < apply.epoch));
    let Some(Apply { epoch, trace, .. }) = unapplied.last() else { return };
    let _span = trace.child("store");
    match store.apply(*epoch, &merge(&unapplied), positions) {
        Ok(()) => {
            metrics.checkpoint_duration(CheckpointPhase::Store).record(started.elapsed());
            metrics.state_bytes().set(store.size_on_disk() as f64);
        }
        Err(error) => {
            tracing::error!(%epoch, %error, "local state copy failed, going on without it until the next recovery");
            copy.store = None;
        }
    }
}

/// The last value of each key.
fn merge(waiting: &[Apply]) -> Vec<Row> {
    let batches = waiting.iter().flat_map(|apply| &apply.changes);
    let changes = batches.flat_map(|batch| batch.records.iter().map(move |record| (batch, record)));
    let last: BTreeMap<&[u8], Option<&[u8]>> = changes
        .filter_map(|(batch, record)| {
            Some((batch.bytes(record.key?), record.value.map(|value| batch.bytes(value))))
        })
        .collect();
    last.into_iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect()
}

#[cfg(test)]
mod tests {
    use tidegate_core::TimestampMs;
    use tidegate_log::Span;

    use super::*;
    use crate::window::own_record;

    fn change(key: &[u8], value: Option<&[u8]>) -> Arc<OutputBatch> {
        let mut batch = OutputBatch::default();
        let key = Span::push(&mut batch.arena, key);
        let value = value.map(|value| Span::push(&mut batch.arena, value));
        batch.records.push(own_record(Topic::State, 0, TimestampMs(0), key, value));
        Arc::new(batch)
    }

    #[test]
    fn epochs_that_wait_are_merged_and_the_last_change_of_a_key_counts() {
        let epoch = |number, changes| Apply {
            epoch: Epoch(number),
            changes,
            begun: Instant::now(),
            trace: Parent::default(),
        };
        let waiting = [
            epoch(1, vec![change(b"a", Some(b"1")), change(b"b", Some(b"1"))]),
            epoch(2, vec![change(b"a", None), change(b"c", Some(b"2"))]),
        ];
        let row = |key: &[u8], value: Option<&[u8]>| (key.to_vec(), value.map(<[u8]>::to_vec));
        assert_eq!(merge(&waiting), [row(b"a", None), row(b"b", Some(b"1")), row(b"c", Some(b"2"))]);
    }
}
