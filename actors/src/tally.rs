//! What was counted on the way, per piece and per epoch.

use tidegate_core::{bots::Category, event::Reason};

/// Where the records of a piece or an epoch went. Every record is in exactly one of forwarded, bots,
/// tombstones and dead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) forwarded: u64,
    /// By category, in the order of [`Category::ALL`].
    pub(crate) bots: [u64; Category::ALL.len()],
    pub(crate) tombstones: u64,
    /// By reason, in the order of [`Reason::ALL`].
    pub(crate) dead: [u64; Reason::ALL.len()],
    /// Far-future events, bots among them.
    pub(crate) future: u64,
}

impl Tally {
    /// Records that this tally is about.
    pub(crate) fn records(&self) -> u64 {
        self.forwarded + self.bots.iter().sum::<u64>() + self.tombstones + self.dead_letters()
    }

    pub(crate) fn dead_letters(&self) -> u64 {
        self.dead.iter().sum()
    }

    pub(crate) fn count_dead(&mut self, reason: Reason) {
        self.dead[reason as usize] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
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
