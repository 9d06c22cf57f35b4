//! What a running daemon notices about its topics: the pure decision.

use crate::epoch::{Replaced, TopicIds};

/// The topics as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topics {
    /// The ids of those that positions are kept for.
    pub ids: TopicIds,
    /// Partitions of the input.
    pub input_partitions: u32,
}

/// What became of the topics since a generation began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noticed {
    /// Nothing that matters.
    Nothing,
    /// The input has more partitions than are read.
    InputGrew,
    /// The input or the state topic was deleted and created anew, or has fewer partitions, which is the same: positions
    /// that are known are of the former one.
    Replaced(Replaced),
}

/// Compares the topics with what they were.
#[must_use]
pub fn notice(before: Topics, now: Topics) -> Noticed {
    if let Some(topic) = before.ids.replaced(now.ids) {
        return Noticed::Replaced(topic);
    }
    if now.input_partitions < before.input_partitions {
        return Noticed::Replaced(Replaced::Input);
    }
    if now.input_partitions > before.input_partitions {
        return Noticed::InputGrew;
    }
    Noticed::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicId;

    const BEFORE: Topics =
        Topics { ids: TopicIds { input: Some(TopicId(1)), state: Some(TopicId(2)) }, input_partitions: 3 };

    fn with(input: Option<u128>, state: Option<u128>, input_partitions: u32) -> Topics {
        Topics { ids: TopicIds { input: input.map(TopicId), state: state.map(TopicId) }, input_partitions }
    }

    #[test]
    fn more_partitions_are_read_too_but_a_topic_with_another_id_or_fewer_partitions_is_another() {
        assert_eq!(notice(BEFORE, BEFORE), Noticed::Nothing);
        assert_eq!(notice(BEFORE, with(Some(1), Some(2), 4)), Noticed::InputGrew);
        for other in [with(Some(9), Some(2), 3), with(Some(9), Some(2), 4), with(Some(1), Some(2), 2)] {
            assert_eq!(notice(BEFORE, other), Noticed::Replaced(Replaced::Input));
        }
        assert_eq!(notice(BEFORE, with(Some(1), Some(9), 4)), Noticed::Replaced(Replaced::State));
    }

    #[test]
    fn an_id_that_is_not_known_says_nothing() {
        assert_eq!(notice(BEFORE, with(None, None, 3)), Noticed::Nothing);
        assert_eq!(notice(with(None, None, 3), BEFORE), Noticed::Nothing);
    }
}
