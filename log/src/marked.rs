//! Writing records together with marks that tell what was written: how a command does its work once, though it is killed
//! and run again.

use tidegate_core::{PartitionId, record::OutputBatch};

use crate::LogError;

/// A text that is kept under the name of a consumer group with a partition of a topic, like the metadata of an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The group.
    pub group: String,
    /// The partition.
    pub partition: PartitionId,
    /// The text, at most 4096 bytes.
    pub text: String,
}

/// Writes records and marks together. All methods block.
pub trait MarkedWriter: Send {
    /// Takes over: fences whoever wrote under the same id before, and waits until what that one wrote last is decided.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]: try again; [`LogError::NotPermitted`].
    fn take_over(&mut self) -> Result<(), LogError>;

    /// The marks under a group's name, of the partitions `0..partitions`; `None` where there is none. After a take-over they
    /// are decided; before it what somebody else is writing is not among them.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the log does not answer; [`LogError::NotPermitted`].
    fn marks(&mut self, group: &str, partitions: u32) -> Result<Vec<Option<String>>, LogError>;

    /// Writes records and marks: all of it becomes visible, or nothing.
    ///
    /// # Errors
    /// [`LogError::Fenced`] if somebody else took over. After any error the writer is of no more use, and the marks tell the
    /// next one whether it was written.
    fn write(&mut self, batch: &OutputBatch, marks: &[Mark]) -> Result<(), LogError>;
}
