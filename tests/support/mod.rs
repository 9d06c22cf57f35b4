//! What the end-to-end tests share: a site (topics, configuration, directory of its own), the daemon as a
//! process, plain Kafka clients, and an oracle that knows what has to come out.
//!
//! Nothing here uses code of the pipeline: the tests see the product as its users do. The embedded log has no other
//! client than its own, so that is what writes and reads it while no daemon has it.

#![allow(unreachable_pub)]

pub mod alertmanager;
pub mod broker;
pub mod browser;
pub mod cut;
pub mod daemon;
pub mod daemon_api;
pub mod disk;
pub mod embedded;
pub mod events;
pub mod geo;
pub mod http;
pub mod json;
pub mod kafka;
pub mod metrics;
pub mod opensearch;
pub mod oracle;
pub mod postgres;
pub mod random;
pub mod receiver;
pub mod server;
pub mod site;
pub mod verify;
pub mod wait;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests run in parallel; those that need the whole machine take turns.
pub fn heavy() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
