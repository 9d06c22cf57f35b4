//! Event time as it should be, worked out from what the partitions were given.

use tidegate_core::{
    Epoch, NextOffset, TimestampMs,
    epoch::barrier::{Cut, Seal},
    time::watermark::PartitionMark,
};

use crate::{
    key::Key,
    plan::Plan,
    shape::Shape,
    violation::{Checked, violated},
};

/// An input partition as its owner has seen it.
#[derive(Debug, Default, Clone)]
struct Partition {
    /// One past the last record.
    given: NextOffset,
    end: Option<NextOffset>,
    /// When something last spoke against silence.
    spoke_ms: i64,
    last_cut_ms: i64,
}

/// An epoch that all partitions have sealed.
#[derive(Debug, Clone, Default)]
pub(super) struct Sealed {
    pub(super) epoch: Epoch,
    /// The watermark that decides what is late, and the one that closes.
    pub(super) before: Option<TimestampMs>,
    pub(super) after: Option<TimestampMs>,
    pub(super) ends: Vec<NextOffset>,
    pub(super) highest: Vec<Option<TimestampMs>>,
    /// Where the committed input ends as this generation knows, and the epoch of it.
    pub(super) base: Vec<NextOffset>,
    pub(super) committed: Option<Epoch>,
}

#[derive(Debug)]
struct OfGeneration {
    key: Key,
    partitions: Vec<Partition>,
    seals: Vec<Option<Seal>>,
    last: Sealed,
    former: Vec<PartitionMark>,
    /// The last cut of a drain was made.
    has_drained: bool,
    /// Since when all are idle, and where the watermark stood.
    silence: Option<(i64, TimestampMs)>,
}

#[derive(Debug)]
pub(crate) struct Time {
    generations: Vec<OfGeneration>,
    idle_after_ms: i64,
    interval_ms: i64,
    disorder_ms: i64,
}

impl Time {
    pub(super) fn new(shape: &Shape) -> Self {
        Self {
            generations: Vec::new(),
            idle_after_ms: shape.idle_after_ms,
            interval_ms: shape.interval.as_millis() as i64,
            disorder_ms: shape.max_disorder_ms,
        }
    }

    pub(super) fn began(&mut self, key: Key, plan: &Plan, now_ms: i64) {
        let partition =
            |next: &NextOffset| Partition { given: *next, end: None, spoke_ms: now_ms, last_cut_ms: now_ms };
        self.generations.push(OfGeneration {
            key,
            partitions: plan.positions.iter().map(partition).collect(),
            seals: vec![None; plan.positions.len()],
            last: Sealed {
                after: plan.watermark,
                base: plan.positions.clone(),
                committed: plan.epoch,
                ..Sealed::default()
            },
            former: Vec::new(),
            has_drained: false,
            silence: None,
        });
    }

    fn find(&self, key: Key) -> Checked<&OfGeneration> {
        match self.generations.iter().rev().find(|of| of.key == key) {
            Some(of) => Ok(of),
            None => violated!("{key} never began"),
        }
    }

    fn find_mut(&mut self, key: Key) -> Option<&mut OfGeneration> {
        self.generations.iter_mut().rev().find(|of| of.key == key)
    }

    pub(super) fn base(&self, key: Key) -> Checked<&[NextOffset]> {
        Ok(&self.find(key)?.last.base)
    }

    /// What is known of an epoch that this generation sealed last.
    pub(super) fn of(&self, key: Key, epoch: Epoch) -> Checked<&Sealed> {
        let last = &self.find(key)?.last;
        if last.epoch != epoch {
            violated!("{key} is done with epoch {epoch}, but has last sealed epoch {}", last.epoch);
        }
        Ok(last)
    }

    pub(super) fn committed(&mut self, key: Key, epoch: Epoch) {
        if let Some(of) = self.find_mut(key) {
            of.last.base = of.last.ends.clone();
            of.last.committed = Some(epoch);
        }
    }

    /// A partition was given records.
    pub(crate) fn batch(&mut self, key: Key, at: usize, next: NextOffset, now_ms: i64) {
        if let Some(of) = self.find_mut(key) {
            let partition = &mut of.partitions[at];
            (partition.given, partition.end, partition.spoke_ms) = (next, None, now_ms);
        }
    }

    /// A partition was told that it is read to its end.
    pub(crate) fn end(&mut self, key: Key, at: usize, next: NextOffset) {
        if let Some(of) = self.find_mut(key) {
            of.partitions[at].end = Some(next);
        }
    }

    /// A partition seals an epoch.
    pub(crate) fn seal(&mut self, key: Key, seal: &Seal) -> Checked {
        let (disorder_ms, idle_after_ms) = (self.disorder_ms, self.idle_after_ms);
        let longest_ms = (2 * self.interval_ms).max(idle_after_ms / 2);
        let Some(of) = self.find_mut(key) else { violated!("{key} never began") };
        if of.has_drained {
            violated!("{key} cuts epoch {} behind the last one of a drain", seal.cut.epoch);
        }
        let at = seal.partition.0 as usize;
        let is_idle = of.partitions[at].is_idle(&seal.cut, seal.next, longest_ms, idle_after_ms);
        if seal.mark.idle != is_idle {
            violated!(
                "{key} partition {at} should be {}idle at epoch {}",
                if is_idle { "" } else { "not " },
                seal.cut.epoch
            );
        }
        if seal.mark.watermark.map(|mark| mark.0) != seal.highest.map(|highest| highest.0 - disorder_ms) {
            violated!("{key} partition {at} has watermark {:?} at {:?}", seal.mark.watermark, seal.highest);
        }
        if of.seals[at].replace(*seal).is_some() {
            violated!("{key} partition {at} seals twice");
        }
        if of.seals.iter().all(Option::is_some) {
            let seals: Vec<Seal> = of.seals.iter_mut().filter_map(Option::take).collect();
            of.sealed(&seals);
        }
        Ok(())
    }
}

impl Partition {
    fn is_idle(&mut self, cut: &Cut, next: NextOffset, longest_ms: i64, idle_after_ms: i64) -> bool {
        let at_ms = cut.at_ms();
        if !cut.log_is_up || at_ms - self.last_cut_ms > longest_ms {
            self.spoke_ms = at_ms;
        }
        self.last_cut_ms = at_ms;
        // All that was given is passed on, and there was no more.
        let is_at_end = next >= self.given && self.end.is_some_and(|end| next >= end);
        is_at_end && at_ms - self.spoke_ms >= idle_after_ms
    }
}

impl OfGeneration {
    fn sealed(&mut self, seals: &[Seal]) {
        let marks: Vec<PartitionMark> = seals.iter().map(|seal| seal.mark).collect();
        let before = self.last.after;
        let at_ms = seals[0].cut.at_ms();
        let reached = if marks.iter().all(|mark| mark.idle) {
            self.run_on(before, &marks, at_ms)
        } else {
            self.silence = None;
            let active: Vec<_> = marks.iter().filter(|mark| !mark.idle).collect();
            if active.iter().any(|mark| mark.watermark.is_none()) {
                None
            } else {
                active.iter().filter_map(|mark| mark.watermark).min()
            }
        };
        self.last.epoch = seals[0].cut.epoch;
        self.has_drained = seals[0].cut.drain;
        self.last.before = before;
        self.last.after = before.max(reached);
        self.last.ends = seals.iter().map(|seal| seal.next).collect();
        self.last.highest = seals.iter().map(|seal| seal.highest).collect();
        self.former = marks;
    }

    /// All are idle: from where the last ones to fall idle stood, the watermark goes on with the clock.
    fn run_on(
        &mut self,
        before: Option<TimestampMs>,
        marks: &[PartitionMark],
        at_ms: i64,
    ) -> Option<TimestampMs> {
        if self.silence.is_none() || self.former != marks {
            let mut stood = None;
            for (at, mark) in marks.iter().enumerate() {
                let was_same = self.former.get(at) == Some(mark);
                if let (false, Some(watermark)) = (was_same, mark.watermark) {
                    stood = Some(stood.map_or(watermark, |stood: TimestampMs| stood.min(watermark)));
                }
            }
            let lowest = marks.iter().filter_map(|mark| mark.watermark).min();
            self.silence = before.max(stood.or(lowest)).map(|stood| (at_ms, stood));
        }
        self.silence.map(|(began_ms, stood)| TimestampMs(stood.0 + (at_ms - began_ms)))
    }
}
