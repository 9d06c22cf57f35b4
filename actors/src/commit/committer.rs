//! The owner of the epoch's commit.
//!
//! Output of the open epoch goes to the writer as it comes. When the epoch is complete, alerts, state changes and the
//! commit follow. The writer does one thing after another, so output of the next epoch may queue behind the commit. When
//! an epoch is complete, and whether it is committed, is decided by [`Commits`].

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{
    Epoch, Generation, NextOffset, PartitionId,
    epoch::{
        TopicIds,
        barrier::Seal,
        commit::{Commits, Complete, Fault, Verdict},
        credits::Credits,
    },
    tally::Tally,
};
use tidegate_log::OutputBatch;
use tidegate_telemetry::{DeadLetterSample, MAX_LINKS, Parent, Span, Stage, Traces};

use super::{
    epoch::{Delta, OpenEpoch},
    keeper::Apply,
    ledger::Ledger,
    rows::Commit,
    store::StoreHandle,
    writer::{COMMIT_DEADLINE, Committed, WriterCommand, WriterHandle},
};
use crate::{
    control::barrier::BarrierMsg,
    derived_message,
    events::{Events, PipelineEvent},
};

/// A commit that is not back by then never will be: the writer hangs in a call that knows no time limit.
const WATCHDOG: Duration = COMMIT_DEADLINE.saturating_add(Duration::from_secs(5));

/// Dead letters of an epoch that are shown to whoever looks, at most.
const SAMPLES_PER_EPOCH: usize = 8;

/// The actor.
pub struct Committer;

/// To the committer.
pub enum CommitterMsg {
    /// From a partition actor: records of the epoch in order.
    Output {
        /// The epoch.
        epoch: Epoch,
        /// Where they come from.
        partition: PartitionId,
        /// The records.
        output: OutputBatch,
        /// What was counted of them.
        tally: Tally,
        /// Bytes of the budget that are free once it is committed.
        bytes: usize,
        /// Where their spans belong.
        trace: Parent,
    },
    /// From a partition actor, behind all of its output of the epoch.
    Sealed(Seal),
    /// From a window actor: its part of the open epoch.
    Delta(Box<Delta>),
    /// From the writer: the epoch is visible.
    Committed(Committed),
    /// A timer of its own: the epoch should have been committed by now.
    Overdue(Epoch),
}

derived_message!(CommitterMsg::Committed(Committed));

/// What the committer works with.
pub struct CommitterArgs {
    /// The epoch that is open first.
    pub epoch: Epoch,
    /// Nonce of this process.
    pub owner: u64,
    /// Commit the first epoch even if it is empty, and write the owner record with it.
    pub announce: bool,
    /// How many window actors give a part of each epoch.
    pub window_actors: usize,
    /// The topics that what is committed is of.
    pub topics: TopicIds,
    /// Who writes.
    pub writer: WriterHandle,
    /// Who is told that an epoch is finished.
    pub barrier: ActorRef<BarrierMsg>,
    /// Who keeps the local store.
    pub store: StoreHandle,
    /// Where failures are reported.
    pub events: Events,
    /// The budget of bytes.
    pub credits: Arc<Credits>,
    /// Where spans are made.
    pub traces: Traces,
    /// Who tells of committed epochs.
    pub ledger: Ledger,
}

/// State of the committer.
pub struct CommitterState {
    links: Links,
    commits: Commits<Output, Delta>,
    open: OpenEpoch,
    committing: Option<Committing>,
    /// Output of this generation has come.
    flows: bool,
}

/// What does not change.
struct Links {
    myself: ActorRef<CommitterMsg>,
    owner: u64,
    topics: TopicIds,
    writer: WriterHandle,
    barrier: ActorRef<BarrierMsg>,
    store: StoreHandle,
    events: Events,
    credits: Arc<Credits>,
    traces: Traces,
    ledger: Ledger,
}

/// Output of a partition.
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
    begun: Duration,
    state_records: u64,
    span: Span,
}

impl Actor for Committer {
    type Msg = CommitterMsg;
    type State = CommitterState;
    type Arguments = CommitterArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<CommitterMsg>,
        args: CommitterArgs,
    ) -> Result<CommitterState, ActorProcessingErr> {
        let committed: Vec<_> =
            args.ledger.positions.iter().map(|next| NextOffset(next.load(Ordering::Relaxed))).collect();
        let open = OpenEpoch::new(args.epoch, committed.len());
        let now = args.ledger.clock.elapsed();
        let commits = Commits::new(args.epoch, committed, args.window_actors, args.announce, now);
        let CommitterArgs { owner, topics, writer, barrier, store, events, credits, traces, ledger, .. } =
            args;
        let links = Links { myself, owner, topics, writer, barrier, store, events, credits, traces, ledger };
        Ok(CommitterState { links, commits, open, committing: None, flows: false })
    }

    async fn handle(
        &self,
        _myself: ActorRef<CommitterMsg>,
        message: CommitterMsg,
        state: &mut CommitterState,
    ) -> Result<(), ActorProcessingErr> {
        fail_point!("committer");
        match message {
            CommitterMsg::Output { epoch, partition, output, tally, bytes, trace } => {
                if !std::mem::replace(&mut state.flows, true) {
                    // With "pipeline failed" it tells how long nothing was processed.
                    tracing::info!(generation = %state.links.ledger.generation, "output flows");
                }
                let output = Output { partition, output, tally, bytes, trace };
                if let Some(output) = state.commits.admit(epoch, partition, output)? {
                    state.take_output(output);
                }
            }
            CommitterMsg::Sealed(seal) => {
                if state.commits.seal(seal)? {
                    state.open.all_sealed_at = Some(state.links.ledger.clock.elapsed());
                }
                state.commit_if_complete()?;
            }
            CommitterMsg::Delta(delta) => {
                state.commits.part(delta.epoch, *delta)?;
                state.commit_if_complete()?;
            }
            CommitterMsg::Committed(committed) => state.committed(&committed),
            CommitterMsg::Overdue(epoch) => {
                if state.commits.is_under_way(epoch) {
                    let generation = state.links.ledger.generation;
                    state.links.events.cast(PipelineEvent::WriterHung { generation })?;
                }
            }
        }
        Ok(())
    }
}

impl CommitterState {
    fn take_output(&mut self, Output { partition, output, tally, bytes, trace }: Output) {
        if tally.dead_letters() > 0 && self.open.samples.len() < SAMPLES_PER_EPOCH {
            self.open.samples.extend(DeadLetterSample::first(&output));
        }
        if trace.is_kept() && self.open.batches.len() < MAX_LINKS {
            self.open.batches.push(trace.clone());
        }
        self.open.tallies[partition.0 as usize].add(&tally);
        self.open.outputs += 1;
        self.open.bytes += bytes;
        self.links.append(Arc::new(output), trace);
    }

    fn commit_if_complete(&mut self) -> Result<(), Fault> {
        let now = self.links.ledger.clock.elapsed();
        let complete = self.commits.complete(now, |deltas| self.open.has_records(deltas))?;
        let Some(Complete { epoch, seals, parts, verdict, early }) = complete else { return Ok(()) };
        let next = OpenEpoch::new(epoch.next(), seals.len());
        let epoch = OpenEpoch { seals, deltas: parts, ..std::mem::replace(&mut self.open, next) };
        match verdict {
            Verdict::Commit { announces } => self.committing = Some(self.links.commit(epoch, announces, now)),
            Verdict::Skip => self.links.skip(&epoch),
        }
        for output in early {
            self.take_output(output);
        }
        Ok(())
    }

    fn committed(&mut self, Committed { epoch, phases }: &Committed) {
        let ledger = &self.links.ledger;
        if !self.commits.committed(*epoch, ledger.clock.elapsed()) {
            return;
        }
        let Some(Committing { epoch: mut committed, begun, state_records, span }) = self.committing.take()
        else {
            return;
        };
        self.links.credits.give_back(committed.bytes);
        // Before the barrier's word, upon which the supervisor looks at it.
        ledger.report_progress(&committed);
        let _ = self.links.barrier.cast(BarrierMsg::Finished { epoch: *epoch, committed: true });
        let phases = ledger.committed(&mut committed, begun, phases, state_records);
        span.end_with_phases(&phases);
    }
}

impl Links {
    fn append(&self, batch: Arc<OutputBatch>, trace: Parent) {
        if !batch.records.is_empty() {
            self.ledger.metrics.stage(Stage::Committer).queue().add(batch.records.len() as u64);
            let generation = self.ledger.generation;
            self.writer.send(WriterCommand::Append { generation, batch, trace });
        }
    }

    /// Nothing came in and nothing goes out: the epoch needs no commit.
    fn skip(&self, epoch: &OpenEpoch) {
        self.ledger.skipped(epoch);
        let _ = self.barrier.cast(BarrierMsg::Finished { epoch: epoch.epoch, committed: false });
    }

    fn commit(&self, mut epoch: OpenEpoch, announces: bool, now: Duration) -> Committing {
        let (number, Generation(generation)) = (epoch.epoch, self.ledger.generation);
        let cut_ago = epoch.cut_at().map_or(Duration::ZERO, |cut_at| now.saturating_sub(cut_at));
        let span = self.traces.epoch(number.0, generation, cut_ago, &epoch.batches);
        let trace = span.parent();
        let (watermark, clock) = (epoch.watermark(), &self.ledger.clock);
        let mut changes = Vec::with_capacity(epoch.deltas.len() + 2);
        for delta in &mut epoch.deltas {
            self.append(Arc::clone(&delta.alerts), trace.clone());
            changes.push(Arc::new(std::mem::take(&mut delta.changes)));
        }
        let commit =
            Commit { epoch: number, owner: self.owner, topics: self.topics, seals: &epoch.seals, watermark };
        if announces {
            changes.insert(0, Arc::new(commit.owner_record(clock.record_time(), clock.wall())));
        }
        changes.push(Arc::new(commit.progress_record(clock.record_time())));
        for batch in &changes {
            self.append(Arc::clone(batch), trace.clone());
        }
        let state_records = changes.iter().map(|changes| changes.records.len() as u64).sum();
        let begun = clock.elapsed();
        self.writer.send(WriterCommand::Commit {
            generation: self.ledger.generation,
            progress: commit.offsets(),
            apply: Apply { epoch: number, changes, begun, trace },
            store: self.store.clone(),
            committer: self.myself.get_derived(),
        });
        self.myself.send_after(WATCHDOG, move || CommitterMsg::Overdue(number));
        Committing { epoch, begun, state_records, span }
    }
}
