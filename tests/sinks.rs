//! Sinks, to real servers: what is there in the end is what the output topics hold, row by row, whatever happened on
//! the way.

mod alertmanager;
mod away;
mod compare;
mod crash;
mod measure;
mod only;
mod poison;
mod setup;
mod shared;
mod shutdown;
mod slow;

use std::{env, thread, time::Duration};

use crate::support::random::Random;

/// Where the dead letters of sinks, and no others, have this reason.
const SINK_REJECTED: &str = "sink_rejected";

/// The small sizes are for every run, the large ones (`TIDEGATE_TEST_SOAK=1`) for those who have time.
fn sized(small: usize, large: usize) -> usize {
    let is_large = env::var("TIDEGATE_TEST_SOAK").is_ok_and(|value| value == "1");
    if is_large { large } else { small }
}

/// The moment of a fault is itself what is tried.
fn some_time(random: &mut Random, most_ms: u64) {
    thread::sleep(Duration::from_millis(random.below(most_ms)));
}
