//! Reading a topic as a member of a consumer group: what a sink stands on.
//!
//! Partitions come and go while one reads. Positions are kept with the group or anywhere else, without a transaction.

use std::time::Duration;

use tidegate_core::{NextOffset, PartitionId};

use crate::{
    LogError,
    reading::{Health, RecordSink},
};

/// What a call of [`GroupReader::poll`] brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// So many records went to the sink.
    Records(usize),
    /// These partitions are this member's from now on, each with the position that the group has committed, if it has
    /// one. Nothing of them is read before [`GroupReader::read_from`]. The list is empty where a change of the group
    /// brought this member nothing new.
    Assigned(Vec<(PartitionId, Option<NextOffset>)>),
    /// These partitions go to another member, which waits until [`GroupReader::release`]: deliver or forget what was read
    /// of them, and commit, before that.
    Revoked(Vec<PartitionId>),
    /// These partitions were taken away: another member may read them already, and a commit for them will fail.
    Lost(Vec<PartitionId>),
}

/// A member of a consumer group that reads one topic. All methods block. Dropping it leaves the group.
pub trait GroupReader: Send {
    /// Waits up to `timeout` for an event; hands up to `max_records` committed records of partitions that are
    /// read to `sink`. With `max_records` 0 it only stays in the group. It must be called more often than
    /// `max.poll.interval.ms` (5 minutes), or the group goes on without this member. The sink is not told where partitions
    /// end: see [`end_offset`](Self::end_offset).
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] if a position is not in the log any more; [`LogError::TopicsMissing`],
    /// [`LogError::NotPermitted`]; [`LogError::Unavailable`] if the group's committed positions cannot be had: call it again.
    /// A broker that is away is no error here.
    fn poll(
        &mut self,
        timeout: Duration,
        max_records: usize,
        sink: &mut dyn RecordSink,
    ) -> Result<GroupEvent, LogError>;

    /// Reads assigned partitions from these positions on: after an assignment, and whenever something has to be read
    /// again. Records fetched before are forgotten.
    ///
    /// # Errors
    /// [`LogError::Broken`] if a partition is not this member's, or the client refuses it.
    fn read_from(&mut self, positions: &[(PartitionId, NextOffset)]) -> Result<(), LogError>;

    /// Gives up the partitions of the last [`GroupEvent::Revoked`] or [`GroupEvent::Lost`].
    ///
    /// # Errors
    /// [`LogError::Broken`] if the client refuses it.
    fn release(&mut self) -> Result<(), LogError>;

    /// Keeps positions with the group, for whoever reads the partitions next. Takes as long as the log needs to answer,
    /// or the client to give up.
    ///
    /// # Errors
    /// [`LogError::Fenced`] if the group went on without this member; [`LogError::Unavailable`]: try again.
    fn commit(&mut self, positions: &[(PartitionId, NextOffset)]) -> Result<(), LogError>;

    /// The last known end (high watermark) of a partition, from what was fetched; if all records before it were handed
    /// over, what is behind the last of them: the marks of transactions are nothing that anybody waits for.
    fn end_offset(&self, partition: PartitionId) -> Option<NextOffset>;

    /// How the connection is.
    fn health(&self) -> Health;
}

/// A partition is to be read that the group has given to nobody or to another member.
pub(crate) fn not_assigned(partition: PartitionId) -> LogError {
    let cause = format!("partition {partition} is not assigned to this member");
    LogError::Broken { what: "reading as a member of a group", cause }
}
