//! Positions that the server keeps, in one transaction with what is delivered.
//!
//! A row a partition: where to go on, and who may move it. Whoever takes a partition over writes its own number into
//! `owner`. A delivery locks the rows of its partitions first, and goes on only if they are its own and stand where it
//! believes, or further, because a COMMIT whose answer was lost has succeeded. So of all who believe to own a partition one
//! can write, and what is written already is passed over.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use tidegate_core::{NextOffset, PartitionId};
use tokio_postgres::types::{ToSql, Type};

use super::{session::Session, trouble::Trouble};
use crate::Assigned;

type Parameter<'p> = &'p (dyn ToSql + Sync);

/// The positions of one destination.
#[derive(Debug)]
pub(super) struct Positions {
    /// The table, for SQL.
    table: String,
    sink: String,
    topic: String,
    /// Tells this destination from any other.
    owner: i64,
    known: BTreeMap<PartitionId, NextOffset>,
}

impl Positions {
    /// Owns no partition yet.
    pub(super) fn new(table: String, sink: String, topic: String) -> Self {
        let owner = RandomState::new().build_hasher().finish().cast_signed();
        Self { table, sink, topic, owner, known: BTreeMap::new() }
    }

    /// Where a partition stands, if it is this destination's.
    pub(super) fn get(&self, partition: PartitionId) -> Option<NextOffset> {
        self.known.get(&partition).copied()
    }

    /// Whether a record is to be delivered: it is of a partition of this destination, and not there yet.
    pub(super) fn is_wanted(&self, partition: PartitionId, offset: i64) -> bool {
        self.get(partition).is_some_and(|NextOffset(next)| offset >= next)
    }

    /// Those of these positions that are further than where this destination stands.
    pub(super) fn ahead_of_known(
        &self,
        positions: &[(PartitionId, NextOffset)],
    ) -> Vec<(PartitionId, NextOffset)> {
        let is_further = |(partition, next): &&(PartitionId, NextOffset)| {
            self.get(*partition).is_some_and(|known| known < *next)
        };
        positions.iter().filter(is_further).copied().collect()
    }

    /// These positions are committed.
    pub(super) fn moved(&mut self, positions: &[(PartitionId, NextOffset)]) {
        self.known.extend(positions.iter().copied());
    }

    /// Takes partitions over, whoever has them, and returns where they stand.
    pub(super) async fn take_over(
        &mut self,
        session: &Session,
        assigned: &[Assigned],
    ) -> Result<Vec<(PartitionId, NextOffset)>, Trouble> {
        let sql = format!(
            "insert into {} as o (sink, topic, partition, next_offset, owner, updated_at) \
             select $1, $2, partition, next_offset, $3, now() from unnest($4, $5) as t (partition, next_offset) \
             order by partition \
             on conflict (sink, topic, partition) do update set owner = excluded.owner, updated_at = now() \
             returning partition, o.next_offset",
            self.table
        );
        let partitions = numbers(assigned.iter().map(|assigned| assigned.partition));
        let from: Vec<i64> = assigned.iter().map(|assigned| assigned.from.0).collect();
        let parameters = [
            (&self.sink as Parameter<'_>, Type::TEXT),
            (&self.topic, Type::TEXT),
            (&self.owner, Type::INT8),
            (&partitions, Type::INT4_ARRAY),
            (&from, Type::INT8_ARRAY),
        ];
        let rows = match session.client.query_typed(&sql, &parameters).await.map_err(Trouble::from) {
            Err(Trouble::Locked) => {
                self.end_holders(session, &partitions).await?;
                session.client.query_typed(&sql, &parameters).await?
            }
            answer => answer?,
        };
        let mut positions = Vec::new();
        for row in rows {
            positions
                .push((PartitionId(row.try_get::<_, i32>(0)?.cast_unsigned()), NextOffset(row.try_get(1)?)));
        }
        self.moved(&positions);
        Ok(positions)
    }

    /// Ends the sessions that hold these rows: the group has given the partitions to this sink, so whoever holds them for
    /// longer than a lock is waited for is a process that stands still in the middle of a delivery. Nothing else would
    /// ever end it: its machine answers for it.
    async fn end_holders(&self, session: &Session, partitions: &[i32]) -> Result<(), Trouble> {
        let sql = format!(
            "select pg_terminate_backend(l.pid) from {} as o \
             join pg_locks l on l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted \
                            and l.transactionid = o.xmax \
             where o.sink = $1 and o.topic = $2 and o.partition = any($3)",
            self.table
        );
        let parameters: [Parameter<'_>; 3] = [&self.sink, &self.topic, &partitions];
        let ended = session.client.query(&sql, &parameters).await.map_err(|error| {
            let why = Trouble::from(error).into_failure().cause;
            Trouble::Failed(format!(
                "another session holds positions of this sink and cannot be ended, end it by pg_terminate_backend: {why}"
            ))
        })?;
        tracing::warn!(
            sink = self.sink,
            sessions = ended.len(),
            "sessions that held positions of this sink and stood still were ended"
        );
        Ok(())
    }

    /// Begins a transaction and locks the positions of these partitions, in the order of their numbers. Returns those that
    /// are not this destination's any more; where the others stand is known now.
    pub(super) async fn lock(
        &mut self,
        session: &Session,
        partitions: &[PartitionId],
    ) -> Result<Vec<PartitionId>, Trouble> {
        let sql = format!(
            "select partition, next_offset, owner from {} where sink = $1 and topic = $2 and partition = any($3) \
             order by partition for update",
            self.table
        );
        let numbers = numbers(partitions.iter().copied());
        let types = [
            (&self.sink as Parameter<'_>, Type::TEXT),
            (&self.topic, Type::TEXT),
            (&numbers, Type::INT4_ARRAY),
        ];
        let begin = session.client.batch_execute("begin");
        let (begun, rows) = futures_util::future::join(begin, session.client.query_typed(&sql, &types)).await;
        begun?;
        let mut standing = BTreeMap::new();
        for row in rows? {
            standing
                .insert(row.try_get::<_, i32>(0)?, (row.try_get::<_, i64>(1)?, row.try_get::<_, i64>(2)?));
        }
        let mut lost = Vec::new();
        for (partition, number) in partitions.iter().zip(&numbers) {
            let known = self.known.get_mut(partition);
            match (known, standing.get(number)) {
                (Some(known), Some((next, owner))) if *owner == self.owner && *next >= known.0 => {
                    known.0 = *next
                }
                // Also what stands before where it was: the server was set back, and what follows must be read again.
                _ => lost.push(*partition),
            }
        }
        Ok(lost)
    }

    /// These partitions are somebody else's.
    pub(super) fn forget(&mut self, partitions: &[PartitionId]) {
        self.known.retain(|partition, _| !partitions.contains(partition));
    }

    /// Moves positions that are locked.
    pub(super) async fn set(
        &self,
        session: &Session,
        positions: &[(PartitionId, NextOffset)],
    ) -> Result<(), Trouble> {
        let sql = format!(
            "update {} as o set next_offset = t.next_offset, updated_at = now() \
             from unnest($3, $4) as t (partition, next_offset) \
             where o.sink = $1 and o.topic = $2 and o.partition = t.partition",
            self.table
        );
        let numbers = numbers(positions.iter().map(|(partition, _)| *partition));
        let next: Vec<i64> = positions.iter().map(|(_, next)| next.0).collect();
        let types = [
            (&self.sink as Parameter<'_>, Type::TEXT),
            (&self.topic, Type::TEXT),
            (&numbers, Type::INT4_ARRAY),
            (&next, Type::INT8_ARRAY),
        ];
        session.client.query_typed(&sql, &types).await?;
        Ok(())
    }
}

fn numbers(partitions: impl Iterator<Item = PartitionId>) -> Vec<i32> {
    partitions.map(|partition| partition.0.cast_signed()).collect()
}
