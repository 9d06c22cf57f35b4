//! The supervision tree: who starts, watches and ends the actors.
//!
//! ```text
//! root ──▶ pipeline: its supervisor ──▶ one generation of actors at a time
//!      ──▶ sink, for each ──▶ its couriers
//! ```
//! The root starts its children and starts again what fails alone, such as a sink. A pipeline is a child that nothing
//! works without. Its supervisor recovers, spawns a generation, and answers failures as `core::supervision` decides: a worker
//! is replaced, a generation ends and the next begins where the last commit was, or the pipeline ends.

mod ended;
mod handle;
mod parts;
mod pipeline;
mod root;
mod roster;
mod sinks;

pub use handle::{OpenWindows, PipelineHandle, PipelineView, Running, SinksHandle, start};
pub use parts::{Ending, Parts};
pub use roster::{ActorState, ActorView};
pub use sinks::Sinks;
