//! Names a generation of a process.

use std::fmt;

use tidegate_core::Generation;

/// A generation of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// Nonce of the process.
    pub(crate) owner: u64,
    pub(crate) generation: Generation,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.generation)
    }
}
