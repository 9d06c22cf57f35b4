//! Keeps the local copy of the window state: applies each committed epoch to sled.
//!
//! The copy only makes a restart fast. When the disk fails, the pipeline goes on without it, and the next
//! recovery rebuilds it from the changelog.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{Epoch, NextOffset};
use tidegate_log::{Log, OutputBatch, Topic};
use tidegate_state::{StateDir, Store};
use tidegate_telemetry::{CheckpointPhase, Metrics};

use crate::messages::Apply;

/// How often to note how far the changelog is surely included, so that catching up never reads much.
const NOTE_POSITIONS_EVERY: Duration = Duration::from_secs(30);
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(2);

/// The state directory and the store in it, if it is usable; shared with recovery.
pub(crate) struct LocalCopy {
    pub(crate) dir: StateDir,
    pub(crate) store: Option<Store>,
}

pub(crate) type SharedCopy = Arc<Mutex<LocalCopy>>;

pub(crate) struct StoreActor;

pub(crate) struct StoreArgs {
    pub(crate) copy: SharedCopy,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) metrics: Metrics,
}

pub(crate) struct StoreState {
    args: StoreArgs,
    noted_at: Instant,
    /// Ends of the changelog and when the answer came. Epochs whose commit began later are not before them.
    noted: Option<(Vec<NextOffset>, Instant)>,
}

impl Actor for StoreActor {
    type Msg = Apply;
    type State = StoreState;
    type Arguments = StoreArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<Apply>,
        args: StoreArgs,
    ) -> Result<StoreState, ActorProcessingErr> {
        Ok(StoreState { args, noted_at: Instant::now(), noted: None })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Apply>,
        apply: Apply,
        state: &mut StoreState,
    ) -> Result<(), ActorProcessingErr> {
        fail_point!("store");
        let positions = state.positions_before(apply.begun);
        let copy = Arc::clone(&state.args.copy);
        let metrics = state.args.metrics.clone();
        tokio::task::spawn_blocking(move || {
            apply_to(&copy, apply.epoch, &apply.changes, positions.as_deref(), &metrics);
        })
        .await?;
        state.note_positions().await;
        Ok(())
    }
}

impl StoreState {
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

fn apply_to(
    copy: &Mutex<LocalCopy>,
    epoch: Epoch,
    changes: &[Arc<OutputBatch>],
    positions: Option<&[NextOffset]>,
    metrics: &Metrics,
) {
    let started = Instant::now();
    let mut copy = copy.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(store) = &mut copy.store else { return };
    match store.apply(epoch, &rows(changes), positions) {
        Ok(()) => {
            metrics.checkpoint_duration(CheckpointPhase::Store).record(started.elapsed());
            metrics.state_bytes().set(store.size_on_disk() as f64);
            fail_point!("after_store");
        }
        Err(error) => {
            tracing::error!(%epoch, %error, "local state copy failed, going on without it until the next recovery");
            copy.store = None;
        }
    }
}

fn rows(changes: &[Arc<OutputBatch>]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    changes
        .iter()
        .flat_map(|batch| batch.records.iter().map(move |record| (batch, record)))
        .filter_map(|(batch, record)| {
            let key = batch.bytes(record.key?).to_vec();
            Some((key, record.value.map(|value| batch.bytes(value).to_vec())))
        })
        .collect()
}
