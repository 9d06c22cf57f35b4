//! What a commit makes visible.

use std::collections::BTreeSet;

use tidegate_core::{
    Epoch, NextOffset, TimestampMs,
    alert::{Alert, AlertPhase},
    epoch::EpochMark,
    window::{Evidence, WindowState},
};

use super::{
    Check, Snapshot,
    model::{Expected, Place, Window, service},
    records,
    time::Sealed,
};
use crate::{
    disk::Rows,
    input::{Fate, Kind, Record},
    log::{Log, Row, RowKey, Transaction, Written},
    violation::{Checked, violated},
};

/// Events that a window remembers, at most.
const EVIDENCE: usize = 2;

impl Check {
    /// A transaction took effect.
    pub(crate) fn committed(&mut self, transaction: Transaction, log: &Log) -> Checked {
        let Some(key) = transaction.key else { violated!("a transaction without offsets is committed") };
        let mark = same_mark(&transaction)?;
        let epoch = mark.epoch;
        if mark.owner != key.owner {
            violated!("epoch {epoch} of process {} names process {}", key.owner, mark.owner);
        }
        if let Some(last) = self.last()
            && last.epoch >= epoch
        {
            violated!("epoch {epoch} is committed after epoch {}", last.epoch);
        }
        let sealed = self.time.of(key, epoch)?.clone();
        if mark.watermark != sealed.after {
            violated!("epoch {epoch} says watermark {:?}, it is {:?}", mark.watermark, sealed.after);
        }
        let base = self.base(key.owner, sealed.ends.len());
        self.check_offsets(&transaction, &sealed, &base)?;
        let read = self.read(&transaction, &sealed, &base, log);
        check_outputs(&transaction, &read)?;
        self.check_highest(epoch, &sealed, &read)?;
        self.check_windows(epoch, &transaction, &sealed, &read)?;
        self.check_need(epoch, &transaction, &sealed, &read)?;
        let rows = self.apply_rows(epoch, key.owner, &transaction)?;
        self.last_producer = transaction.producer;
        self.time.committed(key, epoch);
        let Sealed { ends, highest, after, .. } = sealed;
        self.snapshots.push(Snapshot { epoch, offsets: ends, highest, watermark: after, rows });
        Ok(())
    }

    /// The records of the epoch, by partition. What was taken for poison though it is none is no event either.
    fn read(
        &self,
        transaction: &Transaction,
        sealed: &Sealed,
        base: &[NextOffset],
        log: &Log,
    ) -> Vec<Vec<Record>> {
        let is_dead = |record: &Record| {
            let is_it = |written: &Written| {
                matches!(written, Written::DeadLetter(partition, offset)
                if (*partition, *offset) == (record.partition, record.offset))
            };
            self.suspects.contains(&(record.partition.0, record.offset))
                && transaction.records.iter().any(is_it)
        };
        let as_written =
            |record: &Record| if is_dead(record) { Record { kind: Kind::Bad, ..*record } } else { *record };
        let ranges = base.iter().zip(&sealed.ends).zip(&log.inputs);
        ranges.map(|((from, to), input)| records(input, *from, *to).map(as_written).collect()).collect()
    }

    fn check_offsets(&self, transaction: &Transaction, sealed: &Sealed, base: &[NextOffset]) -> Checked {
        let offsets: Vec<_> = transaction.offsets.iter().map(|(_, next, _)| *next).collect();
        if offsets != sealed.ends {
            violated!("offsets {offsets:?} are committed, the epoch ends at {:?}", sealed.ends);
        }
        if base.len() > offsets.len() || base.iter().zip(&offsets).any(|(before, now)| now < before) {
            violated!("offsets fall from {base:?} to {offsets:?}");
        }
        Ok(())
    }

    fn check_highest(&self, epoch: Epoch, sealed: &Sealed, read: &[Vec<Record>]) -> Checked {
        for (at, records) in read.iter().enumerate() {
            let before = self.last().and_then(|last| last.highest.get(at).copied()).flatten();
            let timed = records.iter().filter(|record| record.has_time()).map(|record| record.timestamp);
            let highest: Option<TimestampMs> = timed.max().max(before);
            if sealed.highest[at] != highest {
                violated!(
                    "the highest time of partition {at} in epoch {epoch} is {highest:?}, not {:?}",
                    sealed.highest[at]
                );
            }
        }
        Ok(())
    }

    fn check_windows(
        &mut self,
        epoch: Epoch,
        transaction: &Transaction,
        sealed: &Sealed,
        read: &[Vec<Record>],
    ) -> Checked {
        let mut expected = Vec::new();
        for record in read.iter().flatten() {
            self.model.count(record, sealed.before, &mut expected);
        }
        let closed = self.model.end_epoch(sealed.after, &mut expected);
        expected.sort();
        let mut found = Vec::new();
        for written in &transaction.records {
            if let Written::Alert(alert) = written {
                let alert = self.view(alert)?;
                let place = alert.place;
                let was_closed =
                    |before: &Expected| before.place == place && before.phase == AlertPhase::Closed;
                if found.iter().any(was_closed) {
                    violated!("an alert of the window {place:?} comes behind the one that closes it");
                }
                found.push(alert);
            }
        }
        found.sort();
        self.alerts += found.len();
        if found != expected {
            violated!("epoch {epoch} raises {found:?}, it should raise {expected:?}");
        }
        for written in &transaction.records {
            if let Written::Alert(alert) = written {
                let place = self.view(alert)?.place;
                let window = self.model.windows.get(&place);
                let gone = closed.iter().find(|(of, _)| *of == place).map(|(_, window)| window);
                check_evidence(place, &alert.evidence, alert.count, window.or(gone))?;
            }
        }
        Ok(())
    }

    /// An epoch that did nothing is not committed, but the first of a writer is.
    fn check_need(
        &self,
        epoch: Epoch,
        transaction: &Transaction,
        sealed: &Sealed,
        read: &[Vec<Record>],
    ) -> Checked {
        let is_first = transaction.producer != self.last_producer;
        let has_moved = self.last().is_none_or(|last| last.offsets != sealed.ends);
        let is_progress = |written: &Written| matches!(written, Written::State { key: RowKey::Progress, .. });
        let wrote = !transaction.records.iter().all(is_progress);
        if !is_first && !has_moved && !wrote && read.iter().all(Vec::is_empty) {
            violated!("epoch {epoch} did nothing, and is committed");
        }
        Ok(())
    }

    fn view(&self, alert: &Alert) -> Checked<Expected> {
        let (Some(service), start) = (service(&alert.service), alert.window_start.0) else {
            violated!("an alert about a service that there is not: {alert:?}");
        };
        if alert.window_end.0 != start + self.model.length_ms(alert.rule.0) {
            violated!("an alert about a window of the wrong length: {alert:?}");
        }
        let closed = alert.phase == AlertPhase::Closed;
        let times = closed.then_some((alert.first_event_at.0, alert.last_event_at.0));
        let place = (alert.rule.0, service, start);
        Ok(Expected { place, phase: alert.phase, count: alert.count, times })
    }

    /// The state topic's image is that of the model, and the owner is named.
    fn apply_rows(&self, epoch: Epoch, owner: u64, transaction: &Transaction) -> Checked<Rows> {
        let mut rows = self.last().map(|last| last.rows.clone()).unwrap_or_default();
        let mut changed = BTreeSet::new();
        for written in &transaction.records {
            let Written::State { key, row, .. } = written else { continue };
            if !changed.insert(key) {
                violated!("epoch {epoch} changes {key:?} twice");
            }
            match row {
                Some(row) if row.epoch() != epoch => violated!("a row of epoch {epoch} says {row:?}"),
                Some(row) => rows.insert(key.clone(), row.clone()),
                None => rows.remove(key),
            };
        }
        if transaction.producer != self.last_producer && !changed.contains(&RowKey::Owner) {
            violated!("epoch {epoch} is the first of its writer and does not name the owner");
        }
        match rows.get(&RowKey::Owner) {
            Some(Row::Owner { nonce, .. }) if *nonce == owner => {}
            named => violated!("process {owner} commits epoch {epoch}, the owner is {named:?}"),
        }
        self.check_image(epoch, &rows)?;
        Ok(rows)
    }

    fn check_image(&self, epoch: Epoch, rows: &Rows) -> Checked {
        let mut windows = 0;
        for (key, row) in rows {
            let (RowKey::Window(key), Row::Window { state, .. }) = (key, row) else { continue };
            windows += 1;
            let place = self
                .model
                .rule(&key.rule)
                .zip(service(&key.service))
                .map(|(rule, of)| (rule, of, key.start.0));
            let window = place.and_then(|place| Some((place, self.model.windows.get(&place)?)));
            let Some((place, window)) = window else {
                violated!("after epoch {epoch} the state has a window that is not open: {key:?}");
            };
            if !is_same(state, window, self.model.length_ms(place.0)) {
                violated!("after epoch {epoch} the window {place:?} is {window:?}, the state says {state:?}");
            }
            check_evidence(place, &state.evidence, state.count, Some(window))?;
        }
        if windows != self.model.windows.len() {
            violated!(
                "after epoch {epoch} {} windows are open, the state has {windows}",
                self.model.windows.len()
            );
        }
        Ok(())
    }
}

/// The mark that all offsets carry, but for the highest time of each partition.
fn same_mark(transaction: &Transaction) -> Checked<EpochMark> {
    let mut marks = Vec::with_capacity(transaction.offsets.len());
    for (_, _, metadata) in &transaction.offsets {
        match EpochMark::decode(metadata) {
            Ok(mark) => marks.push(EpochMark { highest: None, ..mark }),
            Err(error) => violated!("the metadata {metadata:?} is no mark: {error}"),
        }
    }
    match marks.first() {
        Some(first) if marks.iter().all(|mark| mark == first) && first.partitions as usize == marks.len() => {
            Ok(*first)
        }
        _ => violated!("the marks of a commit disagree: {marks:?}"),
    }
}

/// Each record of the epoch is in one place, in the order of its partition, and no other record is there.
fn check_outputs(transaction: &Transaction, read: &[Vec<Record>]) -> Checked {
    for (at, records) in read.iter().enumerate() {
        for (fate, name) in [(Fate::Processed, "processed"), (Fate::DeadLetter, "dead letters")] {
            let written = transaction.records.iter().filter_map(|written| match written {
                Written::Processed(partition, offset) if fate == Fate::Processed => {
                    Some((partition, *offset))
                }
                Written::DeadLetter(partition, offset) if fate == Fate::DeadLetter => {
                    Some((partition, *offset))
                }
                _ => None,
            });
            let found = written.filter(|(partition, _)| partition.0 as usize == at).map(|(_, offset)| offset);
            let expected = records.iter().filter(|record| record.fate() == fate).map(|record| record.offset);
            if !found.clone().eq(expected.clone()) {
                let (found, expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
                violated!("of partition {at}, {name} are {found:?}, they should be {expected:?}");
            }
        }
    }
    let beyond = |written: &&Written| {
        matches!(written, Written::Processed(partition, _) | Written::DeadLetter(partition, _)
        if partition.0 as usize >= read.len())
    };
    match transaction.records.iter().find(beyond) {
        Some(written) => violated!("{written:?} is of a partition that is not read"),
        None => Ok(()),
    }
}

fn is_same(state: &WindowState, window: &Window, length_ms: i64) -> bool {
    state.window_ms == length_ms
        && state.count == window.count
        && state.first_event_at.0 == window.first
        && state.last_event_at.0 == window.last
        && state.crossed == window.crossed
}

/// The evidence is of events that were counted in the window, each once.
fn check_evidence(place: Place, evidence: &[Evidence], count: u64, window: Option<&Window>) -> Checked {
    let seen: BTreeSet<_> = evidence.iter().map(|seen| (seen.partition.0, seen.offset)).collect();
    let is_counted = |seen: &(u32, i64)| window.is_some_and(|window| window.events.contains(seen));
    let expected = EVIDENCE.min(count as usize);
    if evidence.len() != expected || seen.len() != expected || !seen.iter().all(is_counted) {
        violated!("the evidence of the window {place:?} is {evidence:?}, of {window:?}");
    }
    Ok(())
}
