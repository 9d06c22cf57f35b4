//! Committed epochs on their way to the local store. They are gathered for a while and applied at once, since most
//! windows change in each of them. All times are of one monotonic clock.

use std::time::Duration;

use crate::{Epoch, NextOffset};

/// How many bytes are gathered: they are in memory meanwhile, and a recovery waits until they are applied.
const MAX_BYTES: usize = 8 << 20;

/// Committed epochs that the store has still to take, oldest first. `C` is the changes of an epoch.
#[derive(Debug)]
pub struct Gathered<C> {
    waiting: Vec<Committed<C>>,
    bytes: usize,
    /// Ends of the changelog, and when the answer came.
    noted: Option<(Vec<NextOffset>, Duration)>,
}

#[derive(Debug)]
struct Committed<C> {
    epoch: Epoch,
    begun: Duration,
    changes: C,
}

/// What the store is to apply at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Application<C> {
    /// The last epoch of it.
    pub epoch: Epoch,
    /// By epoch, oldest first: the last change of a key counts.
    pub changes: Vec<C>,
    /// Positions of the changelog before which nothing is missing once it is applied, if they are known.
    pub positions: Option<Vec<NextOffset>>,
}

impl<C> Default for Gathered<C> {
    fn default() -> Self {
        Self { waiting: Vec::new(), bytes: 0, noted: None }
    }
}

impl<C> Gathered<C> {
    /// An epoch is committed, whose commit was begun at `begun` and which has so many `bytes` of changes. Returns
    /// whether it is time to apply what was gathered.
    pub fn push(&mut self, epoch: Epoch, begun: Duration, bytes: usize, changes: C) -> bool {
        self.waiting.push(Committed { epoch, begun, changes });
        self.bytes += bytes;
        self.bytes >= MAX_BYTES
    }

    /// The changelog ended at these positions when the log was asked; the answer came at `answered`.
    pub fn note(&mut self, positions: Vec<NextOffset>, answered: Duration) {
        self.noted = Some((positions, answered));
    }

    /// All that was gathered, for a store that has every epoch up to `base`.
    ///
    /// Positions that were noted before the last epoch's commit began are behind no change that is missing: all epochs
    /// that were committed before the log was asked came earlier.
    pub fn take(&mut self, base: Option<Epoch>) -> Option<Application<C>> {
        self.bytes = 0;
        let mut waiting = std::mem::take(&mut self.waiting);
        // Of a writer that came back late from a commit that was found out about and caught up with meanwhile.
        waiting.retain(|committed| base.is_none_or(|base| base < committed.epoch));
        let &Committed { epoch, begun, .. } = waiting.last()?;
        let positions = self.noted.take_if(|(_, answered)| *answered < begun).map(|(positions, _)| positions);
        let changes = waiting.into_iter().map(|committed| committed.changes).collect();
        Some(Application { epoch, changes, positions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn gathered() -> Gathered<&'static str> {
        let mut gathered = Gathered::default();
        assert!(!gathered.push(Epoch(5), s(1), 10, "five"));
        assert!(!gathered.push(Epoch(6), s(2), 10, "six"));
        gathered
    }

    fn positions() -> Vec<NextOffset> {
        vec![NextOffset(9)]
    }

    #[test]
    fn what_was_gathered_is_applied_at_once_as_of_its_last_epoch_and_only_once() {
        let mut gathered = gathered();
        let all = Application { epoch: Epoch(6), changes: vec!["five", "six"], positions: None };
        assert_eq!(gathered.take(Some(Epoch(4))), Some(all));
        assert_eq!(gathered.take(Some(Epoch(6))), None);
    }

    #[test]
    fn epochs_that_the_store_has_are_not_applied_again() {
        let rest = Application { epoch: Epoch(6), changes: vec!["six"], positions: None };
        assert_eq!(gathered().take(Some(Epoch(5))), Some(rest));
        assert_eq!(gathered().take(Some(Epoch(6))), None);
    }

    #[test]
    fn positions_are_noted_with_an_epoch_whose_commit_began_after_they_were_known() {
        let mut gathered = gathered();
        gathered.note(positions(), s(1));
        assert_eq!(gathered.take(None).and_then(|apply| apply.positions), Some(positions()));
        gathered.push(Epoch(7), s(3), 10, "seven");
        assert_eq!(gathered.take(None).and_then(|apply| apply.positions), None, "they were used");
    }

    #[test]
    fn positions_that_came_during_a_commit_may_be_behind_its_changes_and_wait_for_the_next() {
        let mut gathered = gathered();
        gathered.note(positions(), s(2));
        assert_eq!(gathered.take(None).and_then(|apply| apply.positions), None);
        gathered.push(Epoch(7), s(3), 10, "seven");
        assert_eq!(gathered.take(None).and_then(|apply| apply.positions), Some(positions()));
    }

    #[test]
    fn so_much_is_gathered_and_no_more() {
        let mut gathered = gathered();
        assert!(gathered.push(Epoch(7), s(3), MAX_BYTES, "large"));
        gathered.take(None);
        assert!(!gathered.push(Epoch(8), s(4), 10, "small"));
    }
}
