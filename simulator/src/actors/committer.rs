//! The owner of the epoch's commit.

use std::time::Duration;

use tidegate_core::{
    Epoch,
    epoch::{
        EpochMark, TopicIds,
        barrier::Seal,
        commit::{Complete, Verdict},
    },
    partitioner::key_group,
    supervision::Failure,
    window::StateChange,
};

use super::{
    live::{Around, Live},
    writer::Command,
};
use crate::{
    disk::RowChanges,
    env::note,
    log::{Row, RowKey, Written},
    mail::{Delta, Event, Output, ToBarrier, ToCommitter},
    violation::{Checked, Violation},
};

/// A commit that is not back by then never will be.
const WATCHDOG: Duration = Duration::from_secs(15);

impl Live {
    pub(crate) fn step_committer(&mut self, around: &mut Around<'_>) -> Checked {
        let fault = |fault: &dyn std::fmt::Display| Violation(format!("committer: {fault}"));
        let Some(message) = self.committer.mail.next() else { return Ok(()) };
        let committer = &mut self.committer;
        match message {
            ToCommitter::Output { epoch, output } => {
                let admitted = committer.commits.admit(epoch, output.partition, output);
                match admitted.map_err(|error| fault(&error))? {
                    Some(output) => self.take_output(&output, around),
                    None => note!(around.env, "{} committer keeps output of epoch {epoch}", self.key),
                }
            }
            ToCommitter::Seal(seal) => {
                committer.commits.seal(seal).map_err(|error| fault(&error))?;
                self.commit_if_complete(around)?;
            }
            ToCommitter::Delta(delta) => {
                committer.commits.part(delta.epoch, *delta).map_err(|error| fault(&error))?;
                self.commit_if_complete(around)?;
            }
            ToCommitter::Committed(epoch) => {
                if committer.commits.committed(epoch, around.env.now) {
                    self.credits.give_back(committer.committing);
                    committer.watchdog = None;
                    self.barrier.mail.send(ToBarrier::Finished { epoch, committed: true });
                }
            }
        }
        Ok(())
    }

    pub(crate) fn watch_commit(&mut self, around: &mut Around<'_>) {
        let Some((_, epoch)) = self.committer.watchdog.take() else { return };
        if self.committer.commits.is_under_way(epoch) {
            note!(around.env, "{} committer misses the answer of epoch {epoch}", self.key);
            let generation = self.key.generation;
            around.events.push_back(Event::Failed { generation, failure: Failure::WriterHung });
        }
    }

    fn take_output(&mut self, output: &Output, around: &mut Around<'_>) {
        self.committer.outputs += 1;
        self.committer.bytes += output.bytes;
        let partition = output.partition;
        let written = output.records.iter().map(|&(offset, is_dead)| {
            if is_dead {
                Written::DeadLetter(partition, offset)
            } else {
                Written::Processed(partition, offset)
            }
        });
        self.append(written.collect(), around);
    }

    fn append(&self, records: Vec<Written>, around: &mut Around<'_>) {
        if !records.is_empty() {
            let generation = self.key.generation;
            around.writers[self.writer].send(Command::Append { generation, records });
        }
    }

    fn commit_if_complete(&mut self, around: &mut Around<'_>) -> Checked {
        let has_output = self.committer.outputs > 0;
        let has_records = |parts: &[Delta]| {
            has_output || parts.iter().any(|part| !part.alerts.is_empty() || !part.changes.is_empty())
        };
        let complete = self.committer.commits.complete(around.env.now, has_records);
        let complete = complete.map_err(|fault| Violation(format!("committer: {fault}")))?;
        let Some(Complete { epoch, seals, parts, verdict, early }) = complete else { return Ok(()) };
        self.committer.outputs = 0;
        let bytes = std::mem::take(&mut self.committer.bytes);
        match verdict {
            Verdict::Commit { announces } => {
                self.committer.committing = bytes;
                self.commit(epoch, &seals, parts, announces, around);
            }
            Verdict::Skip => {
                note!(around.env, "{} committer skips epoch {epoch}", self.key);
                around.env.check.skipped(self.key, epoch, &seals, &around.env.log)?;
                self.barrier.mail.send(ToBarrier::Finished { epoch, committed: false });
            }
        }
        for output in early {
            self.take_output(&output, around);
        }
        Ok(())
    }

    fn commit(
        &mut self,
        epoch: Epoch,
        seals: &[Seal],
        parts: Vec<Delta>,
        announces: bool,
        around: &mut Around<'_>,
    ) {
        note!(around.env, "{} committer commits epoch {epoch}", self.key);
        let watermark = parts.first().and_then(|part| part.watermark);
        let mut changes: RowChanges = Vec::new();
        if announces {
            changes.push((RowKey::Owner, Some(Row::Owner { epoch, nonce: self.key.owner })));
        }
        for part in parts {
            let alerts = part.alerts.into_iter().map(|alert| Written::Alert(Box::new(alert))).collect();
            self.append(alerts, around);
            changes.extend(part.changes.into_iter().map(|change| match change {
                StateChange::Put(key, state) => (RowKey::Window(key), Some(Row::Window { epoch, state })),
                StateChange::Delete(key) => (RowKey::Window(key), None),
            }));
        }
        changes.push((RowKey::Progress, Some(Row::Progress { epoch })));
        let groups = around.env.shape.key_groups;
        let written = changes.iter().cloned().map(|(key, row)| {
            let group =
                if let RowKey::Window(key) = &key { key_group(&key.service, groups) as usize } else { 0 };
            Written::State { group, key, row }
        });
        self.append(written.collect(), around);
        let partitions = seals.len() as u32;
        let mark = |seal: &Seal| EpochMark {
            epoch,
            owner: self.key.owner,
            partitions,
            highest: seal.highest,
            watermark,
            topics: TopicIds::default(),
        };
        let offsets = seals.iter().map(|seal| (seal.partition, seal.next, mark(seal).encode())).collect();
        // As few as a store takes at once, or as many as are applied without waiting.
        let bytes = if around.env.random.one_in(3) { 8 << 20 } else { 100 };
        let (key, begun) = (self.key, around.env.now);
        around.writers[self.writer].send(Command::Commit { key, offsets, epoch, begun, changes, bytes });
        self.committer.watchdog = Some((begun + WATCHDOG, epoch));
    }
}
