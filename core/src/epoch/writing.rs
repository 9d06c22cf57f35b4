//! The writer across generations: which commands still count, and whether the open epoch can be given up on the same
//! writer.

use crate::{Generation, NextOffset, PartitionId};

/// What the writer has done. It outlives generations: a recovery that can give up the open epoch on it needs no other.
#[derive(Debug, Clone)]
pub struct Writing {
    /// Generation of the last command that counted.
    current: Generation,
    has_failed: bool,
    committed: Vec<Option<(NextOffset, String)>>,
}

impl Writing {
    /// A writer that took over what is committed, by input partition.
    #[must_use]
    pub fn new(committed: Vec<Option<(NextOffset, String)>>) -> Self {
        Self { current: Generation::default(), has_failed: false, committed }
    }

    /// Whether a command of `of` is to be carried out: it is of the generation that lives, or a newer one, and nothing
    /// has failed. Commands of a generation that has ended would mix its output with that of the next.
    pub fn admits(&mut self, of: Generation, living: Generation) -> bool {
        if of < living {
            return false;
        }
        self.current = of;
        !self.has_failed
    }

    /// Generation of the last command that counted.
    #[must_use]
    pub fn current(&self) -> Generation {
        self.current
    }

    /// An append or a commit failed, or nobody knows whether it did: the open epoch cannot be committed any more.
    pub fn fail(&mut self) {
        self.has_failed = true;
    }

    /// A commit came back: these offsets are committed.
    pub fn commit(&mut self, offsets: impl IntoIterator<Item = (PartitionId, NextOffset, String)>) {
        for (partition, next, metadata) in offsets {
            if let Some(committed) = self.committed.get_mut(partition.0 as usize) {
                *committed = Some((next, metadata));
            }
        }
    }

    /// What is committed, if the open epoch can be given up on this writer; `is_clean`: its client saw no error either.
    /// After one the log has to be asked, by a new writer.
    #[must_use]
    pub fn roll_back(&self, is_clean: bool) -> Option<Vec<Option<(NextOffset, String)>>> {
        (is_clean && !self.has_failed).then(|| self.committed.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Generation = Generation(1);
    const NEW: Generation = Generation(2);

    fn writing() -> Writing {
        Writing::new(vec![None, Some((NextOffset(5), "five".into()))])
    }

    #[test]
    fn commands_of_a_generation_that_has_ended_are_skipped() {
        let mut writing = writing();
        assert!(writing.admits(OLD, OLD));
        assert!(!writing.admits(OLD, NEW));
        assert_eq!(writing.current(), OLD);
        assert!(writing.admits(NEW, NEW));
    }

    #[test]
    fn after_a_failure_nothing_more_is_carried_out_and_the_writer_is_of_no_more_use() {
        let mut writing = writing();
        writing.fail();
        assert!(!writing.admits(OLD, OLD));
        assert_eq!(writing.roll_back(true), None);
    }

    #[test]
    fn a_rollback_goes_back_to_what_was_committed_last() {
        let mut writing = writing();
        writing.commit([(PartitionId(0), NextOffset(9), "nine".into())]);
        let committed = vec![Some((NextOffset(9), "nine".into())), Some((NextOffset(5), "five".into()))];
        assert_eq!(writing.roll_back(true), Some(committed));
        assert_eq!(writing.roll_back(false), None, "its client saw an error");
    }
}
