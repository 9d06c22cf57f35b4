//! Topics of the embedded log: compared with what they should be, and made so.

use std::collections::BTreeMap;

use super::{
    rows::{PartitionRow, Slot, TopicRow},
    store::{Commit, Store, View},
};
use crate::{Applied, Drift, LogError, TopicSpec};

/// Compares the topics with what they should be.
pub(super) fn plan(store: &Store, specs: &[TopicSpec]) -> Result<Vec<(TopicSpec, Vec<Drift>)>, LogError> {
    store.db()?;
    let view = store.view();
    Ok(specs.iter().map(|spec| (spec.clone(), drifts(&view, spec))).collect())
}

/// There is one copy of everything, whatever `replication_factor` says, so that is no drift.
fn drifts(view: &View, spec: &TopicSpec) -> Vec<Drift> {
    let Some(row) = view.topics.get(&spec.name) else { return vec![Drift::Missing] };
    let mut drifts = Vec::new();
    if row.partitions != spec.partitions {
        drifts.push(Drift::Partitions { want: spec.partitions, have: row.partitions });
    }
    if let Some(want_ms) = spec.retention_ms
        && row.retention_ms != Some(want_ms)
    {
        drifts.push(Drift::Retention { want_ms, have_ms: row.retention_ms.unwrap_or(-1) });
    }
    if row.compacted != spec.compacted {
        let policy = |compacted| if compacted { "compact" } else { "delete" }.to_owned();
        drifts.push(Drift::CleanupPolicy { want: policy(spec.compacted), have: policy(row.compacted) });
    }
    drifts
}

/// Creates what is missing, and with `alter` changes what can be; all in one commit.
pub(super) fn apply(store: &Store, specs: &[TopicSpec], alter: bool) -> Result<Vec<Applied>, LogError> {
    let writing = store.writing();
    store.db_of(&writing)?;
    let before = {
        let view = store.view();
        specs.iter().map(|spec| drifts(&view, spec)).collect::<Vec<_>>()
    };
    let mut commit = Commit::default();
    let mut next_id = store.view().topics.values().map(|topic| topic.id + 1).max().unwrap_or_default();
    for (spec, drifts) in specs.iter().zip(&before) {
        let is_due = |drift: &&Drift| (alter || **drift == Drift::Missing) && can_change(spec, drift);
        if !drifts.iter().any(|drift| is_due(&drift)) {
            continue;
        }
        let mut row = store.view().topics.get(&spec.name).cloned().unwrap_or_else(|| {
            next_id += 1;
            TopicRow { id: next_id - 1, partitions: 0, retention_ms: None, compacted: spec.compacted }
        });
        row.retention_ms = spec.retention_ms;
        let new = row.partitions..row.partitions.max(spec.partitions);
        row.partitions = new.end;
        let slots = new.map(|partition| (Slot { topic: row.id, partition }, PartitionRow::default()));
        commit.partitions.extend(slots.collect::<BTreeMap<_, _>>());
        commit.topics.insert(spec.name.clone(), row);
    }
    if !commit.topics.is_empty() {
        store.commit(&writing, commit).map_err(|failed| failed.error)?;
    }
    let view = store.view();
    let applied = specs.iter().zip(before).map(|(spec, before)| {
        let remaining = drifts(&view, spec);
        let done = before.into_iter().filter(|drift| !remaining.contains(drift)).collect();
        Applied { spec: spec.clone(), done, remaining, error: None }
    });
    Ok(applied.collect())
}

/// A compacted topic stays one, and the other way round: their records are kept in different ways.
fn can_change(spec: &TopicSpec, drift: &Drift) -> bool {
    drift.is_reconcilable(spec) && !matches!(drift, Drift::CleanupPolicy { .. })
}
