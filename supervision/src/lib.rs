//! When parts fail: what is replaced, what ends, how often, and how soon to try again.
//!
//! Everything here decides; the pipeline's supervisor actor carries it out.

mod backoff;
mod budget;
mod obstacle;
mod policy;

pub use backoff::Backoff;
pub use budget::{BudgetExhausted, RestartBudget};
pub use obstacle::Obstacle;
pub use policy::{Failure, Part, Response, Rollback, respond};
