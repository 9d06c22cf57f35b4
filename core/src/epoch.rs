//! The epoch, as each who takes part in it sees it: [when it is cut](pace), [a partition](partition) and
//! [the order of its data](sequence), [where the partitions' data come together](align), [a share of the
//! windows](share), [the commit](commit), [the writer](writing), [the way to the local store](gather), and [the budget
//! of bytes](credits). And what is kept with every committed offset, the [mark](EpochMark): which epoch it belongs to,
//! and how far event time had come.

pub mod align;
pub mod barrier;
pub mod commit;
pub mod credits;
mod due;
pub mod gather;
pub mod pace;
pub mod partition;
pub mod sequence;
pub mod share;
pub mod writing;

use std::fmt::Write as _;

use crate::{
    Epoch, TimestampMs, TopicId,
    record::{Topic, TopicsFacts},
};

/// Begins every mark, followed by the version of the format.
const PREFIX: &str = "tidegate/";
const VERSION: &str = "2";
/// Had no ids of topics; still read.
const FORMER_VERSION: &str = "1";

/// The metadata of one input partition's committed offset.
///
/// Each partition's offset carries one; they are equal but for `highest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochMark {
    /// The epoch whose commit wrote this offset.
    pub epoch: Epoch,
    /// Nonce of the process that committed.
    pub owner: u64,
    /// Number of input partitions in that commit.
    pub partitions: u32,
    /// Highest timestamp of this partition's events.
    pub highest: Option<TimestampMs>,
    /// Watermark of the pipeline.
    pub watermark: Option<TimestampMs>,
    /// The topics that the offsets, and the window state, are of.
    pub topics: TopicIds,
}

/// The topics that what is committed is of; `None` if that is not known: the log has no ids, or a former version of
/// Tidegate committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicIds {
    /// The input.
    pub input: Option<TopicId>,
    /// The changelog of the window state.
    pub state: Option<TopicId>,
}

/// A topic that was deleted and created anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// The input.
    Input,
    /// The changelog of the window state.
    State,
}

impl TopicIds {
    /// Of the topics as they are.
    #[must_use]
    pub fn of(topics: &TopicsFacts) -> Self {
        Self { input: topics[Topic::Raw as usize].id, state: topics[Topic::State as usize].id }
    }

    /// The first topic that is another one now; an id that is not known says nothing.
    #[must_use]
    pub fn replaced(self, now: Self) -> Option<Replaced> {
        let differ = |(before, now)| before != now;
        if self.input.zip(now.input).is_some_and(differ) {
            return Some(Replaced::Input);
        }
        self.state.zip(now.state).is_some_and(differ).then_some(Replaced::State)
    }
}

/// Why a metadata string is no [`EpochMark`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    /// It is empty, or something that another program left.
    #[error("it was not written by tidegate")]
    Foreign,
    /// It is a mark of a format that this version does not know.
    #[error("it is of format version {0:?}, which this version of tidegate does not know")]
    Version(String),
    /// It begins like a mark, but is none; what is wrong.
    #[error("its {0} is missing or malformed")]
    Malformed(&'static str),
}

impl EpochMark {
    /// The mark as text of less than 270 bytes, for example
    /// `tidegate/2 epoch=7 owner=00000000deadbeef partitions=12 highest=1760000040000 watermark=- input=- state=-`.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { epoch, owner, partitions, highest, watermark, topics } = self;
        let mut text = format!("{PREFIX}{VERSION} epoch={epoch} owner={owner:016x} partitions={partitions}");
        for (name, time) in [("highest", highest), ("watermark", watermark)] {
            // Writing to a string cannot fail.
            _ = match time {
                Some(time) => write!(text, " {name}={time}"),
                None => write!(text, " {name}=-"),
            };
        }
        for (name, id) in [("input", topics.input), ("state", topics.state)] {
            _ = match id {
                Some(id) => write!(text, " {name}={id}"),
                None => write!(text, " {name}=-"),
            };
        }
        text
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`MarkError`] if the text is not ours, of another version, or broken.
    pub fn decode(text: &str) -> Result<Self, MarkError> {
        let versioned = text.strip_prefix(PREFIX).ok_or(MarkError::Foreign)?;
        let mut words = versioned.split(' ');
        let has_topics = match words.next() {
            Some(VERSION) => true,
            Some(FORMER_VERSION) => false,
            other => return Err(MarkError::Version(other.unwrap_or_default().chars().take(16).collect())),
        };
        let mut field = |name: &'static str| {
            let value = words.next().and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.ok_or(MarkError::Malformed(name))
        };
        let mark = Self {
            epoch: Epoch(number(field("epoch")?, "epoch")?),
            owner: u64::from_str_radix(field("owner")?, 16).map_err(|_| MarkError::Malformed("owner"))?,
            partitions: number(field("partitions")?, "partitions")?,
            highest: time(field("highest")?, "highest")?,
            watermark: time(field("watermark")?, "watermark")?,
            topics: if has_topics {
                TopicIds { input: id(field("input")?, "input")?, state: id(field("state")?, "state")? }
            } else {
                TopicIds::default()
            },
        };
        if words.next().is_some() {
            return Err(MarkError::Malformed("end"));
        }
        Ok(mark)
    }
}

fn number<T: std::str::FromStr>(text: &str, name: &'static str) -> Result<T, MarkError> {
    text.parse().map_err(|_| MarkError::Malformed(name))
}

fn time(text: &str, name: &'static str) -> Result<Option<TimestampMs>, MarkError> {
    if text == "-" { Ok(None) } else { Ok(Some(TimestampMs(number(text, name)?))) }
}

fn id(text: &str, name: &'static str) -> Result<Option<TopicId>, MarkError> {
    if text == "-" {
        return Ok(None);
    }
    let id = u128::from_str_radix(text, 16).map_err(|_| MarkError::Malformed(name))?;
    Ok(Some(TopicId(id)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const MARK: EpochMark = EpochMark {
        epoch: Epoch(7),
        owner: 0xdead_beef,
        partitions: 12,
        highest: Some(TimestampMs(1_760_000_040_000)),
        watermark: None,
        topics: TopicIds { input: Some(TopicId(0xabc)), state: None },
    };
    const TEXT: &str = "tidegate/2 epoch=7 owner=00000000deadbeef partitions=12 highest=1760000040000 watermark=- \
        input=00000000000000000000000000000abc state=-";
    const FORMER: &str =
        "tidegate/1 epoch=7 owner=00000000deadbeef partitions=12 highest=1760000040000 watermark=-";

    #[test]
    fn a_mark_that_is_in_the_field_stays_readable() {
        assert_eq!(MARK.encode(), TEXT);
        assert_eq!(EpochMark::decode(TEXT), Ok(MARK));
        assert_eq!(EpochMark::decode(FORMER), Ok(EpochMark { topics: TopicIds::default(), ..MARK }));
    }

    #[test]
    fn another_programs_metadata_another_version_and_a_broken_mark_are_told_apart() {
        for foreign in ["", "AgAAAYrn", "tidegate"] {
            assert_eq!(EpochMark::decode(foreign), Err(MarkError::Foreign));
        }
        let next = EpochMark::decode("tidegate/3 anything");
        assert_eq!(next, Err(MarkError::Version("3".into())));
        for broken in [
            &TEXT[..TEXT.len() - 1],
            &TEXT.replace("=7", "=-7"),
            &format!("{TEXT} x=1"),
            &format!("{FORMER} x=1"),
            "tidegate/1",
        ] {
            assert!(matches!(EpochMark::decode(broken), Err(MarkError::Malformed(_))), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn every_mark_comes_back_and_is_short(
            epoch: u64, owner: u64, partitions: u32, highest: Option<i64>, watermark: Option<i64>,
            input: Option<u128>, state: Option<u128>,
        ) {
            let mark = EpochMark {
                epoch: Epoch(epoch),
                owner,
                partitions,
                highest: highest.map(TimestampMs),
                watermark: watermark.map(TimestampMs),
                topics: TopicIds { input: input.map(TopicId), state: state.map(TopicId) },
            };
            let text = mark.encode();
            prop_assert!(text.len() < 270 && text.is_ascii());
            prop_assert_eq!(EpochMark::decode(&text), Ok(mark));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(tidegate/[12] )?\\PC*") {
            _ = EpochMark::decode(&text);
        }
    }
}
