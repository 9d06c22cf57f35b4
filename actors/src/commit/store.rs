//! Keeps the local copy of the window state: has committed epochs applied to the local store.
//!
//! The copy only makes a restart fast. The actor owns it, and leaves it to whoever ends its generation. Epochs are
//! gathered for a while and merged: the store gets the last row of each window. A process that is killed finds the others
//! in the changelog.

use std::{
    mem,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use fail::fail_point;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tidegate_host::Clock;
use tidegate_log::{Log, Topic};
use tidegate_telemetry::Metrics;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::keeper::{Apply, Bequest, Keeper};

/// How often to note how far the changelog is surely included, so that catching up never reads much.
const NOTE_POSITIONS_EVERY: Duration = Duration::from_secs(30);
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long epochs are gathered. The longer, the more rows a killed process finds in the changelog only; it
/// reads back to the noted positions in any case.
const GATHER_FOR: Duration = Duration::from_secs(2);

/// To the store actor, through its handle.
pub enum StoreMsg {
    /// From the writer: there is one more epoch to apply.
    Committed,
    /// A timer of its own: apply what was gathered.
    Apply,
}

/// A cheap handle of the store actor, for the writer.
#[derive(Clone)]
pub struct StoreHandle {
    actor: ActorRef<StoreMsg>,
    commits: mpsc::Sender<Apply>,
}

impl StoreHandle {
    /// Hands over a committed epoch.
    pub(crate) fn apply(&self, apply: Apply) {
        let _ = self.commits.send(apply);
        // If the actor is gone, who inherits from it finds the epoch.
        let _ = self.actor.cast(StoreMsg::Committed);
    }
}

/// Spawns the actor, which owns the store from now on, linked to `supervisor`. When it ends, for whatever reason, the
/// store comes back through the receiver, as soon as nothing is written to it any more.
///
/// # Errors
/// [`SpawnErr`] if it cannot be spawned.
pub async fn spawn_store(
    keeper: Keeper,
    tools: StoreTools,
    supervisor: ActorCell,
) -> Result<(ActorRef<StoreMsg>, StoreHandle, oneshot::Receiver<Keeper>), SpawnErr> {
    let commits = keeper.commits();
    let (bequest, inheritance) = Bequest::new(keeper);
    let (actor, _) = Actor::spawn_linked(None, StoreActor, (bequest, tools), supervisor).await?;
    Ok((actor.clone(), StoreHandle { actor, commits }, inheritance))
}

/// The actor.
struct StoreActor;

/// What the store actor works with.
pub struct StoreTools {
    /// Tells how far the changelog is.
    pub log: Arc<dyn Log>,
    /// Metrics.
    pub metrics: Metrics,
    /// Tells the time.
    pub clock: Clock,
}

struct StoreState {
    /// `None` while it is being written to.
    bequest: Option<Bequest>,
    tools: StoreTools,
    /// A timer will say when to apply.
    is_gathering: bool,
    noted_at: Instant,
}

impl Actor for StoreActor {
    type Msg = StoreMsg;
    type State = StoreState;
    type Arguments = (Bequest, StoreTools);

    async fn pre_start(
        &self,
        _myself: ActorRef<StoreMsg>,
        (bequest, tools): Self::Arguments,
    ) -> Result<StoreState, ActorProcessingErr> {
        Ok(StoreState { bequest: Some(bequest), tools, is_gathering: false, noted_at: Instant::now() })
    }

    async fn handle(
        &self,
        myself: ActorRef<StoreMsg>,
        message: StoreMsg,
        state: &mut StoreState,
    ) -> Result<(), ActorProcessingErr> {
        fail_point!("store");
        let is_full = state.keeper().is_some_and(Keeper::take_in);
        match message {
            StoreMsg::Committed if !is_full => {
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
    fn keeper(&mut self) -> Option<&mut Keeper> {
        self.bequest.as_mut().and_then(Bequest::keeper)
    }

    /// Applies what was committed until now.
    async fn apply(&mut self) -> Result<(), ActorProcessingErr> {
        let Some(mut bequest) = self.bequest.take() else { return Ok(()) };
        let metrics = self.tools.metrics.clone();
        let apply = move || {
            if let Some(keeper) = bequest.keeper() {
                keeper.apply(&metrics);
            }
            fail_point!("after_store");
            bequest
        };
        self.bequest = Some(spawn_blocking(apply).await?);
        self.note_positions().await;
        Ok(())
    }

    async fn note_positions(&mut self) {
        if self.noted_at.elapsed() < NOTE_POSITIONS_EVERY {
            return;
        }
        self.noted_at = Instant::now();
        let log = Arc::clone(&self.tools.log);
        let offsets = spawn_blocking(move || log.offsets(Topic::State, true, OFFSETS_TIMEOUT)).await;
        let now = self.tools.clock.elapsed();
        if let (Ok(Ok(ranges)), Some(keeper)) = (offsets, self.keeper()) {
            keeper.note(ranges.into_iter().map(|range| range.end).collect(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tidegate_core::{Epoch, TimestampMs, output::own_record};
    use tidegate_log::{
        ByteRange, OutputBatch,
        embedded::{EmbeddedConfig, EmbeddedLog, EmbeddedStore},
    };
    use tidegate_state::{OWNER_KEY, OwnerRecord, StateDir, encode_owner};
    use tidegate_telemetry::{Labels, Parent};

    use super::*;

    /// Takes part in nothing; the actors under test are linked to it.
    struct Nobody;

    impl Actor for Nobody {
        type Msg = ();
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _myself: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle_supervisor_evt(
            &self,
            _myself: ActorRef<()>,
            _event: ractor::SupervisionEvent,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }

    fn tools(dir: &std::path::Path) -> StoreTools {
        let store = EmbeddedStore::open(dir.join("log"), 1 << 30).unwrap();
        let topics = ["raw", "processed", "alerts", "dead", "state"].map(str::to_owned);
        let config = EmbeddedConfig { group_id: "g".into(), writer_id: "w".into(), topics };
        let metrics = Metrics::new(&Labels::default()).unwrap();
        StoreTools { log: Arc::new(EmbeddedLog::new(store, config)), metrics, clock: Clock::start() }
    }

    fn commit(epoch: u64) -> Apply {
        let mut changes = OutputBatch::default();
        let key = ByteRange::push(&mut changes.arena, OWNER_KEY);
        let owner = OwnerRecord { epoch: Epoch(epoch), nonce: 1, started_at_ms: TimestampMs(0) };
        encode_owner(&owner, &mut changes.arena);
        let value = ByteRange { start: key.end, end: changes.arena.len() as u32 };
        changes.records.push(own_record(Topic::State, 0, TimestampMs(0), key, Some(value)));
        let (changes, begun, trace) = (vec![Arc::new(changes)], Duration::ZERO, Parent::default());
        Apply { epoch: Epoch(epoch), changes, begun, trace }
    }

    #[tokio::test]
    async fn a_store_actor_that_is_killed_leaves_its_store_with_all_that_was_committed() {
        let dir = tempfile::tempdir().unwrap();
        let (nobody, _) = Actor::spawn(None, Nobody, ()).await.unwrap();
        let tools = tools(dir.path());
        let metrics = tools.metrics.clone();
        let mut keeper = Keeper::new(StateDir::open(dir.path().join("state")).unwrap());
        keeper.store(&metrics).facts();
        let (actor, handle, inheritance) = spawn_store(keeper, tools, nobody.get_cell()).await.unwrap();
        handle.apply(commit(1));
        handle.apply(commit(2));
        actor.get_cell().kill_and_wait(None).await.unwrap();
        // Of a writer that has not heard of it.
        handle.apply(commit(3));
        let mut keeper = tokio::time::timeout(Duration::from_secs(5), inheritance).await.unwrap().unwrap();
        assert_eq!(keeper.store(&metrics).epoch(), Some(Epoch(3)));
    }
}
