//! The owner of one input partition's order.

use tidegate_core::{
    NextOffset,
    epoch::{
        barrier::Seal,
        partition::{Done, Passed},
        sequence::{PieceId, Retry},
    },
};

use super::live::{Around, Live};
use crate::{
    env::note,
    mail::{Event, Job, Output, Piece, ToCommitter, ToPartition, ToWindow},
    violation::Checked,
};

impl Live {
    pub(crate) fn step_partition(&mut self, at: usize, around: &mut Around<'_>) -> Checked {
        let now_ms = around.env.now_ms();
        let key = self.key;
        let Some(message) = self.partitions[at].mail.next() else { return Ok(()) };
        let flow = &mut self.partitions[at].flow;
        match message {
            ToPartition::Batch(batch) => {
                let next = NextOffset(batch.last().map_or(0, |last| last.offset + 1));
                around.env.check.time.batch(key, at, next, now_ms);
                let piece = flow.take(batch.clone(), batch.len() as u32, next, now_ms);
                note!(around.env, "{key} partition {at} gives out {} records up to {next}", batch.len());
                self.give_out(at, piece, around);
            }
            ToPartition::End(next) => {
                around.env.check.time.end(key, at, next);
                note!(around.env, "{key} partition {at} is read to its end at {next}");
                flow.at_end(next);
            }
            ToPartition::Done(piece, done) => {
                flow.done(piece, done);
                self.pass_on(at, around);
            }
            ToPartition::Lost { piece, is_blamed } => self.retry(at, piece, is_blamed, around),
            ToPartition::WorkerReplaced => {
                for piece in std::mem::take(&mut self.partitions[at].parked) {
                    self.give_out(at, piece, around);
                }
            }
            ToPartition::Cut(cut) => {
                if let Some(seal) = flow.cut(cut) {
                    self.send_seal(at, seal, around)?;
                }
            }
        }
        // Only what is done can be the last of a drain.
        match self.partitions[at].flow.drained() {
            Some(seal) => self.send_seal(at, seal, around),
            None => Ok(()),
        }
    }

    fn give_out(&mut self, at: usize, piece: PieceId, around: &mut Around<'_>) {
        let Some(batch) = self.partitions[at].flow.batch(piece) else { return };
        let job = Job { partition: at, piece, batch: batch.clone() };
        if !super::work::send(&mut self.filter, job, &mut around.env.random) {
            self.partitions[at].parked.push(piece);
        }
    }

    fn retry(&mut self, at: usize, piece: PieceId, is_blamed: bool, around: &mut Around<'_>) {
        let flow = &mut self.partitions[at].flow;
        if is_blamed && flow.is_first_death(piece) {
            around.events.push_back(Event::BatchBlamed);
        }
        match flow.lost(piece, is_blamed) {
            Retry::Send(pieces) => {
                for piece in pieces {
                    self.give_out(at, piece, around);
                }
            }
            Retry::Poison(piece) => {
                if let Some(batch) = flow.batch(piece) {
                    let record = batch[piece.first as usize];
                    note!(
                        around.env,
                        "{} partition {at} takes record {} for poison",
                        self.key,
                        record.offset
                    );
                    let result = Piece { output: vec![(record.offset, true)], counted: Vec::new() };
                    flow.done(piece, Done { highest: None, result });
                }
                self.pass_on(at, around);
            }
        }
    }

    fn pass_on(&mut self, at: usize, around: &mut Around<'_>) {
        while let Some(Passed { epoch, batch, pieces }) = self.partitions[at].flow.pass_on() {
            let partition = self.partitions[at].flow.partition();
            let bytes = batch.iter().map(|record| record.bytes).sum();
            let mut records = Vec::with_capacity(batch.len());
            for piece in pieces {
                records.extend(piece.output);
                for (window, events) in self.windows.iter_mut().zip(piece.counted) {
                    if !events.is_empty() {
                        window.mail.send(ToWindow::Count { epoch, partition, events });
                    }
                }
            }
            note!(around.env, "{} partition {at} passes a batch of epoch {epoch} on: {records:?}", self.key);
            let output = Output { partition, records, bytes };
            self.committer.mail.send(ToCommitter::Output { epoch, output });
        }
    }

    fn send_seal(&mut self, at: usize, seal: Seal, around: &mut Around<'_>) -> Checked {
        note!(
            around.env,
            "{} partition {at} seals epoch {} at {}{}",
            self.key,
            seal.cut.epoch,
            seal.next,
            if seal.mark.idle { ", idle" } else { "" }
        );
        around.env.check.time.seal(self.key, &seal)?;
        for window in &mut self.windows {
            window.mail.send(ToWindow::Seal(seal));
        }
        self.committer.mail.send(ToCommitter::Seal(seal));
        Ok(())
    }
}
