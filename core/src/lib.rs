//! The decisions of Tidegate, free of I/O, clocks, threads and actors.
//!
//! Everything here takes facts and returns decisions or bytes, so that every rule of processing can be
//! tested without a broker. Two counters are shared by several actors: [`window::OpenWindows`] and
//! [`epoch::credits::Credits`].

pub mod alert;
pub mod bots;
pub mod broker_clock;
pub mod client_properties;
pub mod dead_letter;
pub mod delivery;
pub mod epoch;
pub mod event;
pub mod geo;
mod ids;
pub mod leftover;
pub mod output;
pub mod partitioner;
pub mod record;
pub mod recovery;
pub mod redrive;
pub mod refused;
pub mod rules;
pub mod splice;
pub mod supervision;
pub mod tally;
pub mod time;
pub mod topic_check;
pub mod topic_limits;
pub mod watch;
pub mod window;

pub use ids::{Epoch, Generation, NextOffset, PartitionId, RuleId, SinkId, TimestampMs, TopicId};
