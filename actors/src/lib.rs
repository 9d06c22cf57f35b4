//! The actors of the pipeline: mailboxes around what `core` decides.
//!
//! ```text
//! intake          work                          windows        commit                control
//! reader ──▶ partition ×P ──▶ filter pool ──▶ enrich pool ──┐
//! (thread)      ▲ │                                         │
//!               └─┼─────────────────────────────────────────┘
//!                 ├──▶ window ×W ──▶ committer ──▶ writer (thread) ──▶ store
//!                 └────────────────▶ committer ──▶ barrier
//! barrier ──▶ partition ×P
//! ```
//! Each folder is a wing of that picture, and an actor's messages are beside it. What a part reports upwards is a
//! [`PipelineEvent`]; who starts, watches and ends the parts is the crate `supervision`.
//!
//! Actors of a generation know only each other, so a message of an older generation has no way to a newer
//! actor. Threads outlive generations; what they are told carries the generation. A message to an actor that is gone is
//! dropped: the supervisor hears of the one that died, and a sender that died of it too would only hide which one that
//! was.

mod commit;
mod control;
mod derived;
mod events;
mod intake;
mod positions;
mod settings;
mod traced;
mod windows;
mod work;

pub use commit::{
    committer::{Committer, CommitterArgs, CommitterMsg},
    epoch::Delta,
    keeper::Keeper,
    ledger::{CommittedAlert, Ledger},
    store::{StoreHandle, StoreMsg, StoreTools, spawn_store},
    writer::{Committed, Offsets, WriterHandle},
};
pub use control::barrier::{Barrier, BarrierArgs, BarrierMsg};
pub use events::{Events, PipelineEvent};
pub use intake::{
    limit::Ends,
    partition::{Partition, PartitionArgs, PartitionMsg},
    reader::{ReaderHandle, Route},
};
pub use positions::Positions;
pub use settings::PipelineSettings;
pub use windows::{
    grouped::GroupedEvents,
    render::limit_evidence,
    window::{Events as WindowEvents, Report, WindowActor, WindowArgs, WindowMsg},
};
pub use work::{
    enrich::{EnrichArgs, EnrichMsg, EnrichWorker},
    filter::{FilterArgs, FilterMsg, FilterWorker},
    geo_source::GeoSource,
    outputs::Outputs,
    pool::Pool,
    ticket::{Processed, Returned},
};
