//! The wiring of one generation: its actors, from the barrier up to the reader's first record.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64},
    },
    time::{Duration, Instant},
};

use ractor::{Actor, ActorCell, ActorId, ActorRef, SpawnErr};
use tidegate_core::{
    Epoch, Generation, NextOffset, PartitionId, TimestampMs,
    partitioner::{key_group, window_actor},
    refused::RefusedRecords,
    watermark::{PartitionClock, PipelineWatermark},
    window::{OpenWindows, Windows},
};
use tidegate_log::{Log, Topic, TopicsFacts};
use tidegate_supervision::Part;
use tidegate_telemetry::{Journal, Metrics, Stage, Traces};
use tokio::sync::{broadcast, mpsc};

use crate::{
    barrier::{Barrier, BarrierArgs},
    clock::Clock,
    committer::{Committer, CommitterArgs},
    credits::Credits,
    enrich::{EnrichArgs, EnrichWorker},
    events::Events,
    filter::{FilterArgs, FilterWorker},
    geo_source::GeoSource,
    ledger::Ledger,
    messages::{BarrierMsg, CommitterMsg, EnrichMsg, FilterMsg, PartitionMsg, Report, WindowMsg},
    output::Outputs,
    partition::{Partition, PartitionArgs},
    parts::CommittedAlert,
    pool::Pool,
    reader::{Positions, ReaderHandle, Route},
    recovery::{Plan, by_partition},
    settings::PipelineSettings,
    store::{SharedCopy, StoreActor, StoreArgs, StoreHandle, Unapplied},
    until_end::Ends,
    window::{WindowActor, WindowArgs, limit_evidence},
    writer::WriterHandle,
};

/// How long an actor may take to die or to drain.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What all generations share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<PipelineSettings>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) copy: SharedCopy,
    pub(crate) unapplied: Unapplied,
    pub(crate) geo: GeoSource,
    pub(crate) metrics: Metrics,
    pub(crate) journal: Journal,
    pub(crate) traces: Traces,
    pub(crate) alerts: broadcast::Sender<Arc<CommittedAlert>>,
    pub(crate) clock: Clock,
    /// Nonce of this process.
    pub(crate) owner: u64,
    /// The parent of all actors.
    pub(crate) supervisor: ActorCell,
    pub(crate) events: Events,
    /// Input records whose output was refused.
    pub(crate) refused: Arc<RefusedRecords>,
    /// What the generation before failed at is not done yet.
    pub(crate) stuck: Arc<AtomicBool>,
}

/// Who an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) part: Part,
    /// Which of the actors of its kind.
    pub(crate) index: usize,
}

/// A generation that lives.
pub(crate) struct Live {
    pub(crate) number: Generation,
    pub(crate) topics: Arc<TopicsFacts>,
    pub(crate) writer: WriterHandle,
    pub(crate) reader: ReaderHandle,
    pub(crate) barrier: ActorRef<BarrierMsg>,
    /// Where it began to read.
    pub(crate) began_at: Vec<NextOffset>,
    /// What is committed of the input, or needed no commit.
    pub(crate) positions: Positions,
    /// What was handed on of the input.
    pub(crate) taken: Positions,
    pub(crate) began: Instant,
    /// No epoch of its writer is committed yet.
    pub(crate) announce: bool,
    shared: Shared,
    filter: Arc<Pool<FilterMsg>>,
    enrich: Arc<Pool<EnrichMsg>>,
    partitions: Vec<ActorRef<PartitionMsg>>,
    windows: Vec<ActorRef<WindowMsg>>,
    store: StoreHandle,
    children: HashMap<ActorId, (Role, ActorCell)>,
}

impl Live {
    /// Spawns all actors of a generation, linked to the supervisor, and lets the reader start; it reads up to
    /// the `ends`, if there are any.
    ///
    /// # Errors
    /// If an actor cannot be spawned; those that were end with the supervisor, which they are linked to.
    pub(crate) async fn spawn(
        shared: &Shared,
        number: Generation,
        plan: Plan,
        ends: Option<Ends>,
    ) -> Result<Self, SpawnErr> {
        let mut children = Children { supervisor: shared.supervisor.clone(), all: HashMap::new() };
        let Plan { topics, epoch, positions, highest, watermark, windows, announce, writer, reader, .. } =
            plan;
        let settings = Arc::clone(&shared.settings);
        let credits = Arc::new(Credits::new(settings.in_flight_bytes));
        let committed: Positions = positions.iter().map(|next| AtomicI64::new(next.0)).collect();
        let taken: Positions = positions.iter().map(|next| AtomicI64::new(next.0)).collect();
        writer.begin(number);

        let store = spawn_store(shared, &mut children).await?;
        let barrier_args = BarrierArgs {
            epoch,
            interval: settings.checkpoint_interval,
            events: shared.events.clone(),
            log: Arc::clone(&shared.log),
            clock: shared.clock.clone(),
        };
        let barrier = children.spawn(Part::Barrier, 0, Barrier, barrier_args).await?;
        let committer_args = CommitterArgs {
            epoch,
            owner: shared.owner,
            announce,
            window_actors: settings.window_actors,
            topics: Arc::clone(&topics),
            writer: writer.clone(),
            barrier: barrier.clone(),
            store: store.clone(),
            events: shared.events.clone(),
            credits: Arc::clone(&credits),
            traces: shared.traces.clone(),
            ledger: ledger(shared, number, Arc::clone(&committed)),
        };
        let committer = children.spawn(Part::Committer, 0, Committer, committer_args).await?;
        let window_actors =
            spawn_windows(shared, &mut children, &topics, epoch, watermark, windows, &barrier, &committer)
                .await?;

        let filter = Arc::new(Pool::new(settings.filter_workers));
        let enrich = Arc::new(Pool::new(settings.enrich_workers));
        let mut live = Self {
            number,
            topics,
            writer,
            reader,
            barrier,
            began_at: positions,
            positions: committed,
            taken,
            began: Instant::now(),
            announce,
            shared: shared.clone(),
            filter,
            enrich,
            partitions: Vec::new(),
            windows: window_actors,
            store,
            children: HashMap::new(),
        };
        live.spawn_records(&mut children, epoch, highest, &committer).await?;
        live.children = children.all;
        live.start(credits, ends);
        Ok(live)
    }

    /// Spawns what works on records: the pools from their end on, then the partition actors.
    async fn spawn_records(
        &mut self,
        children: &mut Children,
        epoch: Epoch,
        highest: Vec<Option<TimestampMs>>,
        committer: &ActorRef<CommitterMsg>,
    ) -> Result<(), SpawnErr> {
        for index in 0..self.shared.settings.enrich_workers {
            self.spawn_worker(children, Role { part: Part::Enrich, index }).await?;
        }
        for index in 0..self.shared.settings.filter_workers {
            self.spawn_worker(children, Role { part: Part::Filter, index }).await?;
        }
        for (index, highest) in highest.into_iter().enumerate() {
            let args = PartitionArgs {
                partition: PartitionId(index as u32),
                next: self.began_at[index],
                clock_state: PartitionClock::restore(highest),
                epoch,
                settings: Arc::clone(&self.shared.settings),
                outputs: self.outputs(),
                filter: Arc::clone(&self.filter),
                windows: self.windows.clone(),
                committer: committer.clone(),
                events: self.shared.events.clone(),
                metrics: self.shared.metrics.clone(),
                traces: self.shared.traces.clone(),
                clock: self.shared.clock.clone(),
            };
            self.partitions.push(children.spawn(Part::Partition, index, Partition, args).await?);
        }
        Ok(())
    }

    fn outputs(&self) -> Outputs {
        let Shared { refused, clock, .. } = &self.shared;
        Outputs { topics: Arc::clone(&self.topics), refused: Arc::clone(refused), clock: clock.clone() }
    }

    fn start(&self, credits: Arc<Credits>, ends: Option<Ends>) {
        for (stage, workers) in [
            (Stage::Reader, 1),
            (Stage::Filter, self.shared.settings.filter_workers),
            (Stage::Enrich, self.shared.settings.enrich_workers),
            (Stage::Window, self.shared.settings.window_actors),
            (Stage::Committer, 1),
        ] {
            self.shared.metrics.stage(stage).set_workers(workers);
        }
        // If the barrier is gone already, the supervisor hears of it.
        let _ = self.barrier.cast(BarrierMsg::Start(self.partitions.clone()));
        self.reader.start(Route {
            generation: self.number,
            from: by_partition(&self.began_at),
            partitions: self.partitions.clone(),
            barrier: self.barrier.clone(),
            credits,
            positions: Arc::clone(&self.positions),
            taken: Arc::clone(&self.taken),
            ends,
        });
    }

    /// Who this actor is, if it belongs to this generation.
    pub(crate) fn role(&self, actor: ActorId) -> Option<Role> {
        self.children.get(&actor).map(|(role, _)| *role)
    }

    /// All actors, by role; the reader is a thread, but people look at it as one of them.
    pub(crate) fn roles(&self) -> impl Iterator<Item = Role> {
        let reader = Role { part: Part::Reader, index: 0 };
        self.children.values().map(|(role, _)| *role).chain([reader])
    }

    /// Asks the window actors for their fullest windows; each answers for itself.
    pub(crate) fn report(&self, limit: usize, reply: &mpsc::Sender<Report>) {
        for window in &self.windows {
            let _ = window.cast(WindowMsg::Report { limit, reply: reply.clone() });
        }
    }

    /// Puts a new worker in the place of one that died, and lets the partitions know.
    ///
    /// # Errors
    /// If it cannot be spawned.
    pub(crate) async fn replace_worker(&mut self, dead: ActorId, role: Role) -> Result<(), SpawnErr> {
        self.children.remove(&dead);
        let supervisor = self.shared.supervisor.clone();
        let mut children = Children { supervisor, all: std::mem::take(&mut self.children) };
        let spawned = self.spawn_worker(&mut children, role).await;
        self.children = children.all;
        for partition in &self.partitions {
            let _ = partition.cast(PartitionMsg::WorkerReplaced);
        }
        spawned
    }

    async fn spawn_worker(&self, children: &mut Children, role: Role) -> Result<(), SpawnErr> {
        let Shared { settings, geo, metrics, traces, clock, .. } = self.shared.clone();
        match role.part {
            Part::Enrich => {
                let args = EnrichArgs { outputs: self.outputs(), geo, metrics, traces };
                let worker = children.spawn(role.part, role.index, EnrichWorker, args).await?;
                self.enrich.set(role.index, worker);
            }
            _ => {
                let args = FilterArgs { settings, enrich: Arc::clone(&self.enrich), metrics, traces, clock };
                let worker = children.spawn(role.part, role.index, FilterWorker, args).await?;
                self.filter.set(role.index, worker);
            }
        }
        Ok(())
    }

    /// Ends the generation: the reader stops, all actors die, but the store first applies what is committed.
    /// Nothing is left running when this returns, except a call of the writer's that does not come back.
    pub(crate) async fn end(&self) {
        self.reader.halt().await;
        for (role, cell) in self.children.values() {
            if role.part != Part::Store {
                cell.kill();
            }
        }
        for (role, cell) in self.children.values() {
            if role.part != Part::Store {
                // An error means that it is dead already.
                let _ = cell.kill_and_wait(Some(STOP_TIMEOUT)).await;
            }
        }
        self.store.drain(STOP_TIMEOUT).await;
        for stage in Stage::ALL {
            self.shared.metrics.stage(*stage).queue().set(0);
        }
    }
}

async fn spawn_store(shared: &Shared, children: &mut Children) -> Result<StoreHandle, SpawnErr> {
    let unapplied = Arc::clone(&shared.unapplied);
    let args = StoreArgs {
        unapplied: Arc::clone(&unapplied),
        copy: Arc::clone(&shared.copy),
        log: Arc::clone(&shared.log),
        metrics: shared.metrics.clone(),
    };
    Ok(StoreHandle::new(children.spawn(Part::Store, 0, StoreActor, args).await?, unapplied))
}

fn ledger(shared: &Shared, generation: Generation, positions: Positions) -> Ledger {
    Ledger {
        generation,
        positions,
        metrics: shared.metrics.clone(),
        journal: shared.journal.clone(),
        alerts: shared.alerts.clone(),
        clock: shared.clock.clone(),
        stuck: Arc::clone(&shared.stuck),
    }
}

/// Actors spawned so far.
struct Children {
    supervisor: ActorCell,
    all: HashMap<ActorId, (Role, ActorCell)>,
}

impl Children {
    async fn spawn<A: Actor>(
        &mut self,
        part: Part,
        index: usize,
        actor: A,
        args: A::Arguments,
    ) -> Result<ActorRef<A::Msg>, SpawnErr> {
        let (spawned, _) = Actor::spawn_linked(None, actor, args, self.supervisor.clone()).await?;
        self.all.insert(spawned.get_id(), (Role { part, index }, spawned.get_cell()));
        Ok(spawned)
    }
}

#[allow(clippy::too_many_arguments, reason = "wiring")]
async fn spawn_windows(
    shared: &Shared,
    children: &mut Children,
    topics: &Arc<TopicsFacts>,
    epoch: Epoch,
    watermark: Option<TimestampMs>,
    restored: Vec<(tidegate_core::window::WindowKey, tidegate_core::window::WindowState)>,
    barrier: &ActorRef<BarrierMsg>,
    committer: &ActorRef<CommitterMsg>,
) -> Result<Vec<ActorRef<WindowMsg>>, SpawnErr> {
    let settings = &shared.settings;
    let open = Arc::new(OpenWindows::new(settings.open_windows));
    let mut shares: Vec<Windows> = (0..settings.window_actors)
        .map(|_| {
            let (rules, open) = (Arc::clone(&settings.rules), Arc::clone(&open));
            let mut windows =
                Windows::new(rules, settings.allowed_lateness_ms, settings.alert_evidence, open);
            windows.restore_watermark(watermark);
            limit_evidence(&mut windows, &settings.rules, topics);
            windows
        })
        .collect();
    let groups = topics[Topic::State as usize].partitions;
    for (key, state) in restored {
        let share = window_actor(key_group(&key.service, groups), settings.window_actors);
        shares[share].restore(key, state);
    }
    let mut actors = Vec::with_capacity(shares.len());
    for (index, windows) in shares.into_iter().enumerate() {
        let args = WindowArgs {
            windows,
            rules: Arc::clone(&settings.rules),
            watermark: PipelineWatermark::new(watermark),
            epoch,
            topics: Arc::clone(topics),
            committer: committer.clone(),
            barrier: barrier.clone(),
            metrics: shared.metrics.clone(),
            traces: shared.traces.clone(),
            allowed_lateness_ms: settings.allowed_lateness_ms,
            clock: shared.clock.clone(),
        };
        actors.push(children.spawn(Part::Window, index, WindowActor, args).await?);
    }
    Ok(actors)
}
