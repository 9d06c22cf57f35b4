//! What the parts of a generation report to the supervisor. They know no more of it than this.

use ractor::DerivedActorRef;
use tidegate_core::{Epoch, Generation, PartitionId, supervision::Part};
use tidegate_log::LogError;

/// Takes the reports.
pub type Events = DerivedActorRef<PipelineEvent>;

/// A report. Threads outlive generations, so theirs name the [`Generation`].
pub enum PipelineEvent {
    /// From the reader or the writer.
    LogFailed {
        /// For which the thread worked.
        generation: Generation,
        /// Who it is.
        part: Part,
        /// What the log said.
        error: LogError,
    },
    /// From the reader or the writer thread: it panicked.
    ThreadPanicked {
        /// For which the thread worked.
        generation: Generation,
        /// Who it is.
        part: Part,
        /// What the panic said.
        cause: String,
    },
    /// From the committer: a commit did not come back.
    WriterHung {
        /// For which the writer works.
        generation: Generation,
    },
    /// From a partition actor: a batch killed a worker for the first time.
    BatchBlamed {
        /// Of which the batch is.
        partition: PartitionId,
    },
    /// From the barrier: an epoch went through; an empty one is not committed.
    Progress {
        /// The epoch.
        epoch: Epoch,
        /// It was not empty.
        committed: bool,
    },
    /// From the barrier: all that was in flight is committed.
    Drained,
}
