//! How far each output partition is written, kept with the input offsets of every commit.
//!
//! It is the evidence by which a later takeover tells what belongs to a committed epoch, see
//! `tidegate_core::leftover`. The metadata of input partition *i* of *n* has the output partitions *i*, *i + n* and so
//! on of the list of all, behind the caller's own text:
//!
//! ```text
//! <caller's text>|topics=<hash of the topics' ids> p3=1204 d0=7
//! ```

use std::fmt::Write as _;

use tidegate_core::NextOffset;

use crate::{InputProgress, Topic, TopicsFacts};

/// The broker's `offset.metadata.max.bytes`. A string a few times as long makes it close the connection.
pub(super) const METADATA_MAX_BYTES: usize = 4096;

const SEPARATOR: char = '|';
/// Letters of the topics that are written, in the order of [`Topic`].
const OUTPUTS: [(Topic, char); 4] =
    [(Topic::Processed, 'p'), (Topic::Alerts, 'a'), (Topic::DeadLetters, 'd'), (Topic::State, 's')];

/// How far each output partition is written: by topic and partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    ends: [Vec<Option<NextOffset>>; 5],
    /// What was written to since the ends were known.
    written: [Vec<bool>; 5],
    topics: u64,
}

impl Extent {
    /// Nothing is known yet.
    pub(super) fn new(topics: &TopicsFacts) -> Self {
        let empty = |topic: Topic| match topic {
            Topic::Raw => 0,
            output => topics[output as usize].partitions as usize,
        };
        Self {
            ends: Topic::ALL.map(|topic| vec![None; empty(topic)]),
            written: Topic::ALL.map(|topic| vec![false; empty(topic)]),
            topics: fingerprint(topics),
        }
    }

    /// A record goes to this partition.
    pub(super) fn note(&mut self, topic: Topic, partition: u32) {
        if let Some(written) = self.written[topic as usize].get_mut(partition as usize) {
            *written = true;
        }
    }

    /// The partitions whose end is not known any more.
    pub(super) fn written(&self) -> Vec<(Topic, u32)> {
        let of_topic = |topic: Topic| {
            let written = self.written[topic as usize].iter().enumerate().filter(|(_, written)| **written);
            written.map(move |(partition, _)| (topic, partition as u32))
        };
        Topic::ALL.into_iter().flat_map(of_topic).collect()
    }

    /// Learns the ends of partitions.
    pub(super) fn learn(&mut self, partitions: &[(Topic, u32)], ends: &[NextOffset]) {
        for ((topic, partition), end) in partitions.iter().zip(ends) {
            let (topic, partition) = (*topic as usize, *partition as usize);
            if let Some(slot) = self.ends[topic].get_mut(partition) {
                *slot = Some(*end);
                self.written[topic][partition] = false;
            }
        }
    }

    /// The end of a partition as of the last commit, if it is known.
    pub(super) fn end(&self, topic: Topic, partition: u32) -> Option<NextOffset> {
        self.ends[topic as usize].get(partition as usize).copied().flatten()
    }

    /// Adds its share to the metadata of each input partition, if there is room.
    pub(super) fn write(&self, progress: &mut [InputProgress]) {
        let count = progress.len();
        let mut shares: Vec<String> = vec![format!("{SEPARATOR}topics={:x}", self.topics); count];
        let all = OUTPUTS.into_iter().flat_map(|(topic, letter)| {
            self.ends[topic as usize]
                .iter()
                .enumerate()
                .map(move |(partition, end)| (letter, partition, *end))
        });
        for (place, (letter, partition, end)) in all.enumerate() {
            if let Some(end) = end
                && let Some(share) = place.checked_rem(count).and_then(|place| shares.get_mut(place))
            {
                // Writing to a string cannot fail.
                _ = write!(share, " {letter}{partition}={end}");
            }
        }
        for (input, share) in progress.iter_mut().zip(shares) {
            if input.metadata.len() + share.len() <= METADATA_MAX_BYTES {
                input.metadata.push_str(&share);
            }
        }
    }

    /// Reads the shares out of metadata; those of topics that were created anew since are of no use.
    pub(super) fn read<'a>(topics: &TopicsFacts, metadata: impl Iterator<Item = &'a str>) -> Self {
        let mut extent = Self::new(topics);
        let expected = format!("topics={:x}", extent.topics);
        for share in metadata.filter_map(|metadata| Some(metadata.rsplit_once(SEPARATOR)?.1)) {
            let mut words = share.split(' ');
            if words.next() != Some(&expected) {
                continue;
            }
            for (topic, partition, end) in words.filter_map(parse) {
                extent.learn(&[(topic, partition)], &[end]);
            }
        }
        extent
    }
}

/// The caller's own text, without what [`Extent::write`] added.
pub(super) fn own_text(metadata: &str) -> &str {
    metadata
        .rsplit_once(SEPARATOR)
        .filter(|(_, share)| share.starts_with("topics="))
        .map_or(metadata, |(own, _)| own)
}

fn parse(word: &str) -> Option<(Topic, u32, NextOffset)> {
    let (place, end) = word.split_once('=')?;
    let mut chars = place.chars();
    let letter = chars.next()?;
    let (topic, _) = OUTPUTS.into_iter().find(|(_, known)| *known == letter)?;
    Some((topic, chars.as_str().parse().ok()?, NextOffset(end.parse().ok()?)))
}

/// Tells topics of the same name apart (FNV-1a over their ids, 64 bits).
fn fingerprint(topics: &TopicsFacts) -> u64 {
    let ids = topics[Topic::Processed as usize..].iter();
    let bytes = ids.flat_map(|topic| topic.id.map_or(0, |id| id.0).to_be_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use tidegate_core::{PartitionId, TopicId, topic_limits::TopicLimits};

    use super::*;
    use crate::TopicFacts;

    fn topics(id: u128) -> TopicsFacts {
        Topic::ALL.map(|topic| TopicFacts {
            name: format!("{topic:?}"),
            id: Some(TopicId(id)),
            partitions: 3,
            max_message_bytes: 1,
            limits: TopicLimits::default(),
        })
    }

    fn progress(count: u32) -> Vec<InputProgress> {
        let input = |partition| InputProgress {
            partition: PartitionId(partition),
            next: NextOffset(1),
            metadata: format!("own {partition}"),
        };
        (0..count).map(input).collect()
    }

    #[test]
    fn ends_come_back_from_the_metadata_of_any_number_of_input_partitions_and_leave_the_own_text_alone() {
        let mut extent = Extent::new(&topics(1));
        let places = [(Topic::Processed, 0), (Topic::Processed, 2), (Topic::Alerts, 1), (Topic::State, 2)];
        for (topic, partition) in places {
            extent.note(topic, partition);
        }
        assert_eq!(extent.written(), places);
        extent.learn(&places, &[5, 6, 7, 8].map(NextOffset));
        assert!(extent.written().is_empty());
        for count in [1, 2, 5, 12] {
            let mut progress = progress(count);
            extent.write(&mut progress);
            let metadata: Vec<&str> = progress.iter().map(|input| input.metadata.as_str()).collect();
            assert_eq!(own_text(metadata[0]), "own 0");
            let read = Extent::read(&topics(1), metadata.iter().copied());
            assert_eq!(read, extent, "{metadata:?}");
            assert_eq!(read.end(Topic::Alerts, 1), Some(NextOffset(7)));
            assert_eq!(read.end(Topic::Alerts, 0), None);
        }
    }

    #[test]
    fn ends_of_topics_that_were_created_anew_are_forgotten_and_no_text_is_taken_for_them() {
        let mut extent = Extent::new(&topics(1));
        extent.learn(&[(Topic::Alerts, 1)], &[NextOffset(7)]);
        let mut progress = progress(1);
        extent.write(&mut progress);
        let metadata = progress[0].metadata.as_str();
        assert_eq!(Extent::read(&topics(2), [metadata].into_iter()), Extent::new(&topics(2)));
        for foreign in ["", "a|b", "|topics=", "x|topics=0 p=1 q2=3 p99=-"] {
            _ = Extent::read(&topics(1), [foreign].into_iter());
        }
        assert_eq!(own_text("a|b"), "a|b");
    }

    #[test]
    fn a_share_that_does_not_fit_is_left_out() {
        let mut extent = Extent::new(&topics(1));
        extent.learn(&[(Topic::Alerts, 1)], &[NextOffset(7)]);
        let mut progress = progress(1);
        progress[0].metadata = "x".repeat(METADATA_MAX_BYTES - 5);
        extent.write(&mut progress);
        assert_eq!(progress[0].metadata.len(), METADATA_MAX_BYTES - 5);
    }
}
