//! What is checked: all that a consumer who reads only what is committed can see, against a naive model that replays
//! the committed ranges of the input epoch by epoch; and the local store against the same.

mod model;
mod time;
mod visible;

use std::collections::BTreeSet;

use tidegate_core::{Epoch, NextOffset, TimestampMs, epoch::barrier::Seal};

use crate::{
    check::{model::Model, time::Time},
    disk::Rows,
    input::Record,
    key::Key,
    log::{Log, Slot},
    plan::Plan,
    shape::{BATCH_RECORDS, RECORD_BYTES, Shape},
    violation::{Checked, violated},
};

/// What is true as of a committed epoch.
#[derive(Debug)]
struct Snapshot {
    epoch: Epoch,
    offsets: Vec<NextOffset>,
    highest: Vec<Option<TimestampMs>>,
    watermark: Option<TimestampMs>,
    rows: Rows,
}

#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) time: Time,
    model: Model,
    snapshots: Vec<Snapshot>,
    /// Where each process began, as long as nothing is committed.
    begun: Vec<(u64, Vec<NextOffset>)>,
    /// The writer of the last commit.
    last_producer: u64,
    /// Records over which a worker died by chance: they may be taken for poison.
    pub(crate) suspects: BTreeSet<(u32, i64)>,
    /// Alerts that are visible.
    pub(crate) alerts: usize,
}

impl Check {
    pub(crate) fn new(shape: &Shape) -> Self {
        Self {
            time: Time::new(shape),
            model: Model::new(shape),
            snapshots: Vec::new(),
            begun: Vec::new(),
            last_producer: 0,
            suspects: BTreeSet::new(),
            alerts: 0,
        }
    }

    pub(crate) fn commits(&self) -> usize {
        self.snapshots.len()
    }

    /// Whether all windows are closed.
    pub(crate) fn has_open_windows(&self) -> bool {
        !self.model.is_empty()
    }

    fn last(&self) -> Option<&Snapshot> {
        self.snapshots.last()
    }

    fn snapshot(&self, epoch: Epoch) -> Checked<&Snapshot> {
        match self.snapshots.iter().rev().find(|snapshot| snapshot.epoch == epoch) {
            Some(snapshot) => Ok(snapshot),
            None => violated!("epoch {epoch} is not committed, but the state says so"),
        }
    }

    /// The local store says that it is at this epoch.
    pub(crate) fn stored(&self, epoch: Epoch, rows: &Rows) -> Checked {
        same_rows(&format!("the local store at epoch {epoch}"), rows, &self.snapshot(epoch)?.rows)
    }

    /// Recovery takes these rows for those of the committed epoch.
    pub(crate) fn restored(&self, epoch: Option<Epoch>, rows: &Rows) -> Checked {
        match epoch {
            Some(epoch) => same_rows(
                &format!("the state restored as of epoch {epoch}"),
                rows,
                &self.snapshot(epoch)?.rows,
            ),
            None => same_rows("the state restored without a commit", rows, &Rows::new()),
        }
    }

    /// A generation begins; `is_fenced`: another process has taken over since it asked.
    pub(crate) fn began(&mut self, key: Key, plan: &Plan, is_fenced: bool, now_ms: i64) -> Checked {
        if !is_fenced && plan.epoch != self.last().map(|last| last.epoch) {
            violated!("{key} takes epoch {:?} for the last, and it is not", plan.epoch);
        }
        if plan.epoch.is_some_and(|epoch| plan.first <= epoch) {
            violated!("{key} begins with epoch {}, which is committed", plan.first);
        }
        match plan.epoch {
            Some(epoch) => {
                let of = self.snapshot(epoch)?;
                let new = plan.positions.len() - of.offsets.len();
                let zeros = std::iter::repeat_n(NextOffset(0), new);
                let offsets: Vec<_> = of.offsets.iter().copied().chain(zeros).collect();
                let nothing = std::iter::repeat_n(None, new);
                let highest: Vec<_> = of.highest.iter().copied().chain(nothing).collect();
                if plan.positions != offsets {
                    violated!("{key} begins at {:?}, committed is {offsets:?}", plan.positions);
                }
                if plan.highest != highest || plan.watermark != of.watermark {
                    violated!("{key} begins at another event time than was committed");
                }
            }
            None => self.began_fresh(key, plan)?,
        }
        self.time.began(key, plan, now_ms);
        Ok(())
    }

    /// Nothing is committed: a process goes on where it began, and begins where it was told.
    fn began_fresh(&mut self, key: Key, plan: &Plan) -> Checked {
        let begun = self.begun.iter_mut().find(|(owner, _)| *owner == key.owner);
        let Some((_, begun)) = begun else {
            self.begun.push((key.owner, plan.positions.clone()));
            return Ok(());
        };
        // New partitions are read from their beginning.
        begun.resize(plan.positions.len(), NextOffset(0));
        if *begun != plan.positions {
            violated!(
                "{key} begins at {:?}, but the process began at {begun:?} and has committed nothing",
                plan.positions
            );
        }
        Ok(())
    }

    /// Where the committed input ends, for a generation that knows of `partitions`.
    fn base(&self, owner: u64, partitions: usize) -> Vec<NextOffset> {
        let begun = || self.begun.iter().find(|(of, _)| *of == owner).map(|(_, begun)| begun);
        let mut base = match self.last() {
            Some(last) => last.offsets.clone(),
            None => begun().cloned().unwrap_or_default(),
        };
        base.resize(partitions.max(base.len()), NextOffset(0));
        base
    }

    /// An epoch needs no commit: it read nothing, and moved no position and no window.
    pub(crate) fn skipped(&self, key: Key, epoch: Epoch, seals: &[Seal], log: &Log) -> Checked {
        let of = self.time.of(key, epoch)?;
        let ends: Vec<_> = seals.iter().map(|seal| seal.next).collect();
        if ends != of.base {
            violated!("{key} skips epoch {epoch}, which moved {:?} to {ends:?}", of.base);
        }
        let is_last =
            self.last_producer == log.producer && of.committed == self.last().map(|last| last.epoch);
        if is_last && self.model.would_close(of.after) {
            violated!("{key} skips epoch {epoch}, which closes a window");
        }
        Ok(())
    }

    /// A process ends after a drain: all that was read is committed.
    pub(crate) fn drained(&self, key: Key, taken: impl Iterator<Item = i64>, log: &Log) -> Checked {
        for ((base, taken), input) in self.time.base(key)?.iter().zip(taken).zip(&log.inputs) {
            if records(input, *base, NextOffset(taken)).next().is_some() {
                violated!("{key} has drained, and has read up to {taken} but committed only up to {base}");
            }
        }
        Ok(())
    }

    /// What is read and not committed fits the budget; a batch of each partition may overshoot it.
    pub(crate) fn in_flight(
        &self,
        key: Key,
        taken: impl Iterator<Item = i64>,
        log: &Log,
        limit: usize,
    ) -> Checked {
        let base = self.time.base(key)?;
        let mut bytes = 0;
        for ((base, taken), input) in base.iter().zip(taken).zip(&log.inputs) {
            bytes += records(input, *base, NextOffset(taken)).map(|record| record.bytes).sum::<usize>();
        }
        let most = limit + base.len() * BATCH_RECORDS * RECORD_BYTES as usize;
        if bytes > most {
            violated!("{key} has {bytes} bytes in flight, of {limit}");
        }
        Ok(())
    }
}

/// The records of a range of an input partition.
fn records(input: &[Slot], from: NextOffset, to: NextOffset) -> impl Iterator<Item = &Record> {
    let range = from.0.min(to.0) as usize..to.0 as usize;
    input[range].iter().filter_map(|slot| match slot {
        Slot::Record(record) => Some(record),
        Slot::Marker => None,
    })
}

fn same_rows(what: &str, found: &Rows, expected: &Rows) -> Checked {
    if found == expected {
        return Ok(());
    }
    let wrong = found.iter().find(|(key, row)| expected.get(key) != Some(row));
    let missing = expected.iter().find(|(key, _)| !found.contains_key(key));
    violated!("{what} is wrong: it has {wrong:?}, and misses {missing:?}");
}
