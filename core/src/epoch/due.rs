//! Whether an epoch is committed, or is so empty that nobody would miss it.

use std::time::Duration;

use crate::NextOffset;

/// Committed offsets expire when nothing is committed for a week; an idle daemon commits this often.
const KEEP_ALIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// What an epoch did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    /// The first commit of a writer names its owner.
    pub(super) announces: bool,
    /// It read records, or raised alerts, or changed windows.
    pub(super) has_records: bool,
    /// Where it ends, by input partition.
    pub(super) ends: &'a [NextOffset],
}

/// Whether an epoch is to be committed, after the last commit ended at `committed` and this long ago. Positions may move
/// on without a record: past control records, or past what was rolled back in the input. Left uncommitted, they would be
/// a lag for ever in the eyes of Kafka's own tools.
#[must_use]
pub(super) fn is_due(work: Work<'_>, committed: &[NextOffset], since: Duration) -> bool {
    let has_moved = work.ends.iter().zip(committed).any(|(end, committed)| end > committed);
    work.announces || work.has_records || has_moved || since >= KEEP_ALIVE
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: [NextOffset; 2] = [NextOffset(5), NextOffset(7)];
    const NOTHING: Work<'_> = Work { announces: false, has_records: false, ends: &COMMITTED };
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_epoch_that_did_nothing_is_not_committed() {
        assert!(!is_due(NOTHING, &COMMITTED, HOUR));
    }

    #[test]
    fn records_an_owner_to_be_named_or_a_position_that_moved_make_a_commit() {
        assert!(is_due(Work { has_records: true, ..NOTHING }, &COMMITTED, HOUR));
        assert!(is_due(Work { announces: true, ..NOTHING }, &COMMITTED, HOUR));
        assert!(is_due(Work { ends: &[NextOffset(5), NextOffset(8)], ..NOTHING }, &COMMITTED, HOUR));
    }

    #[test]
    fn an_idle_daemon_commits_once_a_day_so_that_its_offsets_do_not_expire() {
        assert!(is_due(NOTHING, &COMMITTED, 24 * HOUR));
        assert!(!is_due(NOTHING, &COMMITTED, 23 * HOUR));
    }
}
