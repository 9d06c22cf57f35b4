//! A share of the windows on its way through the epochs.
//!
//! Event time moves only when an epoch is aligned: an event is late or not by the watermark of the epoch before, so that
//! a replay of the same cuts decides the same. Events of the next epoch that come early wait.

use crate::{
    Epoch, PartitionId, TimestampMs,
    epoch::{
        align::{Aligned, Alignment, OutOfTurn},
        barrier::Seal,
    },
    time::watermark::{PartitionMark, PipelineWatermark},
    window::{EpochDelta, Windows},
};

/// Windows, what their event time is, and which partitions have sealed the open epoch. `E` is events to count.
#[derive(Debug)]
pub struct WindowShare<E> {
    alignment: Alignment<PartitionMark, E>,
    watermark: PipelineWatermark,
    windows: Windows,
}

/// What an epoch did to the windows.
#[derive(Debug)]
pub struct ShareDelta<E> {
    /// The epoch.
    pub epoch: Epoch,
    /// Alerts, changes and counts.
    pub delta: EpochDelta,
    /// The pipeline's watermark as of the epoch.
    pub watermark: Option<TimestampMs>,
    /// Events of the next epoch, which is open now: to be counted.
    pub early: Vec<E>,
}

impl<E> WindowShare<E> {
    /// `windows` as of the epoch before `epoch`, which is open now, and the watermark as of then.
    #[must_use]
    pub fn new(
        mut windows: Windows,
        watermark: Option<TimestampMs>,
        epoch: Epoch,
        partitions: usize,
    ) -> Self {
        windows.restore_watermark(watermark);
        let alignment = Alignment::new(epoch, partitions);
        Self { alignment, watermark: PipelineWatermark::new(watermark), windows }
    }

    /// Events came: they come back if they are to be counted now.
    ///
    /// # Errors
    /// [`OutOfTurn`] as the protocol does not allow it.
    pub fn admit(&mut self, of: Epoch, partition: PartitionId, events: E) -> Result<Option<E>, OutOfTurn> {
        self.alignment.admit(of, partition, events)
    }

    /// The windows.
    #[must_use]
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// The windows, to count in.
    pub fn windows_mut(&mut self) -> &mut Windows {
        &mut self.windows
    }

    /// A partition seals the open epoch; the last one moves event time on and closes what is behind it.
    ///
    /// # Errors
    /// [`OutOfTurn`] as the protocol does not allow it.
    pub fn seal(&mut self, seal: &Seal) -> Result<Option<ShareDelta<E>>, OutOfTurn> {
        self.alignment.seal(seal.cut.epoch, seal.partition, seal.mark)?;
        let Some(Aligned { epoch, seals, early }) = self.alignment.open_next() else { return Ok(None) };
        let watermark = self.watermark.advance(&seals, seal.cut.at_ms());
        let delta = self.windows.seal(watermark);
        Ok(Some(ShareDelta { epoch, delta, watermark, early }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        NextOffset, RuleId,
        epoch::barrier::Cut,
        rules::Rule,
        window::{CountedEvent, OpenWindows},
    };

    const A: PartitionId = PartitionId(0);
    const B: PartitionId = PartitionId(1);

    fn share() -> WindowShare<i64> {
        let rules: Arc<[Rule]> = [Rule { window_ms: 1_000, slide_ms: 1_000, ..Rule::default() }].into();
        let windows = Windows::new(rules, 0, 3, Arc::new(OpenWindows::new(100)));
        WindowShare::new(windows, Some(TimestampMs(0)), Epoch(1), 2)
    }

    fn count(share: &mut WindowShare<i64>, timestamp: i64) {
        let timestamp = TimestampMs(timestamp);
        let event =
            CountedEvent { timestamp, partition: A, offset: 0, user_id: None, append_time: timestamp };
        share.windows_mut().count(RuleId(0), "web", std::iter::once(event));
    }

    fn seal(epoch: u64, partition: PartitionId, watermark: i64) -> Seal {
        let cut = Cut { epoch: Epoch(epoch), at: Duration::ZERO, log_is_up: true, drain: false };
        let mark = PartitionMark { watermark: Some(TimestampMs(watermark)), idle: false };
        Seal { cut, partition, next: NextOffset(0), mark, highest: None }
    }

    #[test]
    fn event_time_moves_once_all_partitions_have_sealed_and_not_before() {
        let mut share = share();
        assert!(share.seal(&seal(1, A, 5_000)).unwrap().is_none());
        count(&mut share, 500);
        let delta = share.seal(&seal(1, B, 1_500)).unwrap().unwrap();
        assert_eq!((delta.epoch, delta.watermark), (Epoch(1), Some(TimestampMs(1_500))));
        assert_eq!(delta.delta.late, [0], "it was counted before event time moved");
        count(&mut share, 600);
        share.seal(&seal(2, A, 5_000)).unwrap();
        assert_eq!(share.seal(&seal(2, B, 1_500)).unwrap().unwrap().delta.late, [1]);
    }

    #[test]
    fn events_of_the_next_epoch_come_back_when_it_is_open() {
        let mut share = share();
        share.seal(&seal(1, A, 1)).unwrap();
        assert_eq!(share.admit(Epoch(2), A, 7), Ok(None));
        assert_eq!(share.admit(Epoch(1), B, 8), Ok(Some(8)));
        assert_eq!(share.seal(&seal(1, B, 1)).unwrap().unwrap().early, [7]);
    }
}
