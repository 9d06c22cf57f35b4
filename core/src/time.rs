//! Event time: how far each input partition has come, when a silent one no longer counts, and how far the pipeline has
//! come with them.

pub mod idleness;
pub mod watermark;
