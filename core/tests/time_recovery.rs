//! The recovery decision over all combinations of facts, against predicates that know nothing of its order.

#![allow(clippy::unwrap_used)]

use tidegate_core::{
    Epoch, NextOffset, PartitionId, TimestampMs, TopicId,
    epoch::{EpochMark, TopicIds},
    recovery::{
        ChangelogFacts, Decision, Facts, OffsetRange, Refusal, Resume, StartAt, StoreAction, StoreFacts,
        decide,
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
    changelog: Option<Option<u64>>,
    start: StartAt,
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
            ranges: vec![OffsetRange { begin: BEGIN, end: END }; 3],
            start: self.start,
            store: self.store.clone(),
            changelog: self.changelog.map(|highest| ChangelogFacts { highest_epoch: highest.map(Epoch) }),
            topics: TOPICS,
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

    fn store_epoch(&self) -> Option<u64> {
        if let StoreFacts::At { epoch } = self.store { Some(epoch.0) } else { None }
    }

    /// The highest epoch that the state is known to have.
    fn state_epoch(&self) -> Option<u64> {
        self.store_epoch().max(self.changelog.flatten())
    }

    /// The changelog is ahead of the marks, or the marks are missing and there is state.
    fn state_ahead(&self) -> bool {
        match self.epoch() {
            Some(epoch) => self.changelog.flatten() > Some(epoch),
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
        self.epoch().is_some() && self.changelog == Some(None) && self.store_epoch() != self.epoch()
    }

    fn needs_changelog(&self) -> bool {
        self.changelog.is_none() && (self.epoch().is_none() || self.store_epoch() != self.epoch())
    }

    fn positions(&self) -> Vec<NextOffset> {
        let latest = self.nothing_committed() && self.start == StartAt::Latest;
        let other = if latest { END } else { BEGIN };
        self.committed
            .iter()
            .map(|committed| committed.map_or(other, |(offset, _)| NextOffset(offset)))
            .collect()
    }

    fn resume(&self, epoch: u64) -> Resume {
        let store = match self.store {
            StoreFacts::Missing => StoreAction::Rebuild { put_aside: false },
            StoreFacts::Damaged(_) => StoreAction::Rebuild { put_aside: true },
            StoreFacts::At { epoch: at } if at.0 > epoch => StoreAction::Rebuild { put_aside: true },
            StoreFacts::At { epoch: at } if at.0 < epoch => StoreAction::CatchUp,
            StoreFacts::At { .. } => StoreAction::Use,
        };
        let highest = |(index, committed): (usize, &Committed)| committed.map(|_| TimestampMs(index as i64));
        Resume {
            epoch: Epoch(epoch),
            owner: if self.committed[0].unwrap().1 == Metadata::OtherOwner { 2 } else { 1 },
            positions: self.positions(),
            highest: self.committed.iter().enumerate().map(highest).collect(),
            watermark: WATERMARK,
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
            // All cases are of the same topics.
            Refusal::TopicReplaced { .. } => false,
            Refusal::StateMissing { epoch } => self.state_missing() && self.epoch() == Some(epoch.0),
            Refusal::StateAhead { committed, state } => {
                let known = [self.store_epoch(), self.changelog.flatten()];
                self.state_ahead() && *committed == self.epoch().map(Epoch) && known.contains(&Some(state.0))
            }
        }
    }

    fn check(&self) {
        let decision = decide(&self.facts());
        match &decision {
            Decision::Refuse(refusal) => {
                assert!(self.must_be_refused() && self.justifies(refusal), "{self:?}: {refusal}");
            }
            _ if self.must_be_refused() => panic!("{self:?} is not refused: {decision:?}"),
            Decision::ReadChangelog => assert!(self.needs_changelog(), "{self:?}"),
            _ if self.needs_changelog() => panic!("{self:?} is decided without the changelog: {decision:?}"),
            Decision::Fresh { positions } => {
                assert!(self.epoch().is_none() && *positions == self.positions(), "{self:?}: {decision:?}");
            }
            Decision::Resume(resume) => {
                let expected = self.epoch().map(|epoch| self.resume(epoch));
                assert_eq!(Some(resume), expected.as_ref(), "{self:?}");
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
    stores.extend([4, 5, 6, 7].map(|epoch| StoreFacts::At { epoch: Epoch(epoch) }));
    let changelogs = [None, Some(None), Some(Some(4)), Some(Some(5)), Some(Some(6)), Some(Some(7))];
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
    let words = |case: &Case| match decide(&case.facts()) {
        Decision::Refuse(refusal) => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        words(&case),
        "no offset is committed for input partitions 1, 2, although epoch 5 was; `tidegate offsets restore` puts back \
         what the state topic says, or restore the group's committed offsets, or start anew: delete the group's offsets, the state topic and the state directory",
    );
    case.committed = [Some((150, Metadata::Foreign)); 3];
    case.changelog = Some(Some(7));
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

#[test]
fn a_topic_that_was_created_anew_is_refused_and_one_whose_id_is_not_known_is_not() {
    let case = Case {
        committed: [Some((150, Metadata::Epoch(5))); 3],
        before: 3,
        store: StoreFacts::At { epoch: Epoch(5) },
        changelog: None,
        start: StartAt::Latest,
    };
    let with = |topics| decide(&Facts { topics, ..case.facts() });
    let other = Some(TopicId(9));
    for (topic, topics) in
        [("input", TopicIds { input: other, ..TOPICS }), ("state", TopicIds { state: other, ..TOPICS })]
    {
        assert_eq!(with(topics), Decision::Refuse(Refusal::TopicReplaced { topic, epoch: Epoch(5) }));
    }
    assert!(matches!(with(TopicIds::default()), Decision::Resume(_)));
}
