//! Delivering records to a destination, as far as it is decided and not done: when a batch is sent, how far a sink has
//! come, what follows from an answer, and which records of a refused batch are to blame.

pub mod batch;
pub mod blame;
pub mod progress;
pub mod retry;
