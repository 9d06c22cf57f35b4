//! Records that a topic refuses for good, and other work that a generation fails at, until it is done.

use std::sync::{Arc, atomic::Ordering};

use tidegate_core::{
    NextOffset,
    supervision::{LifecycleState, Obstacle},
};
use tidegate_log::{LogError, Topic};
use tidegate_telemetry::Phase;

use super::{clock_sample, generation::Live, supervisor::SupervisorState};

impl SupervisorState {
    /// Records that a topic refused are written otherwise the next time.
    pub(super) fn note_refusal(&mut self, error: &LogError) {
        self.refusal = None;
        let LogError::Refused(refused) = error else { return };
        if let Some(broker_now) = refused.broker_now {
            clock_sample::learn(&self.shared.clock, self.shared.clock.wall(), broker_now);
        } else if refused.records.is_empty() {
            self.shared.clock.doubt();
        }
        let records = Arc::make_mut(&mut self.shared.refused);
        for (topic, partition, offset) in &refused.records {
            records.add(*partition, *offset, *topic == Topic::DeadLetters, &refused.cause);
        }
        self.refusal = Some((error.to_string(), !refused.records.is_empty()));
    }

    /// What a generation failed at has to be done before anybody is told that all is well.
    pub(super) fn meet_obstacle(&mut self, live: &Live) {
        let taken = live.taken.iter().map(|taken| taken.load(Ordering::Relaxed)).collect();
        let (refusal, is_remedied) = self.refusal.take().unzip();
        let met = Obstacle::new(taken, live.began.elapsed(), refusal, is_remedied.unwrap_or(false));
        self.obstacle = Some(match self.obstacle.take() {
            Some(before) => before.and(met),
            None => met,
        });
        self.shared.stuck.store(true, Ordering::Relaxed);
    }

    pub(super) fn look_at_obstacle(&mut self) {
        let Some(live) = &self.live else { return };
        let committed: Vec<i64> = live.positions.iter().map(|at| at.load(Ordering::Relaxed)).collect();
        let is_overcome = |obstacle: &Obstacle| obstacle.is_overcome(&committed, live.began.elapsed());
        if !self.obstacle.as_ref().is_none_or(is_overcome) {
            return;
        }
        self.backoff.reset();
        if let Some(obstacle) = self.obstacle.take() {
            self.shared.stuck.store(false, Ordering::Relaxed);
            let next: Vec<_> = committed.into_iter().map(NextOffset).collect();
            Arc::make_mut(&mut self.shared.refused).forget(&next);
            if obstacle.refusal().is_some() && self.lifecycle.state() == LifecycleState::Running {
                self.set_phase(Phase::Running, None);
            }
        }
    }
}
