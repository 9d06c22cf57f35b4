//! The decisions of Tidegate, free of I/O, clocks, threads and actors.
//!
//! Everything here takes facts and returns decisions or bytes, so that every rule of processing can be
//! tested without a broker. The one exception is [`window::OpenWindows`], a counter that several windows
//! actors share.

pub mod alert;
pub mod bots;
pub mod broker_clock;
pub mod client_properties;
pub mod dead_letter;
pub mod epoch;
pub mod event;
pub mod geo;
mod ids;
pub mod leftover;
pub mod mmdb_writer;
pub mod partitioner;
pub mod recovery;
pub mod refused;
pub mod rules;
pub mod splice;
pub mod topic_check;
pub mod topic_limits;
pub mod watch;
pub mod watermark;
pub mod window;

pub use ids::{Epoch, Generation, NextOffset, PartitionId, TimestampMs, TopicId};
