//! Order among deliveries that run side by side.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Deliveries that wait. Those of one lane follow each other, those of different lanes need not.
#[derive(Debug)]
pub struct Lanes<T> {
    /// What waits in each lane; a lane without anything is left out.
    waiting: BTreeMap<u64, VecDeque<T>>,
    /// Lanes with something that may start, in the order in which they came to it.
    ready: VecDeque<u64>,
    busy: BTreeSet<u64>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), ready: VecDeque::new(), busy: BTreeSet::new() }
    }
}

impl<T> Lanes<T> {
    /// Queues a delivery behind all others of its lane.
    pub fn push(&mut self, lane: u64, delivery: T) {
        let queue = self.waiting.entry(lane).or_default();
        queue.push_back(delivery);
        if queue.len() == 1 && !self.busy.contains(&lane) {
            self.ready.push_back(lane);
        }
    }

    /// The next delivery to start, of the lane that has waited longest.
    pub fn start(&mut self) -> Option<(u64, T)> {
        let lane = self.ready.pop_front()?;
        let queue = self.waiting.get_mut(&lane)?;
        let delivery = queue.pop_front()?;
        if queue.is_empty() {
            self.waiting.remove(&lane);
        }
        self.busy.insert(lane);
        Some((lane, delivery))
    }

    /// The delivery of a lane that was started is over.
    pub fn done(&mut self, lane: u64) {
        if self.busy.remove(&lane) && self.waiting.contains_key(&lane) {
            self.ready.push_back(lane);
        }
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.ready.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_of_one_lane_follow_each_other_and_lanes_take_turns() {
        let mut lanes = Lanes::default();
        for (lane, delivery) in [(1, "a"), (1, "b"), (2, "c"), (1, "d")] {
            lanes.push(lane, delivery);
        }
        assert_eq!(lanes.start(), Some((1, "a")));
        assert_eq!(lanes.start(), Some((2, "c")));
        assert_eq!(lanes.start(), None, "both lanes are busy");
        lanes.push(2, "e");
        lanes.done(1);
        lanes.done(2);
        assert_eq!([lanes.start(), lanes.start()], [Some((1, "b")), Some((2, "e"))]);
        lanes.done(1);
        assert_eq!(lanes.start(), Some((1, "d")));
    }

    #[test]
    fn what_is_forgotten_never_starts_and_its_lane_can_be_used_again() {
        let mut lanes = Lanes::default();
        lanes.push(1, "a");
        lanes.push(1, "b");
        assert_eq!(lanes.start(), Some((1, "a")));
        lanes.clear();
        lanes.done(1);
        assert_eq!(lanes.start(), None);
        lanes.push(1, "c");
        assert_eq!(lanes.start(), Some((1, "c")));
    }
}
