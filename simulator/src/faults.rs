//! What can go wrong.

use std::fmt;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A stateful actor panics.
    ActorCrash,
    /// A filter or enrich worker panics, without a poisonous record.
    WorkerCrash,
    /// The thread of the reader or the writer panics.
    ThreadPanic,
    /// The process is killed, and another one started.
    ProcessCrash,
    /// The process is paused, another one started on another host, and the first goes on later.
    Zombie,
    /// Another process is started while the first still runs.
    SecondProcess,
    /// The log does not answer for a while.
    LogAway,
    /// The commit took effect, its answer is lost.
    AnswerLost,
    /// The commit took no effect, and nobody says so.
    RequestLost,
    /// The commit request arrives late, or not before the writer is fenced.
    RequestDelayed,
    /// The commit call does not come back for a long time.
    WriterHung,
    /// An append or the sending of offsets fails.
    WriteFailed,
    /// The abort fails.
    AbortFailed,
    /// The open transaction times out: the log aborts it and fences its writer.
    TransactionTimeout,
    /// The input gets one more partition.
    PartitionAdded,
    /// The process is asked to stop, and another one started.
    Shutdown,
    /// The state directory is gone.
    StoreLost,
    /// The store cannot be read.
    StoreDamaged,
    /// The process is killed and the host off for a day and a half; the log's cleaner goes over the changelog.
    LongPause,
    /// The disk fails while the store is written.
    DiskFails,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 20] = [
        Self::ActorCrash,
        Self::WorkerCrash,
        Self::ThreadPanic,
        Self::ProcessCrash,
        Self::Zombie,
        Self::SecondProcess,
        Self::LogAway,
        Self::AnswerLost,
        Self::RequestLost,
        Self::RequestDelayed,
        Self::WriterHung,
        Self::WriteFailed,
        Self::AbortFailed,
        Self::TransactionTimeout,
        Self::PartitionAdded,
        Self::Shutdown,
        Self::StoreLost,
        Self::StoreDamaged,
        Self::LongPause,
        Self::DiskFails,
    ];

    /// What happens, in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ActorCrash => "a stateful actor panics",
            Self::WorkerCrash => "a worker panics by chance",
            Self::ThreadPanic => "the thread of the reader or the writer panics",
            Self::ProcessCrash => "the process is killed",
            Self::Zombie => "the process is paused, and goes on beside its successor",
            Self::SecondProcess => "a second process is started",
            Self::LogAway => "the log does not answer",
            Self::AnswerLost => "a commit took effect, its answer is lost",
            Self::RequestLost => "a commit request is lost",
            Self::RequestDelayed => "a commit request arrives late, or too late",
            Self::WriterHung => "a commit call hangs",
            Self::WriteFailed => "a write fails",
            Self::AbortFailed => "an abort fails",
            Self::TransactionTimeout => "a transaction times out",
            Self::PartitionAdded => "the input gets one more partition",
            Self::Shutdown => "the process is asked to stop",
            Self::StoreLost => "the process is killed, its state directory lost",
            Self::StoreDamaged => "the store cannot be read",
            Self::LongPause => "all is off for a day and a half",
            Self::DiskFails => "the disk fails",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How often each kind of fault happened, and other figures of a schedule, in the order of [`Fault::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults([u32; Fault::ALL.len()]);

impl Faults {
    /// One more.
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often it happened.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u32 {
        self.0[fault as usize]
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }
}
