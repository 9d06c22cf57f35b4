//! What a failure leads to.

use std::fmt;

/// A part of the pipeline that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The thread that reads the input.
    Reader,
    /// Owner of one input partition's order.
    Partition,
    /// A worker of the filter pool.
    Filter,
    /// A worker of the enrich pool.
    Enrich,
    /// Owner of a share of the windows.
    Window,
    /// Owner of the transaction.
    Committer,
    /// Cuts epochs.
    Barrier,
    /// Keeps the local copy of the state.
    Store,
}

impl Part {
    /// All parts, in the order of the metrics' labels.
    pub const ALL: [Self; 8] = [
        Self::Reader,
        Self::Partition,
        Self::Filter,
        Self::Enrich,
        Self::Window,
        Self::Committer,
        Self::Barrier,
        Self::Store,
    ];

    /// Name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Partition => "partition",
            Self::Filter => "filter",
            Self::Enrich => "enrich",
            Self::Window => "window",
            Self::Committer => "committer",
            Self::Barrier => "barrier",
            Self::Store => "store",
        }
    }

    /// Whether the part holds nothing that another could not do again: it can be replaced alone.
    #[must_use]
    pub fn is_stateless(self) -> bool {
        matches!(self, Self::Filter | Self::Enrich)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong, as far as the answer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// An actor or thread of ours panicked or ended by itself.
    Crashed(Part),
    /// The log does not answer, or its client is broken.
    LogUnavailable,
    /// The writer was fenced, by another daemon or by a timeout of its transaction.
    Fenced,
    /// A call that takes no time limit did not come back.
    WriterHung,
    /// An error that trying again cannot cure.
    Lasting,
}

/// How the open epoch is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// Abort on the same writer and go back to the last commit, if the writer is still sound.
    Short,
    /// A new writer takes over and asks the log what is committed.
    Full,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// Replace this worker alone; the batches it held are done again.
    ReplaceWorker,
    /// End the generation, recover, start a new one. `spends` says whether it counts against the budget.
    NewGeneration {
        /// How the epoch is given up.
        rollback: Rollback,
        /// Whether it is our own failure, so that too many of them end the process.
        spends: bool,
    },
    /// Find out whether another daemon owns the id: exit if so, recover in full otherwise.
    CheckOwner,
    /// Exit with the error.
    Exit,
}

/// The policy. A stateful part is never restarted alone: it would have missed batches and would hold the
/// barrier back for ever. A broker that is away is no failure of ours and may be away for long, so it spends
/// nothing.
#[must_use]
pub fn respond(failure: Failure) -> Response {
    match failure {
        Failure::Crashed(part) if part.is_stateless() => Response::ReplaceWorker,
        Failure::Crashed(_) => Response::NewGeneration { rollback: Rollback::Short, spends: true },
        Failure::LogUnavailable => Response::NewGeneration { rollback: Rollback::Full, spends: false },
        Failure::WriterHung => Response::NewGeneration { rollback: Rollback::Full, spends: true },
        Failure::Fenced => Response::CheckOwner,
        Failure::Lasting => Response::Exit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_workers_without_state_are_replaced_alone() {
        for part in Part::ALL {
            let alone = respond(Failure::Crashed(part)) == Response::ReplaceWorker;
            assert_eq!(alone, matches!(part, Part::Filter | Part::Enrich), "{part}");
        }
    }

    #[test]
    fn a_broker_that_is_away_never_exhausts_the_budget() {
        assert_eq!(
            respond(Failure::LogUnavailable),
            Response::NewGeneration { rollback: Rollback::Full, spends: false }
        );
    }
}
