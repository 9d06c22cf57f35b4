//! What can go wrong with the state directory and the store in it.

use std::{io, path::PathBuf};

use tidegate_core::Epoch;

use crate::CodecError;

/// An error of the state directory or the store. None of them endangers the state itself: that is in the
/// changelog topic.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process works in the directory.
    #[error(
        "the state directory {} is in use by process {}: stop it, or give this one another state.dir",
        path.display(),
        pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string())
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, if its lock file says so.
        pid: Option<u32>,
    },
    /// The file system refused something that has nothing to do with damage: permissions, a full disk.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store failed while it was in use; it refuses everything until it is opened again.
    #[error("the window store is out of use until it is opened again: {0}")]
    Broken(String),
    /// The epoch to apply is older than what the store may already include; put the store aside.
    #[error("the window store includes changes of epoch {reaches}, and cannot go back to epoch {epoch}")]
    Ahead {
        /// The store's [`Base::reaches`](crate::Base::reaches).
        reaches: Epoch,
        /// The epoch to apply.
        epoch: Epoch,
    },
    /// A change is not a changelog record; nothing was applied.
    #[error("a state change cannot be stored: {0}")]
    Record(#[from] CodecError),
}

impl StateError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
