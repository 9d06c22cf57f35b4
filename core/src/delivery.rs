//! Delivering records to a destination, as far as it is decided and not done: when a batch is sent, how far a sink has
//! come, what follows from an answer, and which records of a refused batch are to blame.

mod batch;
mod holdings;
mod lanes;
mod progress;
mod retry;
mod undelivered;

pub use batch::{BatchLimits, Batching};
pub use holdings::{Held, Holdings};
pub use lanes::Lanes;
pub use progress::Progress;
pub use retry::{AfterFailure, Answer, Retry};
pub use undelivered::Undelivered;
