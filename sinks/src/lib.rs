//! Sinks: committed records of an output topic, delivered to where people look.
//!
//! Each sink is a member of a consumer group of its own, an actor of the supervision tree, and a budget of memory: none
//! can slow, stop or fail the pipeline, nor another sink. What to batch, to retry, to split and to give up is decided in
//! `tidegate_core::delivery`; a [`Destination`] carries it out.

mod alert;
mod batch;
mod condition;
mod courier;
mod dead_letter;
mod delivery;
mod destination;
pub mod elasticsearch;
mod http;
mod iso;
pub mod postgres;
mod reader;
mod redrive;
mod rejected;
mod setup;
mod sink;
mod start;
mod tls;
pub mod webhook;

#[cfg(test)]
mod tests;

pub use batch::{Batch, SinkRecord};
pub use destination::{Assigned, Destination, Failure, Outcome};
pub use http::check_url;
pub use redrive::{Redelivered, redeliver};
pub use setup::{Level, Note, Setup};
pub use start::{SinkParts, group_of, shut_down, start};
