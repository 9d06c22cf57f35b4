//! What to do about a transaction that the broker ended without writing all of its markers: the pure decision.
//!
//! When the transaction coordinator ends a transaction while a partition of it has no leader, Kafka (seen with
//! 4.3.1) takes that partition for deleted, writes no marker there and calls the transaction complete. Its records
//! stay open in that partition, and the next transaction of the same id decides about them too: a commit would make
//! records of an epoch that was rolled back visible, an abort would take records of a committed epoch away. So
//! whoever takes over looks for what was left open before it writes anything.
//!
//! The evidence is in the log alone, so that it does not matter who looks:
//!
//! - A partition is **open** if its last stable offset stays below its high watermark.
//! - Every commit keeps with the input offsets how far each output partition was written
//!   ([`OutputPartition::committed_to`]). What is open below that belongs to the committed epoch and lost its
//!   commit marker; what is open above it was rolled back and lost its abort marker.
//! - The offsets themselves may be **pending**, if their partition was without a leader. Every commit writes a
//!   Progress record to the state topic too, and one of the two tells about the other.
//!
//! Something is done about it in [`Step`]s, each of which is decided by facts that are gathered anew. Whoever dies in
//! between leaves facts from which the next one goes on.

use std::fmt;

use crate::{Epoch, NextOffset};

/// An output partition as it is after the takeover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPartition {
    /// Name of its topic.
    pub topic: String,
    /// Its number.
    pub partition: u32,
    /// The last stable offset: all before it is decided.
    pub stable: NextOffset,
    /// The high watermark.
    pub end: NextOffset,
    /// One past the last record of the last committed epoch and those before; `None` if that is not known.
    pub committed_to: Option<NextOffset>,
    /// A transaction that wrote to it was aborted in this takeover, so what is still open is not ours.
    pub was_aborted: bool,
}

impl OutputPartition {
    fn is_open(&self) -> bool {
        self.stable < self.end
    }
}

/// The group's input offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offsets {
    /// Decided.
    Stable,
    /// A transaction that is complete has left new ones pending.
    Pending {
        /// What is known of that transaction.
        fate: Fate,
    },
}

/// What the state topic and the outputs tell about a transaction whose offsets are pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// The epoch that the last stable offsets name.
    pub named: Option<Epoch>,
    /// The last epoch of which a committed progress record is in the state topic.
    pub recorded: Option<Epoch>,
    /// The partition with the progress record is open: the record of the pending offsets may be there.
    pub is_record_open: bool,
    /// Whether committed records stand beyond [`OutputPartition::committed_to`] in any output partition; `None` if
    /// that cannot be told.
    pub is_output_visible: Option<bool>,
}

/// Records of a committed epoch that have to be written again: their commit marker is missing, and closing their
/// transaction takes them away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Name of the topic.
    pub topic: String,
    /// Number of the partition.
    pub partition: u32,
    /// The first offset.
    pub from: NextOffset,
    /// One past the last.
    pub to: NextOffset,
}

/// All that the decision needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The input offsets.
    pub offsets: Offsets,
    /// Whether any epoch was ever committed.
    pub is_first: bool,
    /// Every output partition.
    pub outputs: Vec<OutputPartition>,
    /// What was noted as lost and is not written again yet.
    pub noted: Vec<Lost>,
    /// What a person says where the evidence is not enough: `true` takes what is open for committed.
    pub verdict: Option<bool>,
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing is left open by us. Partitions in the list have a transaction of another producer open.
    Done {
        /// Places in [`Facts::outputs`].
        foreign: Vec<usize>,
    },
    /// Commit a transaction that has nothing but the group in it: the pending offsets become stable.
    CommitOffsets,
    /// Abort such a transaction: the pending offsets are dropped.
    AbortOffsets,
    /// Keep with the group, durably, what has to be written again; only then anything may be aborted.
    Note(Vec<Lost>),
    /// Abort a transaction that writes one record to each of these places in [`Facts::outputs`]: its markers close
    /// what is open.
    Abort(Vec<usize>),
    /// Write what was noted again, and forget the note in the same transaction.
    Restore(Vec<Lost>),
    /// The evidence is not enough: a person has to decide.
    Refuse(Unclear),
}

/// Why a person has to decide.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// Pending offsets, and nothing tells what became of their transaction.
    #[error(
        "the broker ended the last transaction without a marker for the group's offsets, and nothing tells whether it was \
         committed; look at the end of the output topics: `tidegate offsets settle --commit` takes it for committed, \
         `--abort` for rolled back"
    )]
    Offsets,
    /// Open records, and nothing tells which epoch they belong to.
    #[error(
        "the broker ended a transaction without a marker in {place}, and nothing tells whether the records from offset {from} \
         on belong to a committed epoch; look at them: `tidegate offsets settle --commit` takes them for committed, `--abort` \
         for rolled back"
    )]
    Records {
        /// Topic and partition.
        place: Place,
        /// The first open offset.
        from: NextOffset,
    },
    /// Another producer's open transaction covers what has to be written again.
    #[error(
        "another producer has a transaction open in {place} at offset {from}, over records that lost their commit marker and \
         have to be written again; end that transaction and start again"
    )]
    Foreign {
        /// Topic and partition.
        place: Place,
        /// The first open offset.
        from: NextOffset,
    },
}

/// A partition of a topic, as people write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub String, pub u32);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of {}", self.1, self.0)
    }
}

/// Decides the next step.
///
/// | offsets | what is open | step |
/// |---|---|---|
/// | pending | | commit them, or abort them, by [`Fate`]; refuse if it tells nothing |
/// | stable | records below `committed_to` that are not noted | note them |
/// | stable | anything that no abort of ours has closed yet | abort |
/// | stable | still something, over what is noted | refuse |
/// | stable | nothing of ours, and something is noted | write it again |
/// | stable | nothing of ours | done |
///
/// Offsets come first, since they tell which epoch is the last committed one.
#[must_use]
pub fn decide(facts: &Facts) -> Step {
    if let Offsets::Pending { fate } = facts.offsets {
        return match was_committed(fate).or(facts.verdict) {
            Some(true) => Step::CommitOffsets,
            Some(false) => Step::AbortOffsets,
            None => Step::Refuse(Unclear::Offsets),
        };
    }
    close(facts).unwrap_or_else(Step::Refuse)
}

/// Whether the transaction of pending offsets was committed, as far as that can be told.
fn was_committed(fate: Fate) -> Option<bool> {
    let Fate { named, recorded, is_record_open, is_output_visible } = fate;
    if recorded > named {
        return Some(true);
    }
    // Its progress record got the abort marker.
    if !is_record_open && recorded.is_some() {
        return Some(false);
    }
    // No marker at either place. If no other partition got a commit marker, nobody has seen anything of it, and it may
    // be taken for rolled back whatever the broker had decided.
    is_output_visible
}

fn close(facts: &Facts) -> Result<Step, Unclear> {
    let mut lost = Vec::new();
    let (mut ours, mut foreign) = (Vec::new(), Vec::new());
    for (index, output) in facts.outputs.iter().enumerate().filter(|(_, output)| output.is_open()) {
        let place = || Place(output.topic.clone(), output.partition);
        let is_noted =
            facts.noted.iter().any(|lost| lost.topic == output.topic && lost.partition == output.partition);
        if output.was_aborted {
            if is_noted {
                return Err(Unclear::Foreign { place: place(), from: output.stable });
            }
            foreign.push(index);
            continue;
        }
        match output.committed_to {
            _ if is_noted || facts.is_first => {}
            None if facts.verdict == Some(false) => {}
            None if facts.verdict == Some(true) => lost.push(Lost {
                topic: output.topic.clone(),
                partition: output.partition,
                from: output.stable,
                to: output.end,
            }),
            None => return Err(Unclear::Records { place: place(), from: output.stable }),
            Some(to) if output.stable < to => lost.push(Lost {
                topic: output.topic.clone(),
                partition: output.partition,
                from: output.stable,
                to,
            }),
            Some(_) => {}
        }
        ours.push(index);
    }
    if !lost.is_empty() {
        return Ok(Step::Note(facts.noted.iter().cloned().chain(lost).collect()));
    }
    if !ours.is_empty() {
        return Ok(Step::Abort(ours));
    }
    if !facts.noted.is_empty() {
        return Ok(Step::Restore(facts.noted.clone()));
    }
    Ok(Step::Done { foreign })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Fate = Fate {
        named: Some(Epoch(6)),
        recorded: Some(Epoch(6)),
        is_record_open: true,
        is_output_visible: None,
    };

    fn output(stable: i64, end: i64, committed_to: Option<i64>) -> OutputPartition {
        OutputPartition {
            topic: "processed".into(),
            partition: 3,
            stable: NextOffset(stable),
            end: NextOffset(end),
            committed_to: committed_to.map(NextOffset),
            was_aborted: false,
        }
    }

    fn aborted(output: OutputPartition) -> OutputPartition {
        OutputPartition { was_aborted: true, ..output }
    }

    fn lost(from: i64, to: i64) -> Lost {
        Lost { topic: "processed".into(), partition: 3, from: NextOffset(from), to: NextOffset(to) }
    }

    fn step(outputs: &[OutputPartition], noted: &[Lost]) -> Step {
        decide(&Facts {
            offsets: Offsets::Stable,
            is_first: false,
            outputs: outputs.to_vec(),
            noted: noted.to_vec(),
            verdict: None,
        })
    }

    fn pending(fate: Fate) -> Step {
        let outputs = vec![output(5, 9, Some(9))];
        decide(&Facts {
            offsets: Offsets::Pending { fate },
            is_first: false,
            outputs,
            noted: Vec::new(),
            verdict: None,
        })
    }

    #[test]
    fn where_nothing_is_open_nothing_is_done() {
        assert_eq!(step(&[output(9, 9, Some(9)), output(9, 9, None)], &[]), Step::Done { foreign: vec![] });
    }

    #[test]
    fn records_beyond_the_last_committed_epoch_were_rolled_back_and_are_closed() {
        assert_eq!(step(&[output(9, 9, None), output(5, 9, Some(5))], &[]), Step::Abort(vec![1]));
        assert_eq!(step(&[output(5, 9, Some(3))], &[]), Step::Abort(vec![0]));
    }

    #[test]
    fn records_of_the_committed_epoch_are_noted_before_they_are_closed_and_then_written_again() {
        let open = output(5, 9, Some(7));
        let noted = [lost(5, 7)];
        assert_eq!(step(std::slice::from_ref(&open), &[]), Step::Note(noted.to_vec()));
        assert_eq!(step(&[open], &noted), Step::Abort(vec![0]));
        assert_eq!(step(&[output(10, 10, Some(7))], &noted), Step::Restore(noted.to_vec()));
        assert_eq!(step(&[output(12, 12, Some(7))], &[]), Step::Done { foreign: vec![] });
    }

    #[test]
    fn what_was_noted_before_stays_noted_when_more_is_found() {
        let other = Lost { partition: 4, ..lost(1, 2) };
        let all = Step::Note(vec![other.clone(), lost(5, 7)]);
        assert_eq!(step(&[output(5, 9, Some(7))], &[other]), all);
    }

    #[test]
    fn what_is_open_after_an_abort_of_ours_belongs_to_another_producer() {
        assert_eq!(step(&[aborted(output(5, 9, Some(5)))], &[]), Step::Done { foreign: vec![0] });
        assert_eq!(step(&[aborted(output(5, 9, None))], &[]), Step::Done { foreign: vec![0] });
    }

    #[test]
    fn another_producers_transaction_over_lost_records_is_refused() {
        let refused = step(&[aborted(output(5, 9, Some(7)))], &[lost(5, 7)]);
        assert!(matches!(refused, Step::Refuse(Unclear::Foreign { from: NextOffset(5), .. })), "{refused:?}");
    }

    #[test]
    fn open_records_of_an_unknown_epoch_are_refused_unless_nothing_was_ever_committed() {
        let refused = step(&[output(5, 9, None)], &[]);
        assert!(matches!(refused, Step::Refuse(Unclear::Records { from: NextOffset(5), .. })), "{refused:?}");
        let first = Facts {
            offsets: Offsets::Stable,
            is_first: true,
            outputs: vec![output(5, 9, None)],
            noted: Vec::new(),
            verdict: None,
        };
        assert_eq!(decide(&first), Step::Abort(vec![0]));
    }

    #[test]
    fn pending_offsets_are_committed_if_their_progress_record_is_or_any_output() {
        assert_eq!(pending(Fate { recorded: Some(Epoch(7)), ..NOBODY }), Step::CommitOffsets);
        assert_eq!(pending(Fate { is_output_visible: Some(true), ..NOBODY }), Step::CommitOffsets);
        let first = Fate { named: None, recorded: Some(Epoch(1)), ..NOBODY };
        assert_eq!(pending(first), Step::CommitOffsets);
    }

    #[test]
    fn pending_offsets_are_dropped_if_their_progress_record_was_or_nobody_has_seen_anything() {
        assert_eq!(pending(Fate { is_record_open: false, ..NOBODY }), Step::AbortOffsets);
        assert_eq!(pending(Fate { is_output_visible: Some(false), ..NOBODY }), Step::AbortOffsets);
    }

    #[test]
    fn pending_offsets_without_any_evidence_are_refused() {
        assert_eq!(pending(NOBODY), Step::Refuse(Unclear::Offsets));
        let no_records = Fate { recorded: None, is_record_open: false, ..NOBODY };
        assert_eq!(pending(no_records), Step::Refuse(Unclear::Offsets));
    }

    #[test]
    fn where_the_evidence_is_not_enough_a_person_decides() {
        let facts = |verdict| Facts {
            offsets: Offsets::Stable,
            is_first: false,
            outputs: vec![output(5, 9, None)],
            noted: Vec::new(),
            verdict: Some(verdict),
        };
        assert_eq!(decide(&facts(true)), Step::Note(vec![lost(5, 9)]));
        assert_eq!(decide(&facts(false)), Step::Abort(vec![0]));
        let pending = |verdict| Facts { offsets: Offsets::Pending { fate: NOBODY }, ..facts(verdict) };
        assert_eq!(decide(&pending(true)), Step::CommitOffsets);
        assert_eq!(decide(&pending(false)), Step::AbortOffsets);
    }

    #[test]
    fn the_steps_always_come_to_an_end_and_never_commit_open_records() {
        // Every combination of one partition: each step is applied as the broker would.
        for committed_to in [None, Some(4), Some(7), Some(9)] {
            for stable in 4..=9 {
                for foreign in [false, true] {
                    for noted in [vec![], vec![lost(4, 7)]] {
                        let mut facts = Facts {
                            offsets: Offsets::Stable,
                            is_first: false,
                            outputs: vec![output(stable, 9, committed_to)],
                            noted,
                            verdict: None,
                        };
                        let steps = (0..5).find(|_| match decide(&facts) {
                            Step::Note(lost) => {
                                facts.noted = lost;
                                false
                            }
                            Step::Abort(_) => {
                                facts.outputs[0].was_aborted = true;
                                if !foreign {
                                    facts.outputs[0].stable = facts.outputs[0].end;
                                }
                                false
                            }
                            Step::Restore(_) => {
                                facts.noted.clear();
                                false
                            }
                            Step::Done { .. } | Step::Refuse(_) => true,
                            offsets => unreachable!("{offsets:?}"),
                        });
                        assert!(steps.is_some(), "no end: {facts:?}");
                    }
                }
            }
        }
    }
}
