//! The local store and what is committed and not in it yet. It has one owner at a time: the store actor of a generation,
//! or the recovery between two of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tidegate_core::{
    Epoch, NextOffset,
    epoch::gather::{Application, Gathered},
};
use tidegate_log::OutputBatch;
use tidegate_state::{LocalStore, StateDir};
use tidegate_telemetry::{CheckpointPhase, Metrics, Parent};
use tokio::sync::oneshot;

/// A committed epoch to apply.
pub(crate) struct Apply {
    pub(crate) epoch: Epoch,
    pub(crate) changes: Changes,
    /// When the commit was begun, by the process's clock.
    pub(crate) begun: Duration,
    pub(crate) trace: Parent,
}

/// Changelog records of an epoch, in order.
type Changes = Vec<Arc<OutputBatch>>;

/// The local store, and committed epochs on their way to it. Those that the writer hands over wait in a channel whose
/// end goes from owner to owner, so that none is lost when one dies.
pub struct Keeper {
    store: LocalStore,
    inbox: mpsc::Receiver<Apply>,
    commits: mpsc::Sender<Apply>,
    gathered: Gathered<(Changes, Parent)>,
}

impl Keeper {
    /// The store of a directory, and nothing on its way to it.
    #[must_use]
    pub fn new(dir: StateDir) -> Self {
        // Unbounded, but what is sent is covered by the budget of bytes in flight.
        let (commits, inbox) = mpsc::channel();
        Self { store: LocalStore::new(dir), inbox, commits, gathered: Gathered::default() }
    }

    /// The store, with all that is committed and was still to be applied. Blocks.
    pub fn store(&mut self, metrics: &Metrics) -> &mut LocalStore {
        self.take_in();
        self.apply(metrics);
        &mut self.store
    }

    /// Where the writer hands committed epochs over.
    pub(super) fn commits(&self) -> mpsc::Sender<Apply> {
        self.commits.clone()
    }

    /// Gathers what the writer has handed over, and says whether it is time to apply it.
    pub(super) fn take_in(&mut self) -> bool {
        let mut is_full = false;
        while let Ok(Apply { epoch, changes, begun, trace }) = self.inbox.try_recv() {
            let bytes = changes.iter().map(|changes| changes.arena.len()).sum();
            is_full = self.gathered.push(epoch, begun, bytes, (changes, trace));
        }
        is_full
    }

    /// The changelog ended at these positions when the log was asked; the answer came at `answered`.
    pub(super) fn note(&mut self, positions: Vec<NextOffset>, answered: Duration) {
        self.gathered.note(positions, answered);
    }

    /// Applies what was gathered. Blocks.
    pub(super) fn apply(&mut self, metrics: &Metrics) {
        let Some(application) = self.gathered.take(self.store.epoch()) else { return };
        let started = Instant::now();
        let Application { epoch, changes, positions } = application;
        let (changes, traces): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let _span = traces.last().map(|trace: &Parent| trace.child("store"));
        if let Some(bytes) = self.store.apply(epoch, &merge(&changes), positions.as_deref()) {
            metrics.checkpoint_duration(CheckpointPhase::Store).record(started.elapsed());
            metrics.state_bytes().set(bytes as f64);
        }
    }
}

/// A keeper that goes to an heir when it is dropped: with an actor that dies, or at the end of work that nobody waits
/// for any more.
pub(super) struct Bequest {
    keeper: Option<Keeper>,
    heir: Option<oneshot::Sender<Keeper>>,
}

impl Bequest {
    pub(super) fn new(keeper: Keeper) -> (Self, oneshot::Receiver<Keeper>) {
        let (heir, inheritance) = oneshot::channel();
        (Self { keeper: Some(keeper), heir: Some(heir) }, inheritance)
    }

    pub(super) fn keeper(&mut self) -> Option<&mut Keeper> {
        self.keeper.as_mut()
    }
}

impl Drop for Bequest {
    fn drop(&mut self) {
        if let (Some(keeper), Some(heir)) = (self.keeper.take(), self.heir.take()) {
            // If nobody waits for it, the process is ending.
            let _ = heir.send(keeper);
        }
    }
}

type Row = (Vec<u8>, Option<Vec<u8>>);

/// The last value of each key.
fn merge(epochs: &[Changes]) -> Vec<Row> {
    let batches = epochs.iter().flatten();
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
    use tidegate_core::{TimestampMs, output::own_record};
    use tidegate_log::{ByteRange, Topic};

    use super::*;

    fn change(key: &[u8], value: Option<&[u8]>) -> Arc<OutputBatch> {
        let mut batch = OutputBatch::default();
        let key = ByteRange::push(&mut batch.arena, key);
        let value = value.map(|value| ByteRange::push(&mut batch.arena, value));
        batch.records.push(own_record(Topic::State, 0, TimestampMs(0), key, value));
        Arc::new(batch)
    }

    #[test]
    fn epochs_that_wait_are_merged_and_the_last_change_of_a_key_counts() {
        let waiting = [
            vec![change(b"a", Some(b"1")), change(b"b", Some(b"1"))],
            vec![change(b"a", None), change(b"c", Some(b"2"))],
        ];
        let row = |key: &[u8], value: Option<&[u8]>| (key.to_vec(), value.map(<[u8]>::to_vec));
        assert_eq!(merge(&waiting), [row(b"a", None), row(b"b", Some(b"1")), row(b"c", Some(b"2"))]);
    }
}
