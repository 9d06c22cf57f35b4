//! What the parts of a generation report to the supervisor. They know no more of it than this.

use ractor::DerivedActorRef;
use tidegate_core::{Epoch, Generation, PartitionId};
use tidegate_log::LogError;
use tidegate_supervision::Part;

/// Takes the reports.
pub(crate) type Events = DerivedActorRef<PipelineEvent>;

/// A report. Threads outlive generations, so theirs name the [`Generation`].
pub(crate) enum PipelineEvent {
    /// From the reader or the writer.
    LogFailed { generation: Generation, part: Part, error: LogError },
    /// From the reader or the writer thread: it panicked.
    ThreadPanicked { generation: Generation, part: Part, cause: String },
    /// From the committer: a commit did not come back.
    WriterHung { generation: Generation },
    /// From a partition actor: a batch killed a worker for the first time.
    BatchBlamed { partition: PartitionId },
    /// From the barrier: an epoch went through; an empty one is not committed.
    Progress { epoch: Epoch, committed: bool },
    /// From the barrier: all that was in flight is committed.
    Drained,
}
