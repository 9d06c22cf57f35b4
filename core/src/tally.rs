//! What was counted on the way, per piece and per epoch.

use crate::{bots::Category, event::Reason};

/// Where the records of a piece or an epoch went. Every record is in exactly one of forwarded, bots,
/// tombstones and dead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// To the output.
    pub forwarded: u64,
    /// By category, in the order of [`Category::ALL`].
    pub bots: [u64; Category::ALL.len()],
    /// Records without a value.
    pub tombstones: u64,
    /// By reason, in the order of [`Reason::ALL`].
    pub dead: [u64; Reason::ALL.len()],
    /// Far-future events, bots among them.
    pub future: u64,
}

impl Tally {
    /// Records that this tally is about.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.forwarded + self.bots.iter().sum::<u64>() + self.tombstones + self.dead_letters()
    }

    /// Records that are dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> u64 {
        self.dead.iter().sum()
    }

    /// One more dead letter.
    pub fn count_dead(&mut self, reason: Reason) {
        self.dead[reason as usize] += 1;
    }

    /// Adds what another tally counted.
    pub fn add(&mut self, other: &Self) {
        self.forwarded += other.forwarded;
        self.tombstones += other.tombstones;
        self.future += other.future;
        for (sum, more) in self.bots.iter_mut().zip(other.bots) {
            *sum += more;
        }
        for (sum, more) in self.dead.iter_mut().zip(other.dead) {
            *sum += more;
        }
    }
}
