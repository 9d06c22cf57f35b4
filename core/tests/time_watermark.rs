//! Event time of the pipeline.

use proptest::prelude::*;
use tidegate_core::{
    TimestampMs,
    time::watermark::{PartitionClock, PartitionMark, PipelineWatermark, is_far_future},
};

fn active(watermark: i64) -> PartitionMark {
    PartitionMark { watermark: Some(TimestampMs(watermark)), idle: false }
}

fn idle(watermark: i64) -> PartitionMark {
    PartitionMark { idle: true, ..active(watermark) }
}

const NOTHING_YET: PartitionMark = PartitionMark { watermark: None, idle: false };
const NEVER_ANYTHING: PartitionMark = PartitionMark { watermark: None, idle: true };

/// The values after each of the cuts, given as marks and the clock's reading.
fn values(restored: Option<i64>, cuts: &[(&[PartitionMark], i64)]) -> Vec<Option<i64>> {
    let mut watermark = PipelineWatermark::new(restored.map(TimestampMs));
    let mut advance = |&(marks, clock): &(&[PartitionMark], i64)| {
        let value = watermark.advance(marks, clock);
        assert_eq!(value, watermark.value());
        value.map(|value| value.0)
    };
    cuts.iter().map(&mut advance).collect()
}

#[test]
fn a_partition_clock_never_goes_back_and_lags_by_the_disorder() {
    let mut clock = PartitionClock::default();
    assert_eq!(clock.watermark(5), None);
    for timestamp in [100, 90] {
        clock.observe(TimestampMs(timestamp));
    }
    assert_eq!(clock.watermark(5), Some(TimestampMs(95)));
    assert_eq!(PartitionClock::restore(clock.highest()), clock);
}

#[test]
fn a_timestamp_is_far_in_the_future_if_either_clock_says_so() {
    let far = |timestamp, record, wall| {
        is_far_future(TimestampMs(timestamp), TimestampMs(record), TimestampMs(wall), 10)
    };
    assert!(!far(110, 100, 100) && far(111, 100, 100));
    // A late read of old data, and a producer whose clock is ahead.
    assert!(far(111, 100, 9_000) && far(111, 9_000, 100));
    // The record has no timestamp.
    assert!(!far(110, -1, 100) && far(111, -1, 100));
    assert!(!far(i64::MAX, i64::MAX, i64::MAX));
}

#[test]
fn an_idle_partition_does_not_hold_the_watermark_back() {
    assert_eq!(
        values(None, &[(&[active(100), active(50)], 0), (&[active(120), idle(50)], 1)]),
        [Some(50), Some(120)]
    );
}

#[test]
fn a_partition_that_has_brought_nothing_holds_it_back_until_it_is_idle() {
    let cuts: [(&[_], _); 2] = [(&[active(100), NOTHING_YET], 0), (&[active(100), NEVER_ANYTHING], 1)];
    assert_eq!(values(None, &cuts), [None, Some(100)]);
}

#[test]
fn a_partition_that_wakes_up_behind_does_not_turn_it_back() {
    let cuts: [(&[_], _); 3] =
        [(&[active(100), idle(50)], 0), (&[active(100), active(60)], 1), (&[active(130), active(120)], 2)];
    assert_eq!(values(None, &cuts), [Some(100), Some(100), Some(120)]);
}

#[test]
fn when_all_are_idle_it_runs_on_with_the_clock_from_where_it_stood() {
    let all_idle = [idle(100), idle(50)];
    let cuts: [(&[_], _); 4] = [
        (&[active(100), idle(50)], 1_000),
        (&all_idle, 1_250),
        (&all_idle, 1_500),
        (&[active(101), idle(50)], 9_999),
    ];
    assert_eq!(values(None, &cuts), [Some(100), Some(100), Some(350), Some(350)]);
}

#[test]
fn it_runs_on_from_what_came_between_two_cuts_too() {
    let cuts: [(&[_], _); 3] =
        [(&[idle(100), idle(50)], 0), (&[idle(9_000), idle(50)], 60_000), (&[idle(9_000), idle(50)], 60_001)];
    assert_eq!(values(None, &cuts), [Some(50), Some(9_000), Some(9_001)]);
}

#[test]
fn what_was_held_back_by_a_partition_without_events_counts_when_all_are_idle() {
    let cuts: [(&[_], _); 3] = [
        (&[idle(100), NOTHING_YET], 0),
        (&[idle(100), NEVER_ANYTHING], 10),
        (&[idle(100), NEVER_ANYTHING], 15),
    ];
    assert_eq!(values(None, &cuts), [None, Some(100), Some(105)]);
}

#[test]
fn without_any_event_there_is_no_watermark() {
    let cuts: [(&[_], _); 2] = [(&[NEVER_ANYTHING; 2], 0), (&[NEVER_ANYTHING; 2], 99_999)];
    assert_eq!(values(None, &cuts), [None, None]);
    // But one that was restored runs on; the clock begins anew.
    assert_eq!(values(Some(7), &cuts), [Some(7), Some(7 + 99_999)]);
    assert_eq!(values(Some(i64::MAX), &cuts), [Some(i64::MAX); 2]);
}

/// The value after the last of the cuts, from all of history and without a memory.
fn naive(restored: Option<i64>, cuts: &[(Vec<PartitionMark>, i64)]) -> Option<i64> {
    let (now, earlier) = cuts.split_last()?;
    let stood = naive(restored, earlier).or(restored);
    let lowest = |marks: &mut dyn Iterator<Item = &PartitionMark>| {
        let watermarks: Option<Vec<i64>> =
            marks.map(|mark| mark.watermark.map(|watermark| watermark.0)).collect();
        watermarks?.into_iter().min()
    };
    let (marks, clock) = now;
    if marks.iter().any(|mark| !mark.idle) {
        return stood.max(lowest(&mut marks.iter().filter(|mark| !mark.idle)));
    }
    // The first cut of this silence.
    let silence = earlier.iter().rev().take_while(|(before, _)| before == marks).count();
    if silence > 0 {
        let since = cuts.len() - 1 - silence;
        let began = naive(restored, &cuts[..=since])?;
        return Some(began + (clock - cuts[since].1).max(0)).max(stood);
    }
    let with_events = || marks.iter().filter(|mark| mark.watermark.is_some());
    let before = earlier.last().map(|(before, _)| before);
    let moved =
        |index: usize| before.is_none_or(|before| !before[index].idle || before[index] != marks[index]);
    let mut fell_idle = marks
        .iter()
        .enumerate()
        .filter(|(index, mark)| moved(*index) && mark.watermark.is_some())
        .map(|(_, mark)| mark);
    stood.max(lowest(&mut fell_idle).or(lowest(&mut with_events())))
}

fn cuts() -> impl Strategy<Value = Vec<(Vec<PartitionMark>, i64)>> {
    let mark = (prop::option::weighted(0.8, 0_i64..1_000), prop::bool::weighted(0.6))
        .prop_map(|(watermark, idle)| PartitionMark { watermark: watermark.map(TimestampMs), idle });
    let step = (prop::collection::vec(mark, 3), 0_i64..200, 1_usize..4);
    prop::collection::vec(step, 1..12).prop_map(|steps| {
        let mut clock = 0;
        let mut cuts = Vec::new();
        // A state of the partitions may last for several cuts.
        for (marks, pause, times) in steps {
            for _ in 0..times {
                clock += pause;
                cuts.push((marks.clone(), clock));
            }
        }
        cuts
    })
}

proptest! {
    #[test]
    fn it_agrees_with_a_naive_reading_of_history_and_never_goes_back(
        restored in prop::option::of(0_i64..500), cuts in cuts(),
    ) {
        let mut watermark = PipelineWatermark::new(restored.map(TimestampMs));
        let mut last = watermark.value();
        for (index, (marks, clock)) in cuts.iter().enumerate() {
            let value = watermark.advance(marks, *clock);
            prop_assert_eq!(value.map(|value| value.0), naive(restored, &cuts[..=index]));
            prop_assert!(value >= last);
            last = value;
        }
    }
}
