//! The owner of one input partition: its order, its position, its watermark.
//!
//! It gives batches out to the pools and takes them back in any order; what it passes on is in order again
//! and belongs to the epoch that is open at that moment. A cut waits for nothing: what is still in the pools
//! will belong to the next epoch.

use std::sync::Arc;

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef, DerivedActorRef};
use tidegate_core::{
    Epoch, NextOffset, PartitionId,
    event::Reason,
    watermark::{PartitionClock, PartitionMark},
};
use tidegate_log::RecordBatch;
use tidegate_telemetry::{Metrics, Stage, Traces};

use crate::{
    clock::Clock,
    events::{Events, PipelineEvent},
    job::{Job, PieceId, Processed, Returned, Ticket},
    messages::{CommitterMsg, Cut, FilterMsg, PartitionMsg, Sealed, WindowMsg},
    output::{OutputBuilder, Outputs},
    pool::Pool,
    settings::PipelineSettings,
    slots::{Finished, Retry, Slots},
    tally::Tally,
    traced::batch_span,
};

pub(crate) struct Partition;

pub(crate) struct PartitionArgs {
    pub(crate) partition: PartitionId,
    pub(crate) next: NextOffset,
    pub(crate) clock_state: PartitionClock,
    /// The epoch that is open first.
    pub(crate) epoch: Epoch,
    pub(crate) settings: Arc<PipelineSettings>,
    pub(crate) outputs: Outputs,
    pub(crate) filter: Arc<Pool<FilterMsg>>,
    pub(crate) windows: Vec<ActorRef<WindowMsg>>,
    pub(crate) committer: ActorRef<CommitterMsg>,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Traces,
    pub(crate) clock: Clock,
}

pub(crate) struct PartitionState {
    args: PartitionArgs,
    /// Where pieces come back to.
    home: DerivedActorRef<Returned>,
    slots: Slots,
    /// Pieces that found no living worker.
    parked: Vec<PieceId>,
    /// Where the partition ends, if all that the reader sent before is the last there was.
    end: Option<NextOffset>,
    /// When something last spoke against idleness: a record, or a log that did not answer.
    active_ms: i64,
    last_cut_ms: i64,
    /// The last cut of a drain, until the slots are empty.
    draining: Option<Cut>,
}

impl Actor for Partition {
    type Msg = PartitionMsg;
    type State = PartitionState;
    type Arguments = PartitionArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<PartitionMsg>,
        args: PartitionArgs,
    ) -> Result<PartitionState, ActorProcessingErr> {
        let now_ms = args.clock.elapsed_ms();
        Ok(PartitionState {
            active_ms: now_ms,
            last_cut_ms: now_ms,
            home: myself.get_derived(),
            args,
            slots: Slots::default(),
            parked: Vec::new(),
            end: None,
            draining: None,
        })
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
            PartitionMsg::End(next) => state.end = Some(next),
            PartitionMsg::Returned(Returned::Done(piece, processed)) => {
                state.slots.done(piece, *processed);
                state.pass_on();
            }
            PartitionMsg::Returned(Returned::Lost { piece, blamed }) => state.retry(piece, blamed)?,
            PartitionMsg::WorkerReplaced => {
                for piece in std::mem::take(&mut state.parked) {
                    state.give_out(piece);
                }
            }
            PartitionMsg::Cut(cut) if cut.drain && !state.slots.is_empty() => state.draining = Some(cut),
            PartitionMsg::Cut(cut) => state.seal(cut),
        }
        Ok(())
    }
}

impl PartitionState {
    fn take_in(&mut self, batch: RecordBatch) {
        self.end = None;
        self.active_ms = self.args.clock.elapsed_ms();
        let span = batch_span(&self.args.traces, &batch);
        let piece = self.slots.push(Arc::new(batch), span);
        self.give_out(piece);
    }

    fn give_out(&mut self, piece: PieceId) {
        let Some((batch, trace)) = self.slots.batch(piece) else { return };
        let mut ticket = Ticket::new(self.home.clone(), piece, self.args.metrics.clone());
        ticket.queue_for(Stage::Filter);
        let job = Job { ticket, batch: Arc::clone(batch), trace };
        if let Err(FilterMsg(job)) = self.args.filter.send(FilterMsg(job)) {
            self.parked.push(job.ticket.take_back());
        }
    }

    fn retry(&mut self, piece: PieceId, blamed: bool) -> Result<(), ActorProcessingErr> {
        if blamed && self.slots.is_first_death(piece) {
            self.args.events.cast(PipelineEvent::BatchBlamed { partition: self.args.partition })?;
        }
        match self.slots.lost(piece, blamed) {
            Retry::Send(pieces) => pieces.into_iter().for_each(|piece| self.give_out(piece)),
            Retry::Poison(piece) => {
                if let Some(processed) = self.poison(piece) {
                    self.slots.done(piece, processed);
                }
                self.pass_on();
            }
        }
        Ok(())
    }

    /// What becomes of a record that no worker survives.
    fn poison(&self, piece: PieceId) -> Option<Processed> {
        let (batch, _) = self.slots.batch(piece)?;
        let record = &batch.records[piece.first as usize];
        let partition = self.args.partition;
        tracing::error!(%partition, offset = record.offset, "record crashed its workers, moved to the dead letters");
        let mut builder = OutputBuilder::new(&self.args.outputs, batch, Tally::default());
        builder.dead_letter(record, Reason::ProcessingFailed, "processing crashed repeatedly on this record");
        let (output, tally) = builder.finish();
        Some(Processed { output, counted: Vec::new(), tally, highest: None })
    }

    /// Passes on all batches that are complete and next in order.
    fn pass_on(&mut self) {
        while let Some(finished) = self.slots.pop() {
            self.pass_on_batch(finished);
        }
        if self.slots.is_empty()
            && let Some(cut) = self.draining.take()
        {
            self.seal(cut);
        }
    }

    fn pass_on_batch(&mut self, Finished { batch, span, pieces }: Finished) {
        let PartitionArgs { epoch, partition, .. } = self.args;
        if let Some(last) = batch.records.last() {
            self.args.next = NextOffset(last.offset + 1);
        }
        let trace = span.parent();
        let mut bytes = batch.size_bytes();
        for piece in pieces {
            if let Some(highest) = piece.highest {
                self.args.clock_state.observe(highest);
            }
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

    /// Whether cuts come so much later than they should that the process was paused, or that a commit held
    /// the reader back: silence says nothing then, records may be waiting.
    fn was_held_up(&self, cut: Cut) -> bool {
        let settings = &self.args.settings;
        let usual_ms = 2 * settings.checkpoint_interval.as_millis() as i64;
        cut.elapsed_ms - self.last_cut_ms > usual_ms.max(settings.idle_after_ms / 2)
    }

    fn seal(&mut self, cut: Cut) {
        if !cut.log_is_up || self.was_held_up(cut) {
            self.active_ms = cut.elapsed_ms;
        }
        self.last_cut_ms = cut.elapsed_ms;
        let at_end = self.slots.is_empty() && self.end.is_some();
        if let Some(end) = self.end.filter(|_| at_end) {
            // Past the control records behind the last record.
            self.args.next = self.args.next.max(end);
        }
        let silent_ms = cut.elapsed_ms - self.active_ms;
        let settings = &self.args.settings;
        let clock = &self.args.clock_state;
        let sealed = Sealed {
            cut,
            partition: self.args.partition,
            next: self.args.next,
            mark: PartitionMark {
                watermark: clock.watermark(settings.max_disorder_ms),
                idle: at_end && silent_ms >= settings.idle_after_ms,
            },
            highest: clock.highest(),
        };
        for window in &self.args.windows {
            let _ = window.cast(WindowMsg::Sealed(sealed));
        }
        let _ = self.args.committer.cast(CommitterMsg::Sealed(sealed));
        self.args.epoch = cut.epoch.next();
    }
}
