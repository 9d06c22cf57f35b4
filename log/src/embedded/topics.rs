//! Topics of the embedded log: compared with what they should be, and made so.

use std::collections::BTreeMap;

use super::{
    rows::{PartitionRow, Slot, TopicRow},
    store::{Commit, Store},
    view::View,
};
use crate::{
    Applied, Drift, LogError, TopicSpec,
    topics::{Found, cleanup_policy},
};

/// Compares the topics with what they should be.
pub(super) fn plan(store: &Store, specs: &[TopicSpec]) -> Result<Vec<(TopicSpec, Vec<Drift>)>, LogError> {
    store.db()?;
    let view = store.view();
    Ok(specs.iter().map(|spec| (spec.clone(), drifts(&view, spec))).collect())
}

/// There is one copy of everything, whatever `replication_factor` says, so that is no drift.
fn drifts(view: &View, spec: &TopicSpec) -> Vec<Drift> {
    let Some(row) = view.topics.get(&spec.name) else { return vec![Drift::Missing] };
    spec.drifts(Found {
        partitions: row.partitions,
        replication_factor: None,
        retention_ms: Some(row.retention_ms.unwrap_or(-1)),
        cleanup_policy: Some(cleanup_policy(row.compacted).to_owned()),
        timestamp_type: None,
    })
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
        if !drifts.iter().any(|drift| drift.is_due(spec, alter) && can_change(drift)) {
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
    let applied = specs
        .iter()
        .zip(&before)
        .map(|(spec, before)| Applied::new(spec.clone(), before, drifts(&view, spec)));
    Ok(applied.collect())
}

/// A compacted topic stays one, and the other way round: their records are kept in different ways.
fn can_change(drift: &Drift) -> bool {
    !matches!(drift, Drift::CleanupPolicy { .. })
}
