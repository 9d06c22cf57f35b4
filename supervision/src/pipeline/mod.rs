//! A pipeline as a child of the tree: recovery, one generation of actors at a time, and what follows from failures.

mod clock_sample;
mod error;
mod failures;
mod generation;
mod handover;
mod messages;
mod outcome;
mod owner;
mod recovery;
mod refusal;
mod supervisor;
mod until_end;
mod watch;

pub(crate) use messages::SupervisorMsg;
pub(crate) use supervisor::Supervisor;
