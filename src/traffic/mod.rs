//! Writing sample traffic, as `tidegate generate` and `tidegate demo` do.

mod generator;
mod sink;

pub(crate) use generator::{Generator, Plan, Summary};
pub(crate) use sink::Sink;
