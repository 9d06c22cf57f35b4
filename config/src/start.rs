//! Where to begin to read.

/// Where to begin without committed offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the end as of the first start.
    Latest,
    /// At the beginning.
    Earliest,
}
