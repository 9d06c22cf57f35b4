//! Cuts epochs, one at a time.

use std::time::Duration;

use tidegate_core::epoch::{barrier::Cut, pace::When};

use super::live::{Around, Live};
use crate::{
    env::note,
    mail::{Event, ToBarrier, ToPartition},
};

impl Live {
    pub(crate) fn step_barrier(&mut self, around: &mut Around<'_>) {
        let Some(message) = self.barrier.mail.next() else { return };
        let now = self.since_began(around);
        match message {
            ToBarrier::CutSoon => self.barrier.pace.hurry(),
            ToBarrier::CutNow => self.barrier.pace.budget_used(now),
            ToBarrier::Drain => self.barrier.pace.drain(),
            ToBarrier::Finished { epoch, committed } => {
                if let Some(cut) = self.barrier.open.take_if(|cut| cut.epoch == epoch) {
                    self.barrier.pace.finished(committed);
                    around.events.push_back(Event::Progress { epoch, committed });
                    if cut.drain {
                        around.events.push_back(Event::Drained);
                    }
                }
            }
        }
        self.cut_if_due(around);
    }

    pub(crate) fn tick(&mut self, around: &mut Around<'_>) {
        self.barrier.armed = None;
        self.cut_if_due(around);
    }

    fn cut_if_due(&mut self, around: &mut Around<'_>) {
        let now = self.since_began(around);
        match self.barrier.pace.when(now) {
            When::Now => self.cut(now, around),
            When::At(due) => {
                let armed = self.barrier.armed.get_or_insert(due);
                *armed = due.min(*armed);
            }
            When::Later => {}
        }
    }

    fn cut(&mut self, now: Duration, around: &mut Around<'_>) {
        let barrier = &mut self.barrier;
        let cut = Cut {
            epoch: barrier.epoch,
            at: around.env.now,
            log_is_up: around.env.log.is_up,
            drain: barrier.pace.is_draining(),
        };
        note!(
            around.env,
            "{} barrier cuts epoch {}{}",
            self.key,
            cut.epoch,
            if cut.drain { ", the last one" } else { "" }
        );
        barrier.epoch = cut.epoch.next();
        barrier.pace.cut(now);
        barrier.open = Some(cut);
        for partition in &mut self.partitions {
            partition.mail.send(ToPartition::Cut(cut));
        }
    }
}
