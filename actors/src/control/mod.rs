//! Epochs are cut.

pub(crate) mod barrier;
