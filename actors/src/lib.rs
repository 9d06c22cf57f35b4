//! The actors of the pipeline, one file each, and the wiring of one generation.
//!
//! ```text
//! reader ──▶ partition ×P ──▶ filter pool ──▶ enrich pool ──┐
//! (thread)      ▲ │                                         │
//!               └─┼─────────────────────────────────────────┘
//!                 ├──▶ window ×W ──▶ committer ──▶ writer (thread)
//!                 └────────────────▶ committer ──▶ store
//! barrier ──▶ partition ×P           committer ──▶ barrier
//! ```
//! What travels is in `messages.rs` and `job.rs`; who lives how long is in `generation.rs` and `supervisor.rs`.

mod barrier;
mod clock;
mod clock_sample;
mod committer;
mod credits;
mod enrich;
mod events;
mod filter;
mod generation;
mod geo_source;
mod handover;
mod job;
mod ledger;
mod messages;
mod open_epoch;
mod output;
mod partition;
mod parts;
mod pipeline;
mod pool;
mod reader;
mod recovery;
mod roster;
mod samples;
mod settings;
mod slots;
mod store;
mod supervisor;
mod tally;
mod traced;
mod until_end;
mod window;
mod writer;

pub use clock::Clock;
pub use geo_source::GeoSource;
pub use parts::{CommittedAlert, Ending, Parts};
pub use pipeline::{OpenWindows, PipelineHandle, PipelineView, start};
pub use roster::{ActorState, ActorView};
pub use settings::PipelineSettings;
