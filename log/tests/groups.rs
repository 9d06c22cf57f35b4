//! What every log must keep for members of consumer groups; and what only a group of several can show, on Apache Kafka.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use support::{Collected, DEADLINE, Embedded, Harness, Kafka, PARTITIONS, Seen, batch, commit, owner};
use tidegate_core::{NextOffset, PartitionId};
use tidegate_log::{EpochWriter, GroupEvent, GroupReader, LogError, Topic};

const POLL: Duration = Duration::from_millis(100);

/// A member that reads each partition from its committed position, or from the beginning, and gives up what it is told
/// to; `committed` is what it found of each partition.
struct Member {
    reader: Box<dyn GroupReader>,
    seen: Collected,
    committed: BTreeMap<u32, Option<i64>>,
}

impl Member {
    fn join(harness: &dyn Harness, group: &str) -> Self {
        let reader = harness.log().group_reader(Topic::Processed, group).unwrap();
        let (seen, committed) = Default::default();
        Self { reader, seen, committed }
    }

    /// One past the last record of each partition that it has.
    fn positions(&self) -> Vec<(PartitionId, NextOffset)> {
        let mut next = BTreeMap::new();
        for (offset, seen) in &self.seen.records {
            if self.committed.contains_key(&seen.partition) {
                next.insert(PartitionId(seen.partition), NextOffset(offset + 1));
            }
        }
        next.into_iter().collect()
    }

    fn poll(&mut self) {
        match self.reader.poll(POLL, 1_000, &mut self.seen) {
            Ok(GroupEvent::Records(_)) => {}
            Ok(GroupEvent::Assigned(partitions)) => {
                let from = |(partition, next): &(PartitionId, Option<NextOffset>)| {
                    (*partition, next.unwrap_or_default())
                };
                self.reader.read_from(&partitions.iter().map(from).collect::<Vec<_>>()).unwrap();
                for (partition, next) in partitions {
                    self.committed.insert(partition.0, next.map(|next| next.0));
                }
            }
            Ok(GroupEvent::Revoked(partitions)) => {
                let positions = self.positions();
                if !positions.is_empty() {
                    self.reader.commit(&positions).unwrap();
                }
                self.give_up(&partitions);
            }
            Ok(GroupEvent::Lost(partitions)) => self.give_up(&partitions),
            Err(LogError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn give_up(&mut self, partitions: &[PartitionId]) {
        for partition in partitions {
            self.committed.remove(&partition.0);
        }
        self.reader.release().unwrap();
    }

    fn poll_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < deadline, "not in time: {:?} {:?}", self.committed, self.seen.ends);
            self.poll();
        }
    }
}

fn everywhere(value: &str) -> Vec<Seen> {
    (0..PARTITIONS).map(|partition| Seen::new(partition, value)).collect()
}

fn write(writer: &mut dyn EpochWriter, value: &str) {
    writer.append(&batch(Topic::Processed, &everywhere(value))).unwrap();
    commit(writer, &[]);
}

fn a_member_has_all_partitions_and_goes_on_where_the_group_committed(harness: &dyn Harness) {
    let group = support::unique("group");
    let log = harness.log();
    let mut writer = owner(log.as_ref());
    write(writer.as_mut(), "a");
    write(writer.as_mut(), "b");
    let mut first = Member::join(harness, &group);
    first.poll_until(|member| member.seen.records.len() == 2 * PARTITIONS as usize);
    assert_eq!(first.committed, (0..PARTITIONS).map(|partition| (partition, None)).collect());
    let kept = first.positions();
    first.reader.commit(&kept).unwrap();
    drop(first);
    write(writer.as_mut(), "c");
    let mut second = Member::join(harness, &group);
    second.poll_until(|member| member.seen.records.len() == PARTITIONS as usize);
    let kept = kept.into_iter().map(|(partition, next)| (partition.0, Some(next.0))).collect();
    assert_eq!(second.committed, kept);
    for partition in 0..PARTITIONS {
        assert_eq!(second.seen.values(partition), ["c"]);
    }
    // Nothing is left to be read, whatever marks stand behind the last record.
    second.poll_until(|member| {
        let (partition, position) = member.positions()[0];
        let reached = member.reader.reached(partition).map_or(position, |reached| reached.max(position));
        member.reader.end_offset(partition) == Some(reached)
    });
}

fn members_of_different_groups_do_not_know_each_other(harness: &dyn Harness) {
    let log = harness.log();
    write(owner(log.as_ref()).as_mut(), "a");
    let mut members =
        [0, 1].map(|number| Member::join(harness, &support::unique(&format!("group-{number}"))));
    for member in &mut members {
        member.poll_until(|member| member.seen.records.len() == PARTITIONS as usize);
        let positions = member.positions();
        member.reader.commit(&positions).unwrap();
    }
}

fn what_is_not_committed_is_not_read(harness: &dyn Harness) {
    let log = harness.log();
    let mut writer = owner(log.as_ref());
    let mut member = Member::join(harness, &support::unique("group"));
    member.poll_until(|member| member.committed.len() == PARTITIONS as usize);
    writer.append(&batch(Topic::Processed, &everywhere("aborted"))).unwrap();
    for _ in 0..3 {
        member.poll();
    }
    assert!(member.seen.records.is_empty());
    writer.abort(DEADLINE).unwrap();
    write(writer.as_mut(), "committed");
    member.poll_until(|member| member.seen.records.len() == PARTITIONS as usize);
    assert_eq!(member.seen.values(1), ["committed"]);
}

fn what_was_read_can_be_read_again(harness: &dyn Harness) {
    let log = harness.log();
    let mut writer = owner(log.as_ref());
    write(writer.as_mut(), "a");
    write(writer.as_mut(), "b");
    let mut member = Member::join(harness, &support::unique("group"));
    member.poll_until(|member| member.seen.records.len() == 2 * PARTITIONS as usize);
    member.seen = Collected::default();
    member.reader.read_from(&[(PartitionId(1), NextOffset(0))]).unwrap();
    member.poll_until(|member| member.seen.records.len() == 2);
    assert_eq!(member.seen.values(1), ["a", "b"]);
}

fn a_partition_of_somebody_else_is_refused(harness: &dyn Harness) {
    let mut member = Member::join(harness, &support::unique("group"));
    let early = member.reader.read_from(&[(PartitionId(0), NextOffset(0))]);
    assert!(matches!(early, Err(LogError::Broken { .. })), "{early:?}");
    member.poll_until(|member| member.committed.len() == PARTITIONS as usize);
    let other = member.reader.read_from(&[(PartitionId(PARTITIONS), NextOffset(0))]);
    assert!(matches!(other, Err(LogError::Broken { .. })), "{other:?}");
}

on_all_logs!(
    a_member_has_all_partitions_and_goes_on_where_the_group_committed,
    members_of_different_groups_do_not_know_each_other,
    what_is_not_committed_is_not_read,
    what_was_read_can_be_read_again,
    a_partition_of_somebody_else_is_refused,
);

/// Polls both until `done`.
fn poll_both(first: &mut Member, second: &mut Member, done: impl Fn(&Member, &Member) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done(first, second) {
        assert!(Instant::now() < deadline, "not in time: {:?} {:?}", first.committed, second.committed);
        first.poll();
        second.poll();
    }
}

#[test]
fn two_members_share_the_partitions_and_a_hand_over_loses_and_repeats_nothing() {
    let harness = Kafka::new("share");
    let group = support::unique("group");
    let log = harness.log();
    let mut writer = owner(log.as_ref());
    write(writer.as_mut(), "a");
    let mut first = Member::join(&harness, &group);
    first.poll_until(|member| member.seen.records.len() == PARTITIONS as usize);
    let mut second = Member::join(&harness, &group);
    poll_both(&mut first, &mut second, |first, second| {
        !second.committed.is_empty() && first.committed.len() + second.committed.len() == PARTITIONS as usize
    });
    assert!(second.committed.values().all(Option::is_some), "{:?}", second.committed);
    write(writer.as_mut(), "b");
    let all = 2 * PARTITIONS as usize;
    poll_both(&mut first, &mut second, |first, second| {
        first.seen.records.len() + second.seen.records.len() >= all
    });
    let of = |member: &Member| -> BTreeSet<u32> { member.committed.keys().copied().collect() };
    assert!(of(&first).is_disjoint(&of(&second)));
    assert_eq!(first.seen.records.len() + second.seen.records.len(), all);
    // One leaves: the other goes on where it stopped.
    let positions = second.positions();
    second.reader.commit(&positions).unwrap();
    drop(second);
    write(writer.as_mut(), "c");
    first.poll_until(|member| {
        (0..PARTITIONS).all(|partition| member.seen.values(partition).iter().any(|value| value == "c"))
    });
    assert_eq!(first.committed.len(), PARTITIONS as usize);
    for partition in 0..PARTITIONS {
        let values = first.seen.values(partition);
        assert_eq!(values.iter().filter(|value| *value == "c").count(), 1, "{values:?}");
    }
}

#[test]
fn a_member_that_was_taken_for_dead_can_commit_nothing() {
    let mut harness = Kafka::new("dead");
    harness.config.properties.insert("session.timeout.ms".into(), "6000".into());
    harness.config.properties.insert("max.poll.interval.ms".into(), "6000".into());
    let group = support::unique("group");
    let log = harness.log();
    write(owner(log.as_ref()).as_mut(), "a");
    let mut paused = Member::join(&harness, &group);
    paused.poll_until(|member| member.seen.records.len() == PARTITIONS as usize);
    let positions = paused.positions();
    // It polls no more, so the group goes on without it.
    let mut heir = Member::join(&harness, &group);
    heir.poll_until(|member| member.committed.len() == PARTITIONS as usize);
    let late = paused.reader.commit(&positions);
    assert!(matches!(late, Err(LogError::Fenced(_))), "{late:?}");
    assert!(heir.committed.values().all(Option::is_none), "nothing was committed for the heir");
    // It comes back, and hears that all of them are gone: asked for before it was taken for dead, or lost.
    let (deadline, mut gone) = (Instant::now() + DEADLINE, 0);
    while gone < PARTITIONS as usize {
        assert!(Instant::now() < deadline);
        if let Ok(GroupEvent::Revoked(partitions) | GroupEvent::Lost(partitions)) =
            paused.reader.poll(POLL, 1_000, &mut paused.seen)
        {
            gone += partitions.len();
            let late = paused.reader.commit(&positions);
            assert!(matches!(late, Err(LogError::Fenced(_))), "{late:?}");
            paused.reader.release().unwrap();
        }
    }
}
