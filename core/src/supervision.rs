//! When parts fail: what is replaced, what ends, how often, and how soon to try again. And where a pipeline is between
//! its start and its end.

mod backoff;
mod budget;
mod lifecycle;
mod obstacle;
mod policy;

pub use backoff::Backoff;
pub use budget::{BudgetExhausted, RestartBudget};
pub use lifecycle::{Lifecycle, LifecycleState, Step};
pub use obstacle::Obstacle;
pub use policy::{Failure, Part, Response, Rollback, respond};
