//! Epochs are committed: their owner, the thread that writes, what is told of them, and the local store that follows.

pub(crate) mod committer;
pub(crate) mod epoch;
pub(crate) mod keeper;
pub(crate) mod ledger;
pub(crate) mod rows;
pub(crate) mod store;
pub(crate) mod writer;
