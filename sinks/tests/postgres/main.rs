//! The PostgreSQL destination against a real server: `TIDEGATE_TEST_POSTGRES` is the URL of one, with a user that may create
//! databases. Tests that stop a server or use TLS start one of their own.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod exactly_once;
mod measure;
mod plan;
mod proxy;
mod refusals;
mod server;
mod support;
mod tables;
mod tls;
