//! The owner of one input partition: gives its batches out to the pools, and passes on what comes back.
//!
//! What belongs to which epoch, and in which order, is decided by [`PartitionFlow`].

use std::sync::Arc;

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef, DerivedActorRef};
use tidegate_core::{
    NextOffset,
    epoch::{
        barrier::{Cut, Seal},
        partition::{Done, PartitionFlow, Passed, Start},
        sequence::{PieceId, Retry},
    },
    event::Reason,
    tally::Tally,
};
use tidegate_host::Clock;
use tidegate_log::RecordBatch;
use tidegate_telemetry::{Metrics, Span, Stage, Traces};

use crate::{
    commit::committer::CommitterMsg,
    derived_message,
    events::{Events, PipelineEvent},
    traced::batch_span,
    windows::window::WindowMsg,
    work::{
        filter::FilterMsg,
        jobs::Job,
        outputs::Outputs,
        pool::Pool,
        ticket::{Processed, Returned, Ticket},
    },
};

/// The actor.
pub struct Partition;

/// To a partition actor.
pub enum PartitionMsg {
    /// From the reader: the next records.
    Batch(RecordBatch),
    /// From the reader: the partition is read to its end.
    End(NextOffset),
    /// From a piece's ticket: what became of the piece.
    Returned(Returned),
    /// From the supervisor: a worker was replaced, so pieces that found nobody can be given out again.
    WorkerReplaced,
    /// From the barrier: what was passed on so far belongs to this epoch.
    Cut(Cut),
}

/// What a partition actor works with.
pub struct PartitionArgs {
    /// Where it goes on.
    pub start: Start,
    /// What outputs have to keep to.
    pub outputs: Outputs,
    /// Who works on its pieces.
    pub filter: Arc<Pool<FilterMsg>>,
    /// Where events are counted.
    pub windows: Vec<ActorRef<WindowMsg>>,
    /// Where output is committed.
    pub committer: ActorRef<CommitterMsg>,
    /// Where failures are reported.
    pub events: Events,
    /// Metrics.
    pub metrics: Metrics,
    /// Where spans are made.
    pub traces: Traces,
    /// Tells the time.
    pub clock: Clock,
}

/// State of a partition actor.
pub struct PartitionState {
    args: PartitionArgs,
    /// Where pieces come back to.
    home: DerivedActorRef<Returned>,
    flow: PartitionFlow<Batch, Processed>,
    /// Pieces that found no living worker.
    parked: Vec<PieceId>,
}

/// A batch that is being worked on, and its span.
struct Batch {
    records: Arc<RecordBatch>,
    span: Span,
}

derived_message!(PartitionMsg::Returned(Returned));
derived_message!(PartitionMsg::Cut(Cut));

impl Actor for Partition {
    type Msg = PartitionMsg;
    type State = PartitionState;
    type Arguments = PartitionArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<PartitionMsg>,
        args: PartitionArgs,
    ) -> Result<PartitionState, ActorProcessingErr> {
        let flow = PartitionFlow::new(args.start);
        Ok(PartitionState { args, home: myself.get_derived(), flow, parked: Vec::new() })
    }

    async fn handle(
        &self,
        _myself: ActorRef<PartitionMsg>,
        message: PartitionMsg,
        state: &mut PartitionState,
    ) -> Result<(), ActorProcessingErr> {
        fail_point!("partition");
        match message {
            PartitionMsg::Batch(batch) => state.take_in(batch),
            PartitionMsg::End(next) => state.flow.at_end(next),
            PartitionMsg::Returned(Returned::Done(piece, processed)) => {
                state.done(piece, *processed);
                state.pass_on();
            }
            PartitionMsg::Returned(Returned::Lost { piece, blamed }) => state.retry(piece, blamed)?,
            PartitionMsg::WorkerReplaced => {
                for piece in std::mem::take(&mut state.parked) {
                    state.give_out(piece);
                }
            }
            PartitionMsg::Cut(cut) => {
                if let Some(seal) = state.flow.cut(cut) {
                    state.seal(seal);
                }
            }
        }
        Ok(())
    }
}

impl PartitionState {
    fn take_in(&mut self, batch: RecordBatch) {
        let Some(last) = batch.records.last() else { return };
        let (records, next) = (batch.records.len() as u32, NextOffset(last.offset + 1));
        let span = batch_span(&self.args.traces, &batch);
        let batch = Batch { records: Arc::new(batch), span };
        let piece = self.flow.take(batch, records, next, self.args.clock.elapsed_ms());
        self.give_out(piece);
    }

    fn give_out(&mut self, piece: PieceId) {
        let Some(Batch { records, span }) = self.flow.batch(piece) else { return };
        let mut ticket = Ticket::new(self.home.clone(), piece, self.args.metrics.clone());
        ticket.queue_for(Stage::Filter);
        let job = Job { ticket, batch: Arc::clone(records), trace: span.parent() };
        if let Err(FilterMsg(job)) = self.args.filter.send(FilterMsg(job)) {
            self.parked.push(job.ticket.take_back());
        }
    }

    fn done(&mut self, piece: PieceId, processed: Processed) {
        self.flow.done(piece, Done { highest: processed.highest, result: processed });
    }

    fn retry(&mut self, piece: PieceId, blamed: bool) -> Result<(), ActorProcessingErr> {
        if blamed && self.flow.is_first_death(piece) {
            self.args.events.cast(PipelineEvent::BatchBlamed { partition: self.flow.partition() })?;
        }
        match self.flow.lost(piece, blamed) {
            Retry::Send(pieces) => pieces.into_iter().for_each(|piece| self.give_out(piece)),
            Retry::Poison(piece) => {
                if let Some(processed) = self.poison(piece) {
                    self.done(piece, processed);
                }
                self.pass_on();
            }
        }
        Ok(())
    }

    /// What becomes of a record that no worker survives.
    fn poison(&self, piece: PieceId) -> Option<Processed> {
        let batch = &self.flow.batch(piece)?.records;
        let record = &batch.records[piece.first as usize];
        let partition = self.flow.partition();
        tracing::error!(%partition, offset = record.offset, "record crashed its workers, moved to the dead letters");
        let mut builder = self.args.outputs.builder(batch, Tally::default());
        builder.dead_letter(record, Reason::ProcessingFailed, "processing crashed repeatedly on this record");
        let (output, tally) = builder.finish();
        Some(Processed { output, counted: Vec::new(), tally, highest: None })
    }

    /// Passes on all batches that are complete and next in order.
    fn pass_on(&mut self) {
        while let Some(passed) = self.flow.pass_on() {
            self.pass_on_batch(passed);
        }
        if let Some(seal) = self.flow.drained() {
            self.seal(seal);
        }
    }

    fn pass_on_batch(&self, Passed { epoch, batch, pieces }: Passed<Batch, Processed>) {
        let partition = self.flow.partition();
        let trace = batch.span.parent();
        let mut bytes = batch.records.size_bytes();
        for piece in pieces {
            for (window, events) in self.args.windows.iter().zip(piece.counted) {
                if !events.is_empty() {
                    self.args.metrics.stage(Stage::Window).queue().add(events.events.len() as u64);
                    let trace = trace.clone();
                    let _ = window.cast(WindowMsg::Count { epoch, partition, events, trace });
                }
            }
            let (output, tally) = (piece.output, piece.tally);
            let bytes = std::mem::take(&mut bytes);
            let trace = trace.clone();
            let output = CommitterMsg::Output { epoch, partition, output, tally, bytes, trace };
            let _ = self.args.committer.cast(output);
        }
    }

    fn seal(&self, seal: Seal) {
        for window in &self.args.windows {
            let _ = window.cast(WindowMsg::Sealed(seal));
        }
        let _ = self.args.committer.cast(CommitterMsg::Sealed(seal));
    }
}
