//! Event time: how far each input partition has come, and the pipeline with them.

use crate::TimestampMs;

/// The event time of one input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionClock {
    highest: Option<TimestampMs>,
}

impl PartitionClock {
    /// A clock as it was left: `highest` is the highest timestamp observed, if there was any.
    #[must_use]
    pub fn restore(highest: Option<TimestampMs>) -> Self {
        Self { highest }
    }

    /// Takes an event's timestamp into account. Not for dead letters and far-future events.
    pub fn observe(&mut self, timestamp: TimestampMs) {
        self.highest = self.highest.max(Some(timestamp));
    }

    /// The highest timestamp observed.
    #[must_use]
    pub fn highest(&self) -> Option<TimestampMs> {
        self.highest
    }

    /// The partition's watermark: the highest timestamp less `max_disorder_ms`; `None` before the first event.
    #[must_use]
    pub fn watermark(&self, max_disorder_ms: i64) -> Option<TimestampMs> {
        self.highest.map(|highest| TimestampMs(highest.0.saturating_sub(max_disorder_ms)))
    }
}

/// Whether a timestamp lies more than `max_future_ms` ahead of both clocks that could vouch for it: the
/// record's Kafka timestamp and the wall clock. A record without a timestamp (negative) leaves the wall clock.
#[must_use]
pub fn is_far_future(
    timestamp: TimestampMs,
    record_timestamp: TimestampMs,
    wall_clock: TimestampMs,
    max_future_ms: i64,
) -> bool {
    let now = if record_timestamp.0 < 0 { wall_clock } else { wall_clock.min(record_timestamp) };
    timestamp.0 > now.0.saturating_add(max_future_ms)
}

/// What one input partition says about event time at a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionMark {
    /// Its watermark; `None` if it has brought nothing yet.
    pub watermark: Option<TimestampMs>,
    /// It is read to its end and has been silent for long enough not to hold the others back.
    pub idle: bool,
}

/// The watermark of the whole pipeline.
///
/// It depends on nothing but the calls of [`advance`](Self::advance), so copies that are fed the same cuts
/// agree.
#[derive(Debug, Clone)]
pub struct PipelineWatermark {
    value: Option<TimestampMs>,
    /// The marks of the cut before.
    previous: Vec<PartitionMark>,
    /// Since when all partitions have been idle, and where the watermark stood then.
    silence: Option<Silence>,
}

#[derive(Debug, Clone, Copy)]
struct Silence {
    began_ms: i64,
    stood_at: TimestampMs,
}

impl PipelineWatermark {
    /// A watermark that stands at `restored`, or nowhere yet.
    #[must_use]
    pub fn new(restored: Option<TimestampMs>) -> Self {
        Self { value: restored, previous: Vec::new(), silence: None }
    }

    /// The watermark as of the last cut.
    #[must_use]
    pub fn value(&self) -> Option<TimestampMs> {
        self.value
    }

    /// Moves on at a cut, and returns the new value. It never goes back.
    ///
    /// `marks` has one element per input partition, always in the same order. `elapsed_ms` is the cut's
    /// reading of a monotonic clock in milliseconds, of any origin, the same for all copies.
    ///
    /// The value is the lowest watermark of the partitions that are not idle. When all are idle it runs on
    /// with the clock from where it stood when the last one fell idle.
    pub fn advance(&mut self, marks: &[PartitionMark], elapsed_ms: i64) -> Option<TimestampMs> {
        let reached = if marks.iter().any(|mark| !mark.idle) {
            self.silence = None;
            lowest_active(marks)
        } else {
            self.run_on(marks, elapsed_ms)
        };
        self.value = self.value.max(reached);
        self.previous.clear();
        self.previous.extend_from_slice(marks);
        self.value
    }

    /// Where the watermark is when all are idle.
    fn run_on(&mut self, marks: &[PartitionMark], elapsed_ms: i64) -> Option<TimestampMs> {
        let silence = match self.silence {
            Some(silence) if self.previous == marks => silence,
            _ => {
                let stood_at = self.value.max(self.stood_when_silence_began(marks))?;
                *self.silence.insert(Silence { began_ms: elapsed_ms, stood_at })
            }
        };
        let silent_ms = elapsed_ms.saturating_sub(silence.began_ms).max(0);
        Some(TimestampMs(silence.stood_at.0.saturating_add(silent_ms)))
    }

    /// How far the partitions had come that fell idle last, that is since the cut before. Of several the
    /// lowest counts, as while they were active.
    ///
    /// If those never brought anything, they had held back what the others brought; now nobody does.
    fn stood_when_silence_began(&self, marks: &[PartitionMark]) -> Option<TimestampMs> {
        let was_active = |index: usize, mark: &PartitionMark| {
            self.previous.get(index).is_none_or(|before| !before.idle || before.watermark != mark.watermark)
        };
        let fell_idle = marks.iter().enumerate().filter(|(index, mark)| was_active(*index, mark));
        let lowest = fell_idle.filter_map(|(_, mark)| mark.watermark).min();
        lowest.or_else(|| marks.iter().filter_map(|mark| mark.watermark).min())
    }
}

/// The lowest watermark of the partitions that are not idle; `None` if one of them has none.
fn lowest_active(marks: &[PartitionMark]) -> Option<TimestampMs> {
    // `None` is less than any watermark.
    marks.iter().filter(|mark| !mark.idle).map(|mark| mark.watermark).min().flatten()
}
