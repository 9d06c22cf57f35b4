//! Records come in: the thread that reads, and the owner of each partition's order.

pub(crate) mod limit;
pub(crate) mod partition;
pub(crate) mod reader;
