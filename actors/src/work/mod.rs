//! Work on records in pools, out of order: filter, then enrich. What comes of a piece goes back to its partition.

pub(crate) mod enrich;
pub(crate) mod filter;
pub(crate) mod geo_source;
pub(crate) mod jobs;
pub(crate) mod outputs;
pub(crate) mod pool;
pub(crate) mod ticket;
