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
use tidegate_actors::{
    Barrier, BarrierArgs, BarrierMsg, CommittedAlert, Committer, CommitterArgs, CommitterMsg, Ends,
    EnrichArgs, EnrichMsg, EnrichWorker, Events, FilterArgs, FilterMsg, FilterWorker, GeoSource, Keeper,
    Ledger, Outputs, Partition, PartitionArgs, PartitionMsg, PipelineSettings, Pool, Positions, ReaderHandle,
    Report, Route, StoreHandle, StoreTools, WindowActor, WindowArgs, WindowEvents, WindowMsg, WriterHandle,
    limit_evidence, spawn_store,
};
use tidegate_core::{
    Epoch, Generation, NextOffset, PartitionId, TimestampMs,
    epoch::{TopicIds, credits::Credits, partition::Start, share::WindowShare},
    partitioner::{key_group, window_actor},
    refused::RefusedRecords,
    supervision::Part,
    time::idleness::IdleLimits,
    window::{OpenWindows, WindowKey, WindowState, Windows},
};
use tidegate_host::Clock;
use tidegate_log::{Log, Topic, TopicsFacts};
use tidegate_state::StateDir;
use tidegate_telemetry::{Journal, Metrics, Stage, Traces};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::recovery::Plan;

/// How long an actor may take to die or to drain.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What all generations share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<PipelineSettings>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) state_dir: StateDir,
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

impl Role {
    /// The one actor of its kind.
    pub(crate) fn only(part: Part) -> Self {
        Self { part, index: 0 }
    }
}

/// What people know an actor as.
pub(crate) fn named(Role { part, index }: Role) -> (Part, usize) {
    (part, index)
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
    /// Where the local store comes back when its actor ends.
    inheritance: oneshot::Receiver<Keeper>,
    children: HashMap<ActorId, (Role, ActorCell)>,
}

impl Live {
    /// Spawns all actors of a generation, linked to the supervisor, and lets the reader start; it reads up to
    /// the `ends`, if there are any.
    ///
    /// # Errors
    /// [`SpawnErr`] if an actor cannot be spawned; those that were end with the supervisor, which they are linked to.
    pub(crate) async fn spawn(
        shared: &Shared,
        number: Generation,
        plan: Plan,
        keeper: Keeper,
        ends: Option<Ends>,
    ) -> Result<Self, SpawnErr> {
        let mut children = Children { supervisor: shared.supervisor.clone(), all: HashMap::new() };
        let Plan { topics, epoch, positions, highest, watermark, windows, announce, writer, reader, .. } =
            plan;
        let settings = &shared.settings;
        let at = |positions: &[NextOffset]| -> Positions {
            positions.iter().map(|next| AtomicI64::new(next.0)).collect()
        };
        let credits = Arc::new(Credits::new(settings.in_flight_bytes));
        writer.begin(number);

        let (store, inheritance) = shared.spawn_store(&mut children, keeper).await?;
        let barrier = shared.spawn_barrier(&mut children, epoch).await?;
        let mut live = Self {
            number,
            topics,
            writer,
            reader,
            barrier,
            taken: at(&positions),
            positions: at(&positions),
            began_at: positions,
            began: Instant::now(),
            announce,
            shared: shared.clone(),
            filter: Arc::new(Pool::new(settings.filter_workers)),
            enrich: Arc::new(Pool::new(settings.enrich_workers)),
            partitions: Vec::new(),
            windows: Vec::new(),
            store,
            inheritance,
            children: HashMap::new(),
        };
        let committer = live.spawn_committer(&mut children, epoch, &credits).await?;
        let shares = live.shares(epoch, watermark, windows);
        live.spawn_windows(&mut children, shares, &committer).await?;
        live.spawn_records(&mut children, epoch, highest, &committer).await?;
        live.children = children.all;
        live.start(credits, ends);
        Ok(live)
    }

    async fn spawn_committer(
        &self,
        children: &mut Children,
        epoch: Epoch,
        credits: &Arc<Credits>,
    ) -> Result<ActorRef<CommitterMsg>, SpawnErr> {
        let shared = &self.shared;
        let args = CommitterArgs {
            epoch,
            owner: shared.owner,
            announce: self.announce,
            window_actors: shared.settings.window_actors,
            topics: TopicIds::of(&self.topics),
            writer: self.writer.clone(),
            barrier: self.barrier.clone(),
            store: self.store.clone(),
            events: shared.events.clone(),
            credits: Arc::clone(credits),
            traces: shared.traces.clone(),
            ledger: shared.ledger(self.number, Arc::clone(&self.positions)),
        };
        children.spawn(Part::Committer, 0, Committer, args).await
    }

    /// The windows as of the committed epoch, shared out among the window actors.
    fn shares(
        &self,
        epoch: Epoch,
        watermark: Option<TimestampMs>,
        restored: Vec<(WindowKey, WindowState)>,
    ) -> Vec<WindowShare<WindowEvents>> {
        let settings = &self.shared.settings;
        let open = Arc::new(OpenWindows::new(settings.open_windows));
        let share = |_| {
            let (rules, open) = (Arc::clone(&settings.rules), Arc::clone(&open));
            let (lateness_ms, evidence) = (settings.allowed_lateness_ms, settings.alert_evidence);
            let mut windows = Windows::new(rules, lateness_ms, evidence, open);
            limit_evidence(&mut windows, &settings.rules, &self.topics);
            WindowShare::new(windows, watermark, epoch, self.began_at.len())
        };
        let mut shares: Vec<_> = (0..settings.window_actors).map(share).collect();
        let groups = self.topics[Topic::State as usize].partitions;
        for (key, state) in restored {
            let share = window_actor(key_group(&key.service, groups), settings.window_actors);
            shares[share].windows_mut().restore(key, state);
        }
        shares
    }

    async fn spawn_windows(
        &mut self,
        children: &mut Children,
        shares: Vec<WindowShare<WindowEvents>>,
        committer: &ActorRef<CommitterMsg>,
    ) -> Result<(), SpawnErr> {
        let Shared { settings, metrics, traces, clock, .. } = &self.shared;
        for (index, share) in shares.into_iter().enumerate() {
            let args = WindowArgs {
                share,
                rules: Arc::clone(&settings.rules),
                topics: Arc::clone(&self.topics),
                committer: committer.clone(),
                barrier: self.barrier.clone(),
                metrics: metrics.clone(),
                traces: traces.clone(),
                allowed_lateness_ms: settings.allowed_lateness_ms,
                clock: clock.clone(),
            };
            self.windows.push(children.spawn(Part::Window, index, WindowActor, args).await?);
        }
        Ok(())
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
        let Shared { settings, events, metrics, traces, clock, .. } = &self.shared;
        let interval_ms = settings.checkpoint_interval.as_millis() as i64;
        for (index, highest) in highest.into_iter().enumerate() {
            let start = Start {
                partition: PartitionId(index as u32),
                epoch,
                next: self.began_at[index],
                highest,
                now_ms: clock.elapsed_ms(),
                max_disorder_ms: settings.max_disorder_ms,
                idle: IdleLimits { idle_after_ms: settings.idle_after_ms, interval_ms },
            };
            let args = PartitionArgs {
                start,
                outputs: self.outputs(),
                filter: Arc::clone(&self.filter),
                windows: self.windows.clone(),
                committer: committer.clone(),
                events: events.clone(),
                metrics: metrics.clone(),
                traces: traces.clone(),
                clock: clock.clone(),
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
        let cuts = self.partitions.iter().map(ActorRef::get_derived).collect();
        let _ = self.barrier.cast(BarrierMsg::Start(cuts));
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
    /// [`SpawnErr`] if it cannot be spawned.
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

    /// Ends the generation: the reader stops, all actors die. None of them is left running when this returns, but a call
    /// of the writer's may be that does not come back.
    pub(crate) async fn end(&self) {
        self.reader.halt().await;
        for (_, cell) in self.children.values() {
            cell.kill();
        }
        for (_, cell) in self.children.values() {
            // An error means that it is dead already.
            let _ = cell.kill_and_wait(Some(STOP_TIMEOUT)).await;
        }
        for stage in Stage::ALL {
            self.shared.metrics.stage(*stage).queue().set(0);
        }
    }

    /// The local store of a generation that was ended. `None` if the disk does not answer: then it has to be opened anew.
    /// Not to be awaited by the supervisor itself: what its actors leave comes with the word that they ended, and that is
    /// heard between messages.
    pub(crate) async fn inheritance(self: Box<Self>) -> Option<Keeper> {
        tokio::time::timeout(STOP_TIMEOUT, self.inheritance).await.ok()?.ok()
    }
}

impl Shared {
    async fn spawn_store(
        &self,
        children: &mut Children,
        keeper: Keeper,
    ) -> Result<(StoreHandle, oneshot::Receiver<Keeper>), SpawnErr> {
        let (log, metrics, clock) = (Arc::clone(&self.log), self.metrics.clone(), self.clock.clone());
        let tools = StoreTools { log, metrics, clock };
        let (actor, handle, inheritance) = spawn_store(keeper, tools, self.supervisor.clone()).await?;
        children.all.insert(actor.get_id(), (Role::only(Part::Store), actor.get_cell()));
        Ok((handle, inheritance))
    }

    async fn spawn_barrier(
        &self,
        children: &mut Children,
        epoch: Epoch,
    ) -> Result<ActorRef<BarrierMsg>, SpawnErr> {
        let args = BarrierArgs {
            epoch,
            interval: self.settings.checkpoint_interval,
            events: self.events.clone(),
            log: Arc::clone(&self.log),
            clock: self.clock.clone(),
        };
        children.spawn(Part::Barrier, 0, Barrier, args).await
    }

    fn ledger(&self, generation: Generation, positions: Positions) -> Ledger {
        Ledger {
            generation,
            positions,
            metrics: self.metrics.clone(),
            journal: self.journal.clone(),
            alerts: self.alerts.clone(),
            clock: self.clock.clone(),
            stuck: Arc::clone(&self.stuck),
        }
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

/// Positions with their partitions, as a reader takes them.
fn by_partition(positions: &[NextOffset]) -> Vec<(PartitionId, NextOffset)> {
    positions.iter().enumerate().map(|(index, next)| (PartitionId(index as u32), *next)).collect()
}
