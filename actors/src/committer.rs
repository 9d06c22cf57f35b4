//! The owner of the epoch's commit.
//!
//! Output of the open epoch goes to the writer as it comes. When every partition has sealed the epoch and
//! every window actor has given its part, alerts, state changes and the commit follow, and the next epoch is
//! open. The writer does one thing after another, so output of the next epoch may queue behind the commit.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{
    Epoch, Generation, NextOffset, PartitionId,
    epoch::{
        EpochMark, TopicIds,
        align::{Alignment, Turn},
        due::{Work, is_due},
    },
};
use tidegate_log::{CommitPhases, InputProgress, OutputBatch, Span, Topic, TopicsFacts};
use tidegate_state::{OWNER_KEY, OwnerRecord, PROGRESS_KEY, ProgressRecord, encode_owner, encode_progress};
use tidegate_telemetry::{MAX_LINKS, Parent, Span as TraceSpan, Stage, Traces};

use crate::{
    credits::Credits,
    events::{Events, PipelineEvent},
    ledger::Ledger,
    messages::{BarrierMsg, CommitterMsg, Sealed},
    open_epoch::OpenEpoch,
    recovery::topic_ids,
    samples,
    store::{Apply, StoreHandle},
    tally::Tally,
    window::own_record,
    writer::{COMMIT_DEADLINE, WriterCommand, WriterHandle},
};

/// A commit that is not back by then never will be: the writer hangs in a call that knows no time limit.
const WATCHDOG: Duration = COMMIT_DEADLINE.saturating_add(Duration::from_secs(5));

/// Dead letters of an epoch that are shown to whoever looks, at most.
const SAMPLES_PER_EPOCH: usize = 8;

pub(crate) struct Committer;

pub(crate) struct CommitterArgs {
    /// The epoch that is open first.
    pub(crate) epoch: Epoch,
    /// Nonce of this process.
    pub(crate) owner: u64,
    /// Commit the first epoch even if it is empty, and write the owner record with it.
    pub(crate) announce: bool,
    pub(crate) window_actors: usize,
    pub(crate) topics: Arc<TopicsFacts>,
    pub(crate) writer: WriterHandle,
    pub(crate) barrier: ActorRef<BarrierMsg>,
    pub(crate) store: StoreHandle,
    pub(crate) events: Events,
    pub(crate) credits: Arc<Credits>,
    pub(crate) traces: Traces,
    pub(crate) ledger: Ledger,
}

pub(crate) struct CommitterState {
    args: CommitterArgs,
    alignment: Alignment<Sealed>,
    open: OpenEpoch,
    /// Output of the next epoch.
    early: VecDeque<Output>,
    committing: Option<Committing>,
    last_commit: Instant,
    /// Next offset of each input partition in the last commit of this generation, or where it began.
    committed_to: Vec<NextOffset>,
    /// Output of this generation has come.
    flows: bool,
}

struct Output {
    partition: PartitionId,
    output: OutputBatch,
    tally: Tally,
    bytes: usize,
    trace: Parent,
}

/// An epoch whose commit is under way.
struct Committing {
    epoch: OpenEpoch,
    begun: Instant,
    state_records: u64,
    span: TraceSpan,
}

impl Actor for Committer {
    type Msg = CommitterMsg;
    type State = CommitterState;
    type Arguments = CommitterArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<CommitterMsg>,
        args: CommitterArgs,
    ) -> Result<CommitterState, ActorProcessingErr> {
        let partitions = args.topics[Topic::Raw as usize].partitions as usize;
        let alignment = Alignment::new(args.epoch, partitions);
        let open = OpenEpoch::new(args.epoch, partitions);
        let position = |position: &AtomicI64| NextOffset(position.load(Ordering::Relaxed));
        let committed_to = args.ledger.positions.iter().map(position).collect();
        Ok(CommitterState {
            args,
            alignment,
            open,
            early: VecDeque::new(),
            committing: None,
            last_commit: Instant::now(),
            committed_to,
            flows: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<CommitterMsg>,
        message: CommitterMsg,
        state: &mut CommitterState,
    ) -> Result<(), ActorProcessingErr> {
        fail_point!("committer");
        match message {
            CommitterMsg::Output { epoch, partition, output, tally, bytes, trace } => {
                if !std::mem::replace(&mut state.flows, true) {
                    // With "pipeline failed" it tells how long nothing was processed.
                    tracing::info!(generation = %state.args.ledger.generation, "output flows");
                }
                let output = Output { partition, output, tally, bytes, trace };
                match state.alignment.turn(epoch, partition)? {
                    Turn::Now => state.take_output(output),
                    Turn::Early => state.early.push_back(output),
                }
            }
            CommitterMsg::Sealed(sealed) => {
                if state.alignment.seal(sealed.cut.epoch, sealed.partition, sealed)? {
                    state.open.all_sealed_at = Some(Instant::now());
                }
                state.commit_if_complete(&myself);
            }
            CommitterMsg::Delta(delta) => {
                let (of, open) = (delta.epoch, state.alignment.epoch());
                if of != open {
                    return Err(format!(
                        "a window actor's part of epoch {of} came while epoch {open} is open"
                    )
                    .into());
                }
                state.open.deltas.push(*delta);
                state.commit_if_complete(&myself);
            }
            CommitterMsg::Committed { epoch, phases } => state.committed(epoch, phases),
            CommitterMsg::Overdue(epoch) => {
                if state.committing.as_ref().is_some_and(|committing| committing.epoch.epoch == epoch) {
                    let generation = state.args.ledger.generation;
                    state.args.events.cast(PipelineEvent::WriterHung { generation })?;
                }
            }
        }
        Ok(())
    }
}

impl CommitterState {
    fn take_output(&mut self, Output { partition, output, tally, bytes, trace }: Output) {
        if tally.dead_letters() > 0 && self.open.samples.len() < SAMPLES_PER_EPOCH {
            self.open.samples.extend(samples::first(&output));
        }
        if trace.is_kept() && self.open.batches.len() < MAX_LINKS {
            self.open.batches.push(trace.clone());
        }
        self.open.tallies[partition.0 as usize].add(&tally);
        self.open.outputs += 1;
        self.open.bytes += bytes;
        self.append(Arc::new(output), trace);
    }

    fn append(&self, batch: Arc<OutputBatch>, trace: Parent) {
        if !batch.records.is_empty() {
            self.args.ledger.metrics.stage(Stage::Committer).queue().add(batch.records.len() as u64);
            let generation = self.args.ledger.generation;
            self.args.writer.send(WriterCommand::Append { generation, batch, trace });
        }
    }

    fn commit_if_complete(&mut self, myself: &ActorRef<CommitterMsg>) {
        if self.open.deltas.len() < self.args.window_actors {
            return;
        }
        let Some(seals) = self.alignment.open_next() else { return };
        let next = OpenEpoch::new(self.alignment.epoch(), seals.len());
        let epoch = OpenEpoch { seals, ..std::mem::replace(&mut self.open, next) };
        let announce = std::mem::take(&mut self.args.announce);
        let ends: Vec<_> = epoch.seals.iter().map(|sealed| sealed.next).collect();
        let work = Work { announces: announce, has_records: epoch.has_records(), ends: &ends };
        if is_due(work, &self.committed_to, self.last_commit.elapsed()) {
            self.commit(myself, epoch, announce);
        } else {
            self.skip(&epoch);
        }
        for output in std::mem::take(&mut self.early) {
            self.take_output(output);
        }
    }

    /// Nothing came in and nothing goes out: the epoch needs no commit.
    fn skip(&self, epoch: &OpenEpoch) {
        self.args.ledger.skipped(epoch);
        let _ = self.args.barrier.cast(BarrierMsg::Finished { epoch: epoch.epoch, committed: false });
    }

    fn commit(&mut self, myself: &ActorRef<CommitterMsg>, mut epoch: OpenEpoch, announce: bool) {
        let cut_ago = epoch.seals.iter().map(|sealed| sealed.cut.at.elapsed()).next().unwrap_or_default();
        let Generation(generation) = self.args.ledger.generation;
        let span = self.args.traces.epoch(epoch.epoch.0, generation, cut_ago, &epoch.batches);
        let trace = span.parent();
        let mut changes = Vec::with_capacity(epoch.deltas.len() + 1);
        if announce {
            changes.push(Arc::new(self.owner_record(epoch.epoch)));
        }
        for delta in &mut epoch.deltas {
            self.append(Arc::clone(&delta.alerts), trace.clone());
            changes.push(Arc::new(std::mem::take(&mut delta.changes)));
        }
        changes.push(Arc::new(self.progress_record(&epoch)));
        for batch in &changes {
            self.append(Arc::clone(batch), trace.clone());
        }
        let state_records = changes.iter().map(|changes| changes.records.len() as u64).sum();
        let (number, begun) = (epoch.epoch, Instant::now());
        self.args.writer.send(WriterCommand::Commit {
            generation: self.args.ledger.generation,
            progress: self.progress(&epoch),
            apply: Apply { epoch: number, changes, begun, trace },
            store: self.args.store.clone(),
            committer: myself.clone(),
        });
        self.committing = Some(Committing { epoch, begun, state_records, span });
        myself.send_after(WATCHDOG, move || CommitterMsg::Overdue(number));
    }

    /// The offset of every partition, idle ones too, each with the mark that names the epoch.
    fn progress(&self, epoch: &OpenEpoch) -> Vec<InputProgress> {
        let watermark = epoch.watermark();
        let partitions = epoch.seals.len() as u32;
        let topics = topic_ids(&self.args.topics);
        let progress = |sealed: &Sealed| InputProgress {
            partition: sealed.partition,
            next: sealed.next,
            metadata: EpochMark {
                epoch: epoch.epoch,
                owner: self.args.owner,
                partitions,
                highest: sealed.highest,
                watermark,
                topics,
            }
            .encode(),
        };
        epoch.seals.iter().map(progress).collect()
    }

    fn owner_record(&self, epoch: Epoch) -> OutputBatch {
        // Beside the time of the record, which is the broker's, it tells how far this host's clock is off.
        let owner =
            OwnerRecord { epoch, nonce: self.args.owner, started_at_ms: self.args.ledger.clock.wall() };
        self.state_record(OWNER_KEY, |arena| encode_owner(&owner, arena))
    }

    /// The same as is committed with the offsets, in case those are lost.
    fn progress_record(&self, epoch: &OpenEpoch) -> OutputBatch {
        let TopicIds { input, state } = topic_ids(&self.args.topics);
        let progress = ProgressRecord {
            epoch: epoch.epoch,
            owner: self.args.owner,
            partitions: epoch.seals.iter().map(|sealed| (sealed.next, sealed.highest)).collect(),
            watermark: epoch.watermark(),
            input,
            state,
        };
        self.state_record(PROGRESS_KEY, |arena| encode_progress(&progress, arena))
    }

    /// A record in partition 0 of the state topic.
    fn state_record(&self, key: &[u8], value: impl FnOnce(&mut Vec<u8>)) -> OutputBatch {
        let mut batch = OutputBatch::default();
        let key = Span::push(&mut batch.arena, key);
        value(&mut batch.arena);
        let value = Span { start: key.end, end: batch.arena.len() as u32 };
        batch.records.push(own_record(
            Topic::State,
            0,
            self.args.ledger.clock.record_time(),
            key,
            Some(value),
        ));
        batch
    }

    fn committed(&mut self, epoch: Epoch, phases: CommitPhases) {
        let Some(Committing { epoch: mut committed, begun, state_records, span }) =
            self.committing.take_if(|committing| committing.epoch.epoch == epoch)
        else {
            return;
        };
        self.last_commit = Instant::now();
        self.committed_to = committed.seals.iter().map(|sealed| sealed.next).collect();
        self.args.credits.give_back(committed.bytes);
        // Before the barrier's word, upon which the supervisor looks at it.
        self.args.ledger.report_progress(&committed);
        let _ = self.args.barrier.cast(BarrierMsg::Finished { epoch, committed: true });
        let phases = self.args.ledger.committed(&mut committed, begun, &phases, state_records);
        span.end_with_phases(&phases);
    }
}
