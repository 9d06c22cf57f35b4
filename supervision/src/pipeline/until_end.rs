//! A run that ends by itself: it processes what is in the input as of its start and leaves the rest to the
//! next run.
//!
//! Where the input ends is noted once, with the first recovery of the process, so that input that grows cannot put the
//! end off.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use tidegate_actors::Ends;
use tidegate_core::NextOffset;

/// How often to say how much is left.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What the supervisor knows of the end.
pub(crate) struct UntilEnd {
    ends: Option<Vec<NextOffset>>,
    told_at: Instant,
}

impl UntilEnd {
    pub(crate) fn new() -> Self {
        Self { ends: None, told_at: Instant::now() }
    }

    /// Where a generation that reads `partitions` partitions stops: at the ends that were found first. A
    /// partition that is newer than those has nothing for this run.
    pub(crate) fn ends(&mut self, found: &[NextOffset], partitions: usize) -> Ends {
        let ends = self.ends.get_or_insert_with(|| found.to_vec());
        ends.resize(partitions, NextOffset(0));
        ends.as_slice().into()
    }

    /// Whether all before the end is committed, or needed no commit.
    pub(crate) fn is_reached(&self, positions: &[AtomicI64]) -> bool {
        self.ends.is_some() && self.left(positions) == 0
    }

    /// Says now and then how far it is.
    pub(crate) fn tell(&mut self, positions: &[AtomicI64]) {
        if self.told_at.elapsed() >= TELL_EVERY {
            self.told_at = Instant::now();
            tracing::info!(offsets_left = self.left(positions), "on the way to the end of the input");
        }
    }

    fn left(&self, positions: &[AtomicI64]) -> i64 {
        let ends = self.ends.iter().flatten();
        ends.zip(positions).map(|(end, position)| (end.0 - position.load(Ordering::Relaxed)).max(0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_that_of_the_first_recovery_on_every_partition_there_was() {
        let positions =
            |offsets: &[i64]| offsets.iter().map(|next| AtomicI64::new(*next)).collect::<Vec<_>>();
        let mut until_end = UntilEnd::new();
        assert!(!until_end.is_reached(&positions(&[])), "nothing is known yet");
        assert_eq!(*until_end.ends(&[NextOffset(5), NextOffset(0)], 2), [NextOffset(5), NextOffset(0)]);
        assert!(!until_end.is_reached(&positions(&[4, 0])));
        assert!(until_end.is_reached(&positions(&[5, 0])));
        // A recovery later on finds more.
        let ends = until_end.ends(&[NextOffset(9), NextOffset(9), NextOffset(9)], 3);
        assert_eq!(*ends, [NextOffset(5), NextOffset(0), NextOffset(0)]);
        assert!(until_end.is_reached(&positions(&[5, 0, 0])));
    }
}
