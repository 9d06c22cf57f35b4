//! The machine that Tidegate runs on: its clocks, its threads, and sled on its disk.

mod clock;
pub mod sled;
mod threads;

pub use clock::{Clock, wall_time};
pub use threads::panic_text;
