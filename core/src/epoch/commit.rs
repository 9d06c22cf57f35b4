//! The commit of epochs: an epoch is complete when every partition has sealed it and every share of the windows has
//! given its part; then it is committed, or skipped if it did nothing. One commit is under way at a time.

use std::{mem, time::Duration};

use crate::{
    Epoch, NextOffset, PartitionId,
    epoch::{
        align::{Aligned, Alignment, OutOfTurn},
        barrier::Seal,
        due::{Work, is_due},
    },
};

/// What has come of the open epoch, and what is committed. `O` is output of a partition, `D` a share's part.
#[derive(Debug)]
pub struct Commits<O, D> {
    alignment: Alignment<Seal, O>,
    parts: Vec<D>,
    shares: usize,
    /// The first epoch is committed in any case, and names the owner.
    is_first: bool,
    under_way: Option<(Epoch, Vec<NextOffset>)>,
    /// Where the last commit ended, by partition, or where the generation began.
    committed: Vec<NextOffset>,
    committed_at: Duration,
}

/// An epoch that is complete.
#[derive(Debug)]
pub struct Complete<O, D> {
    /// The epoch.
    pub epoch: Epoch,
    /// By partition.
    pub seals: Vec<Seal>,
    /// Of all shares.
    pub parts: Vec<D>,
    /// What to do with it.
    pub verdict: Verdict,
    /// Output of the next epoch, which is open now.
    pub early: Vec<O>,
}

/// What to do with a complete epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Commit it.
    Commit {
        /// It names this process as the owner.
        announces: bool,
    },
    /// It did nothing that anybody would miss.
    Skip,
}

/// What the protocol does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Data or a seal of the wrong epoch.
    #[error(transparent)]
    OutOfTurn(#[from] OutOfTurn),
    /// A share's part of the wrong epoch.
    #[error("a part of epoch {of} came from the windows while epoch {open} is open")]
    WrongPart {
        /// The epoch of what came.
        of: Epoch,
        /// The epoch that is open.
        open: Epoch,
    },
    /// An epoch is complete before the one before it is committed.
    #[error("epoch {complete} is complete while the commit of epoch {under_way} is under way")]
    TwoCommits {
        /// The epoch that is complete.
        complete: Epoch,
        /// The epoch that is being committed.
        under_way: Epoch,
    },
}

impl<O, D> Commits<O, D> {
    /// Nothing has come of `epoch` yet, and the input is committed up to `committed`. There are so many `shares` of the
    /// windows. `announces`: the first epoch names the owner.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        committed: Vec<NextOffset>,
        shares: usize,
        announces: bool,
        now: Duration,
    ) -> Self {
        Self {
            alignment: Alignment::new(epoch, committed.len()),
            parts: Vec::new(),
            shares,
            is_first: announces,
            under_way: None,
            committed,
            committed_at: now,
        }
    }

    /// Output of a partition came: it comes back if it is of the open epoch.
    ///
    /// # Errors
    /// [`OutOfTurn`] as the protocol does not allow it.
    pub fn admit(&mut self, of: Epoch, partition: PartitionId, output: O) -> Result<Option<O>, OutOfTurn> {
        self.alignment.admit(of, partition, output)
    }

    /// A partition seals the open epoch; returns whether all have.
    ///
    /// # Errors
    /// [`OutOfTurn`] as the protocol does not allow it.
    pub fn seal(&mut self, seal: Seal) -> Result<bool, OutOfTurn> {
        self.alignment.seal(seal.cut.epoch, seal.partition, seal)
    }

    /// A share of the windows gives its part of the open epoch.
    ///
    /// # Errors
    /// [`Fault::WrongPart`] if it is of another epoch.
    pub fn part(&mut self, of: Epoch, part: D) -> Result<(), Fault> {
        let open = self.alignment.epoch();
        if of != open {
            return Err(Fault::WrongPart { of, open });
        }
        self.parts.push(part);
        Ok(())
    }

    /// The open epoch, if it is complete, and what to do with it; the next one is open then. `has_records` says whether
    /// it read records, raised alerts or changed windows.
    ///
    /// # Errors
    /// [`Fault::TwoCommits`].
    pub fn complete(
        &mut self,
        now: Duration,
        has_records: impl FnOnce(&[D]) -> bool,
    ) -> Result<Option<Complete<O, D>>, Fault> {
        if self.parts.len() < self.shares {
            return Ok(None);
        }
        let Some(Aligned { epoch, seals, early }) = self.alignment.open_next() else { return Ok(None) };
        if let Some((under_way, _)) = self.under_way {
            return Err(Fault::TwoCommits { complete: epoch, under_way });
        }
        let parts = mem::take(&mut self.parts);
        let announces = mem::take(&mut self.is_first);
        let ends: Vec<_> = seals.iter().map(|seal| seal.next).collect();
        let work = Work { announces, has_records: has_records(&parts), ends: &ends };
        let verdict = if is_due(work, &self.committed, now.saturating_sub(self.committed_at)) {
            self.under_way = Some((epoch, ends));
            Verdict::Commit { announces }
        } else {
            Verdict::Skip
        };
        Ok(Some(Complete { epoch, seals, parts, verdict, early }))
    }

    /// The commit of `epoch` came back. Returns whether it was the one under way.
    pub fn committed(&mut self, epoch: Epoch, now: Duration) -> bool {
        let Some((_, ends)) = self.under_way.take_if(|(under_way, _)| *under_way == epoch) else {
            return false;
        };
        (self.committed, self.committed_at) = (ends, now);
        true
    }

    /// Whether the commit of `epoch` is under way.
    #[must_use]
    pub fn is_under_way(&self, epoch: Epoch) -> bool {
        self.under_way.as_ref().is_some_and(|(under_way, _)| *under_way == epoch)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{epoch::barrier::Cut, time::watermark::PartitionMark};

    const NOW: Duration = Duration::from_secs(1);
    const A: PartitionId = PartitionId(0);
    const B: PartitionId = PartitionId(1);

    type Both = Commits<&'static str, char>;

    /// Two partitions and two shares of the windows.
    fn commits(announces: bool) -> Both {
        Commits::new(Epoch(7), vec![NextOffset(10), NextOffset(20)], 2, announces, Duration::ZERO)
    }

    fn seal(epoch: u64, partition: PartitionId, next: i64) -> Seal {
        let cut = Cut { epoch: Epoch(epoch), at: NOW, log_is_up: true, drain: false };
        Seal { cut, partition, next: NextOffset(next), mark: PartitionMark::default(), highest: None }
    }

    fn seal_both(commits: &mut Both, epoch: u64, ends: [i64; 2]) {
        commits.seal(seal(epoch, A, ends[0])).unwrap();
        assert!(commits.seal(seal(epoch, B, ends[1])).unwrap());
    }

    fn give_parts(commits: &mut Both, epoch: u64) {
        commits.part(Epoch(epoch), 'x').unwrap();
        commits.part(Epoch(epoch), 'y').unwrap();
    }

    fn verdict(commits: &mut Both, has_records: bool) -> Option<Verdict> {
        commits.complete(NOW, |_| has_records).unwrap().map(|complete| complete.verdict)
    }

    #[test]
    fn an_epoch_is_complete_with_all_seals_and_all_parts_in_whatever_order() {
        for seals_first in [true, false] {
            let mut commits = commits(false);
            if seals_first {
                seal_both(&mut commits, 7, [11, 20]);
                assert_eq!(verdict(&mut commits, true), None);
                give_parts(&mut commits, 7);
            } else {
                give_parts(&mut commits, 7);
                assert_eq!(verdict(&mut commits, true), None);
                seal_both(&mut commits, 7, [11, 20]);
            }
            let complete = commits.complete(NOW, |_| true).unwrap().unwrap();
            assert_eq!((complete.epoch, complete.parts), (Epoch(7), vec!['x', 'y']));
            assert_eq!(complete.verdict, Verdict::Commit { announces: false });
        }
    }

    #[test]
    fn one_part_too_few_is_not_complete() {
        let mut commits = commits(false);
        seal_both(&mut commits, 7, [11, 20]);
        commits.part(Epoch(7), 'x').unwrap();
        assert_eq!(verdict(&mut commits, true), None);
    }

    #[test]
    fn an_epoch_that_did_nothing_is_skipped_and_one_that_moved_a_position_is_not() {
        let mut commits = commits(false);
        seal_both(&mut commits, 7, [10, 20]);
        give_parts(&mut commits, 7);
        assert_eq!(verdict(&mut commits, false), Some(Verdict::Skip));
        seal_both(&mut commits, 8, [10, 21]);
        give_parts(&mut commits, 8);
        assert_eq!(verdict(&mut commits, false), Some(Verdict::Commit { announces: false }));
    }

    #[test]
    fn the_first_epoch_of_a_writer_is_committed_in_any_case_and_only_that_names_the_owner() {
        let mut commits = commits(true);
        seal_both(&mut commits, 7, [10, 20]);
        give_parts(&mut commits, 7);
        assert_eq!(verdict(&mut commits, false), Some(Verdict::Commit { announces: true }));
        assert!(commits.committed(Epoch(7), NOW));
        seal_both(&mut commits, 8, [10, 20]);
        give_parts(&mut commits, 8);
        assert_eq!(verdict(&mut commits, false), Some(Verdict::Skip));
    }

    #[test]
    fn positions_count_as_committed_once_their_commit_came_back() {
        let mut commits = commits(false);
        seal_both(&mut commits, 7, [11, 20]);
        give_parts(&mut commits, 7);
        verdict(&mut commits, true);
        assert!(commits.is_under_way(Epoch(7)));
        assert!(!commits.committed(Epoch(6), NOW), "of another epoch");
        assert!(commits.committed(Epoch(7), NOW));
        assert!(!commits.is_under_way(Epoch(7)));
        seal_both(&mut commits, 8, [11, 20]);
        give_parts(&mut commits, 8);
        assert_eq!(verdict(&mut commits, false), Some(Verdict::Skip));
    }

    #[test]
    fn a_part_of_another_epoch_is_a_fault() {
        let mut commits = commits(false);
        let fault = commits.part(Epoch(8), 'x').unwrap_err();
        assert_eq!(fault.to_string(), "a part of epoch 8 came from the windows while epoch 7 is open");
    }

    #[test]
    fn two_commits_at_a_time_are_a_fault() {
        let mut commits = commits(false);
        seal_both(&mut commits, 7, [11, 20]);
        give_parts(&mut commits, 7);
        verdict(&mut commits, true);
        seal_both(&mut commits, 8, [12, 20]);
        give_parts(&mut commits, 8);
        let fault = commits.complete(NOW, |_| true).unwrap_err();
        assert_eq!(fault, Fault::TwoCommits { complete: Epoch(8), under_way: Epoch(7) });
    }

    #[test]
    fn output_of_the_next_epoch_comes_with_the_one_it_waited_for() {
        let mut commits = commits(false);
        commits.seal(seal(7, A, 11)).unwrap();
        assert_eq!(commits.admit(Epoch(8), A, "early"), Ok(None));
        assert_eq!(commits.admit(Epoch(7), B, "now"), Ok(Some("now")));
        commits.seal(seal(7, B, 20)).unwrap();
        give_parts(&mut commits, 7);
        assert_eq!(commits.complete(NOW, |_| true).unwrap().unwrap().early, ["early"]);
    }
}
