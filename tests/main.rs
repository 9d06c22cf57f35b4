//! The product as its users see it: the daemon's process, its topics, its pages. One file for each of its properties.
//!
//! All in one binary, since linking the clients twenty times over takes longer than some of the tests.

#![allow(clippy::unwrap_used)]

mod broker;
mod cli;
mod clocks;
mod crash;
mod dashboard;
mod dead_letters;
mod demo;
mod embedded;
mod fencing;
mod geo;
mod growth;
mod limits;
mod monitoring;
mod observe;
mod offsets;
mod oracle;
mod otlp;
mod pipeline;
mod refused;
mod servers;
mod shutdown;
mod sink_commands;
mod sinks;
mod state;
mod supervision;
mod support;
mod time;
mod topics;
mod until_end;
