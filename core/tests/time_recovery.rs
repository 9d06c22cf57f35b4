//! The recovery decision over all combinations of facts, against predicates that know nothing of its order.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tidegate_core::{
    Epoch, NextOffset, PartitionId, TimestampMs, TopicId,
    epoch::{EpochMark, TopicIds},
    recovery::{
        ChangelogFacts, Decision, Facts, OffsetRange, ReadFrom, Refusal, Resume, StartAt, StoreAction,
        StoreFacts, decide,
    },
};

const BEGIN: NextOffset = NextOffset(100);
const END: NextOffset = NextOffset(200);
const TOPICS: TopicIds = TopicIds { input: Some(TopicId(1)), state: Some(TopicId(2)) };
const WATERMARK: Option<TimestampMs> = Some(TimestampMs(55));

/// What a partition's committed metadata can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metadata {
    Foreign,
    Unreadable,
    Epoch(u64),
    /// Of epoch 5, but of another process.
    OtherOwner,
}

type Committed = Option<(i64, Metadata)>;

/// One combination; `before` is the number of partitions that all marks name.
#[derive(Debug, Clone)]
struct Case {
    committed: [Committed; 3],
    before: u32,
    store: StoreFacts,
    /// The highest epoch in the changelog, if it is asked for.
    changelog: Option<u64>,
    start: StartAt,
}

const HOUR: Duration = Duration::from_secs(3600);

fn at(epoch: u64, reaches: u64, age: Duration) -> StoreFacts {
    StoreFacts::At { epoch: Epoch(epoch), reaches: Epoch(reaches), age }
}

fn mark(metadata: Metadata, before: u32, highest: i64) -> String {
    let mark = |epoch, owner| EpochMark {
        epoch: Epoch(epoch),
        owner,
        partitions: before,
        highest: Some(TimestampMs(highest)),
        watermark: WATERMARK,
        topics: TOPICS,
    };
    match metadata {
        Metadata::Foreign => "AgAAAYrn".to_owned(),
        Metadata::Unreadable => "tidegate/9 x".to_owned(),
        Metadata::Epoch(epoch) => mark(epoch, 1).encode(),
        Metadata::OtherOwner => mark(5, 2).encode(),
    }
}

impl Case {
    fn facts(&self) -> Facts {
        let committed = self.committed.iter().enumerate().map(|(index, committed)| {
            committed
                .map(|(offset, metadata)| (NextOffset(offset), mark(metadata, self.before, index as i64)))
        });
        Facts {
            committed: committed.collect(),
            ranges: Some(vec![OffsetRange { begin: BEGIN, end: END }; 3]),
            start: self.start,
            began_at: None,
            used: Epoch(3),
            store: self.store.clone(),
            topics: TOPICS,
        }
    }

    /// The whole decision, and from where the changelog was read for it.
    fn decide(&self) -> (Result<Resume, Refusal>, Option<ReadFrom>) {
        match decide(&self.facts()) {
            Ok(Decision::Go(resume)) => (Ok(resume), None),
            Ok(Decision::ReadChangelog(undecided)) => {
                let highest_epoch = self.changelog.map(Epoch);
                let from = undecided.from();
                (undecided.decide(ChangelogFacts::Read { highest_epoch }), Some(from))
            }
            Err(refusal) => (Err(refusal), None),
        }
    }

    fn metadata(&self) -> impl Iterator<Item = Metadata> {
        self.committed.iter().flatten().map(|(_, metadata)| *metadata)
    }

    fn nothing_committed(&self) -> bool {
        self.committed.iter().all(Option::is_none)
    }

    fn has_marks(&self) -> bool {
        self.metadata().any(|metadata| matches!(metadata, Metadata::Epoch(_) | Metadata::OtherOwner))
    }

    fn unreadable(&self) -> bool {
        self.metadata().any(|metadata| metadata == Metadata::Unreadable)
    }

    fn removed(&self) -> bool {
        self.has_marks() && self.before > 3
    }

    fn missing(&self) -> bool {
        self.has_marks() && self.committed.iter().take(self.before as usize).any(Option::is_none)
    }

    /// The one epoch that all old partitions are at, and no new partition has an offset.
    fn epoch(&self) -> Option<u64> {
        let (old, new) = self.committed.split_at_checked(self.before as usize)?;
        let first = old.first()?.as_ref()?.1;
        let together = old.iter().all(|committed| committed.is_some_and(|(_, metadata)| metadata == first));
        match first {
            _ if !together || new.iter().any(Option::is_some) => None,
            Metadata::Epoch(epoch) => Some(epoch),
            Metadata::OtherOwner => Some(5),
            Metadata::Foreign | Metadata::Unreadable => None,
        }
    }

    fn beyond_end(&self) -> bool {
        self.committed.iter().flatten().any(|(offset, _)| *offset > END.0)
    }

    fn before_begin(&self) -> bool {
        self.committed.iter().flatten().any(|(offset, _)| *offset < BEGIN.0)
    }

    fn store(&self) -> Option<(u64, u64, Duration)> {
        match self.store {
            StoreFacts::At { epoch, reaches, age } => Some((epoch.0, reaches.0, age)),
            StoreFacts::Missing | StoreFacts::Damaged(_) => None,
        }
    }

    fn store_is_usable(&self) -> bool {
        self.epoch().is_some_and(|epoch| self.store().is_some_and(|(at, to, _)| (at, to) == (epoch, epoch)))
    }

    /// The highest epoch that the state is known to have.
    fn state_epoch(&self) -> Option<u64> {
        self.store().map(|(_, reaches, _)| reaches).max(self.changelog)
    }

    /// The changelog is ahead of the marks, or the marks are missing and there is state.
    fn state_ahead(&self) -> bool {
        match self.epoch() {
            Some(epoch) => !self.store_is_usable() && self.changelog > Some(epoch),
            None => !self.has_marks() && !self.nothing_committed() && self.state_epoch().is_some(),
        }
    }

    fn state_without_offsets(&self) -> bool {
        self.nothing_committed() && self.state_epoch().is_some()
    }

    fn disagree(&self) -> bool {
        self.has_marks() && self.epoch().is_none() && !self.removed() && !self.missing() && !self.unreadable()
    }

    fn must_be_refused(&self) -> bool {
        self.unreadable()
            || self.removed()
            || self.missing()
            || self.disagree()
            || self.beyond_end()
            || self.before_begin()
            || self.state_ahead()
            || self.state_without_offsets()
            || self.state_missing()
    }

    /// An epoch is committed, but the changelog has nothing and the store is not there either.
    fn state_missing(&self) -> bool {
        self.epoch().is_some() && self.changelog.is_none() && !self.store_is_usable()
    }

    fn positions(&self) -> Vec<NextOffset> {
        let latest = self.nothing_committed() && self.start == StartAt::Latest;
        let other = if latest { END } else { BEGIN };
        self.committed
            .iter()
            .map(|committed| committed.map_or(other, |(offset, _)| NextOffset(offset)))
            .collect()
    }

    fn resume(&self) -> Resume {
        let epoch = self.epoch();
        let store = match self.store {
            StoreFacts::Damaged(_) => StoreAction::Rebuild { put_aside: true },
            StoreFacts::Missing => StoreAction::Rebuild { put_aside: false },
            StoreFacts::At { .. } if self.store_is_usable() => StoreAction::Use,
            StoreFacts::At { reaches, .. } if Some(reaches.0) > epoch => {
                StoreAction::Rebuild { put_aside: true }
            }
            StoreFacts::At { epoch: at, reaches, age } if reaches > at || age > 6 * HOUR => {
                StoreAction::Rebuild { put_aside: false }
            }
            StoreFacts::At { .. } => StoreAction::CatchUp,
        };
        let highest = |(index, committed): (usize, &Committed)| {
            committed.filter(|_| epoch.is_some()).map(|_| TimestampMs(index as i64))
        };
        let known = self.store().map(|(_, reaches, _)| reaches).max(epoch).max(Some(3));
        Resume {
            epoch: epoch.map(Epoch),
            first: Epoch(known.unwrap() + 1),
            positions: self.positions(),
            highest: self.committed.iter().enumerate().map(highest).collect(),
            watermark: epoch.and(WATERMARK),
            store,
        }
    }

    /// A refusal must be true: what it says is so.
    fn justifies(&self, refusal: &Refusal) -> bool {
        match refusal {
            Refusal::OffsetsMissing { partitions, .. } => {
                let are_missing = |id: &PartitionId| self.committed[id.0 as usize].is_none();
                (self.missing() || self.state_without_offsets())
                    && !partitions.is_empty()
                    && partitions.iter().all(are_missing)
            }
            Refusal::OffsetBeyondEnd { partition, offset, end } => {
                let committed = self.committed[partition.0 as usize].unwrap().0;
                self.beyond_end() && committed == offset.0 && offset > end && *end == END
            }
            Refusal::OffsetBeforeBegin { partition, offset, begin } => {
                let committed = self.committed[partition.0 as usize].unwrap().0;
                self.before_begin() && committed == offset.0 && offset < begin && *begin == BEGIN
            }
            Refusal::EpochsDisagree { .. } => self.disagree(),
            Refusal::MetadataUnreadable { partition, .. } => {
                self.committed[partition.0 as usize].unwrap().1 == Metadata::Unreadable
            }
            Refusal::PartitionsRemoved { before, now } => {
                self.removed() && (*before, *now) == (self.before, 3)
            }
            // All cases are of the same topics, and of a changelog that can be read.
            Refusal::TopicReplaced { .. }
            | Refusal::ChangelogShorter { .. }
            | Refusal::ChangelogUnreadable { .. } => false,
            Refusal::StateMissing { epoch } => self.state_missing() && self.epoch() == Some(epoch.0),
            Refusal::StateAhead { committed, state } => {
                let known = [self.store().map(|(_, reaches, _)| reaches), self.changelog];
                self.state_ahead() && *committed == self.epoch().map(Epoch) && known.contains(&Some(state.0))
            }
        }
    }

    fn check(&self) {
        let (decided, read_from) = self.decide();
        match decided {
            Err(refusal) => {
                assert!(self.must_be_refused() && self.justifies(&refusal), "{self:?}: {refusal}");
            }
            Ok(resume) => {
                assert!(!self.must_be_refused(), "{self:?} is not refused: {resume:?}");
                assert_eq!(resume, self.resume(), "{self:?}");
                let from = match resume.store {
                    StoreAction::Use => None,
                    StoreAction::CatchUp => Some(ReadFrom::Store),
                    StoreAction::Rebuild { .. } => Some(ReadFrom::Begin),
                };
                assert_eq!(read_from, from, "{self:?}");
            }
        }
    }
}

fn all_committed() -> Vec<Committed> {
    use Metadata::{Epoch, Foreign, OtherOwner, Unreadable};
    let mut all = vec![None];
    all.extend([Foreign, Unreadable, Epoch(5), Epoch(6), OtherOwner].map(|metadata| Some((150, metadata))));
    // Both ends of the log are in it.
    for metadata in [Foreign, Epoch(5)] {
        all.extend([99, 100, 200, 201].map(|offset| Some((offset, metadata))));
    }
    all
}

#[test]
fn every_combination_of_facts_is_decided_as_the_rules_say() {
    let committed = all_committed();
    let mut stores = vec![StoreFacts::Missing, StoreFacts::Damaged("torn".into())];
    stores.extend([4, 5, 6, 7].map(|epoch| at(epoch, epoch, HOUR)));
    // Half applied, and not written to for long.
    stores.extend([at(4, 5, HOUR), at(4, 7, HOUR), at(5, 6, HOUR), at(4, 4, 7 * HOUR), at(5, 5, 7 * HOUR)]);
    let changelogs = [None, Some(4), Some(5), Some(6), Some(7)];
    for &first in &committed {
        for &second in &committed {
            for &third in &committed {
                for before in [2, 3, 4] {
                    for store in &stores {
                        for changelog in changelogs {
                            for start in [StartAt::Latest, StartAt::Earliest] {
                                let committed = [first, second, third];
                                Case { committed, before, store: store.clone(), changelog, start }.check();
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_a_person_can_do() {
    let mut case = Case {
        committed: [Some((150, Metadata::Epoch(5))), None, None],
        before: 3,
        store: StoreFacts::Missing,
        changelog: None,
        start: StartAt::Latest,
    };
    let words = |case: &Case| case.decide().0.unwrap_err().to_string();
    assert_eq!(
        words(&case),
        "no offset is committed for input partitions 1, 2, although epoch 5 was; `tidegate offsets restore` puts back \
         what the state topic says, or restore the group's committed offsets, or start anew: delete the group's offsets, the state topic and the state directory",
    );
    case.committed = [Some((150, Metadata::Foreign)); 3];
    case.changelog = Some(7);
    assert!(
        words(&case).starts_with("the window state is of epoch 7, but the committed offsets name no epoch; ")
    );
    case.committed = [Some((201, Metadata::Epoch(7))); 3];
    assert!(
        words(&case).contains("offset 201 is committed for input partition 0, beyond the log's end at 200")
    );
    case.committed = [Some((150, Metadata::Epoch(7))), Some((150, Metadata::Epoch(6))), None];
    case.before = 2;
    assert!(
        words(&case).contains("input partition 1 was not committed with the others' epoch 7: it says \"tide")
    );
}

fn committed_at_5() -> Case {
    Case {
        committed: [Some((150, Metadata::Epoch(5))); 3],
        before: 3,
        store: at(5, 5, HOUR),
        changelog: None,
        start: StartAt::Latest,
    }
}

#[test]
fn a_topic_that_was_created_anew_is_refused_and_one_whose_id_is_not_known_is_not() {
    let with = |topics| decide(&Facts { topics, ..committed_at_5().facts() });
    let other = Some(TopicId(9));
    for (topic, topics) in
        [("input", TopicIds { input: other, ..TOPICS }), ("state", TopicIds { state: other, ..TOPICS })]
    {
        assert_eq!(with(topics), Err(Refusal::TopicReplaced { topic, epoch: Epoch(5) }));
    }
    assert!(matches!(with(TopicIds::default()), Ok(Decision::Go(_))));
}

#[test]
fn a_store_that_turns_out_to_be_unreadable_is_put_aside_and_filled_from_the_changelog() {
    let mut case = committed_at_5();
    assert_eq!(case.decide().0.unwrap().store, StoreAction::Use);
    (case.store, case.changelog) = (StoreFacts::Damaged("torn".into()), Some(5));
    let (resume, from) = case.decide();
    assert_eq!(resume.unwrap().store, StoreAction::Rebuild { put_aside: true });
    assert_eq!(from, Some(ReadFrom::Begin));
}

#[test]
fn a_store_whose_filling_was_cut_short_is_filled_anew_however_lately_it_was_written_to() {
    let mut case = Case { store: at(4, 4, HOUR), changelog: Some(5), ..committed_at_5() };
    assert_eq!(case.decide().0.unwrap().store, StoreAction::CatchUp);
    case.store = at(4, 5, Duration::ZERO);
    assert_eq!(case.decide().0.unwrap().store, StoreAction::Rebuild { put_aside: false });
}

#[test]
fn a_process_that_never_committed_begins_again_where_it_began() {
    let began_at = Some(vec![NextOffset(120); 3]);
    let nothing = Case { committed: [None; 3], store: StoreFacts::Missing, ..committed_at_5() };
    for ranges in [nothing.facts().ranges, None] {
        let facts = Facts { began_at: began_at.clone(), ranges, ..nothing.facts() };
        let Ok(Decision::ReadChangelog(undecided)) = decide(&facts) else { panic!("it has to be read") };
        let resume = undecided.decide(ChangelogFacts::Read { highest_epoch: None }).unwrap();
        assert_eq!((resume.epoch, Some(resume.positions)), (None, began_at.clone()));
    }
    // There were more partitions: it is another topic.
    let facts = Facts { began_at: Some(vec![NextOffset(120); 4]), ..nothing.facts() };
    let Ok(Decision::ReadChangelog(undecided)) = decide(&facts) else { panic!("it has to be read") };
    let resume = undecided.decide(ChangelogFacts::Read { highest_epoch: None }).unwrap();
    assert_eq!(resume.positions, [END; 3]);
}

#[test]
fn a_partition_that_came_before_the_first_commit_is_read_from_its_beginning_and_the_others_from_where_they_began()
 {
    let nothing = Case { committed: [None; 3], store: StoreFacts::Missing, ..committed_at_5() };
    let facts = Facts { began_at: Some(vec![NextOffset(120); 2]), ..nothing.facts() };
    assert_eq!(facts.start, StartAt::Latest);
    let Ok(Decision::ReadChangelog(undecided)) = decide(&facts) else { panic!("it has to be read") };
    let resume = undecided.decide(ChangelogFacts::Read { highest_epoch: None }).unwrap();
    assert_eq!(resume.positions, [NextOffset(120), NextOffset(120), BEGIN]);
}

#[test]
fn a_writer_that_was_kept_goes_on_behind_its_last_commit_without_asking_for_the_log_s_ends() {
    let facts = Facts { ranges: None, ..committed_at_5().facts() };
    let Ok(Decision::Go(resume)) = decide(&facts) else { panic!("the store is usable") };
    assert_eq!((resume.positions, resume.first), (vec![NextOffset(150); 3], Epoch(6)));
}

#[test]
fn an_epoch_that_was_used_is_not_used_again() {
    let facts = Facts { used: Epoch(9), ..committed_at_5().facts() };
    let Ok(Decision::Go(resume)) = decide(&facts) else { panic!("the store is usable") };
    assert_eq!(resume.first, Epoch(10));
}

#[test]
fn a_changelog_that_is_shorter_than_it_was_or_cannot_be_read_is_refused() {
    let case = Case { store: at(4, 4, HOUR), ..committed_at_5() };
    let refused = |changelog| {
        let Ok(Decision::ReadChangelog(undecided)) = decide(&case.facts()) else {
            panic!("it has to be read")
        };
        undecided.decide(changelog).unwrap_err().to_string()
    };
    let partition = PartitionId(2);
    let shorter = refused(ChangelogFacts::Shorter { partition });
    assert!(shorter.starts_with("partition 2 of the state topic is shorter than it was: "), "{shorter}");
    let cause = "it is torn".into();
    let unreadable = refused(ChangelogFacts::Unreadable { partition, offset: 7, cause });
    assert!(
        unreadable.starts_with("record 7 in partition 2 of the state topic cannot be read: it is torn; "),
        "{unreadable}"
    );
}
