//! A whole shard with the real decision code of core, in one thread and in virtual time: partitions, pools, window
//! actors, committer, barrier, local store, and a log that can fail. A seed decides every interleaving and every fault.
//! After each step it is checked that nobody who reads only what is committed could notice.

mod actors;
mod check;
mod disk;
mod env;
mod faults;
mod input;
mod key;
mod log;
mod mail;
mod plan;
mod process;
mod random;
mod recovering;
mod recovery;
mod shape;
mod slow;
mod totals;
mod turns;
mod violation;
mod world;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

pub use faults::{Fault, Faults};
pub use totals::{Totals, run_many};
pub use world::Summary;

use crate::{
    env::Story,
    violation::{Checked, Violation},
    world::World,
};

/// How many steps of a schedule that failed are told.
pub const TOLD: usize = 60;

/// A schedule in which the rules were broken.
#[derive(Debug)]
pub struct Failure {
    /// Its seed, with which it can be run again.
    pub seed: u64,
    /// The rule that was broken.
    pub violation: String,
    /// The drawn configuration.
    pub shape: String,
    /// What happened last, in words.
    pub story: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.violation)?;
        writeln!(f, "drawn: {}", self.shape)?;
        for line in &self.story {
            writeln!(f, "{line}")?;
        }
        write!(f, "run it again: cargo xtask simulate --seed {}", self.seed)
    }
}

/// Runs the schedule of a seed.
///
/// # Errors
/// If a rule was broken: what, and the schedule in words.
pub fn run(seed: u64) -> Result<Summary, Box<Failure>> {
    match attempt(&mut World::new(seed, None)) {
        Ok(summary) => Ok(summary),
        // Written down the second time only, since that takes longer than all the rest.
        Err(_) => tell(seed, TOLD).and(Err(Box::new(Failure {
            seed,
            violation: "it failed, and did not when it was run again".into(),
            shape: String::new(),
            story: Vec::new(),
        }))),
    }
}

/// As [`run`], and writes down what happens; of that the last `lines` are told if it fails.
///
/// # Errors
/// If a rule was broken: what, and the schedule in words.
pub fn tell(seed: u64, lines: usize) -> Result<Summary, Box<Failure>> {
    let mut world = World::new(seed, Some(Story::default()));
    let outcome = attempt(&mut world);
    let story = world.env.story.take().unwrap_or_default();
    outcome.map_err(|Violation(violation)| {
        let shape = format!("{:?}", world.env.shape);
        Box::new(Failure { seed, violation, shape, story: story.last(lines).to_vec() })
    })
}

fn attempt(world: &mut World) -> Checked<Summary> {
    catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Violation(format!("a panic: {}", text.unwrap_or_default())))
    })
}
