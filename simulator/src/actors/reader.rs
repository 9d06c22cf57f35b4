//! The thread that reads. It outlives generations, too.

use std::{rc::Rc, time::Duration};

use tidegate_core::{
    Generation, NextOffset,
    supervision::{Failure, Part},
};

use super::live::{Around, Live};
use crate::{
    env::{Env, note},
    faults::Fault,
    log::Slot,
    mail::{Event, ToBarrier, ToPartition},
    shape::BATCH_RECORDS,
    violation::Checked,
};

/// The cut that was asked for may have freed too little.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// What it reads for; nothing if it is halted.
    route: Option<Generation>,
    positions: Vec<usize>,
    /// Ends that were told.
    told: Vec<Option<usize>>,
    /// When it asks for a cut, while it waits for the budget.
    ask_at: Duration,
}

impl Reader {
    pub(crate) fn start(&mut self, generation: Generation, from: &[NextOffset]) {
        self.route = Some(generation);
        self.positions = from.iter().map(|next| next.0 as usize).collect();
        self.told = vec![None; from.len()];
        self.ask_at = Duration::ZERO;
    }

    pub(crate) fn halt(&mut self) {
        self.route = None;
    }

    /// When it has something to do.
    pub(crate) fn due(&self, live: &Live, env: &Env) -> Option<Duration> {
        if self.route != Some(live.key.generation) {
            return None;
        }
        if !live.credits.available() {
            return Some(self.ask_at);
        }
        let has_news = |at: usize| {
            let end = env.log.inputs[at].len();
            self.positions[at] < end || self.told[at] != Some(end)
        };
        (env.log.is_up && (0..self.positions.len()).any(has_news)).then_some(Duration::ZERO)
    }

    pub(crate) fn step(&mut self, live: &mut Live, around: &mut Around<'_>) -> Checked {
        let generation = live.key.generation;
        let failure = if around.env.fails(Fault::ThreadPanic, 60) {
            Some(Failure::Crashed(Part::Reader))
        } else if around.env.fails(Fault::LogAway, 100) {
            Some(Failure::LogUnavailable)
        } else {
            None
        };
        if let Some(failure) = failure {
            note!(around.env, "{} reader fails: {failure:?}", live.key);
            self.route = None;
            around.events.push_back(Event::Failed { generation, failure });
            return Ok(());
        }
        if !live.credits.available() {
            self.ask_at = around.env.now + ASK_AGAIN_AFTER;
            note!(around.env, "{} reader waits for the budget", live.key);
            live.barrier.mail.send(ToBarrier::CutNow);
            return Ok(());
        }
        self.ask_at = Duration::ZERO;
        for at in 0..self.positions.len() {
            if self.positions.len() == 1 || around.env.random.one_in(2) {
                self.poll(at, live, around);
            }
        }
        around.env.check.in_flight(live.key, self.taken(), &around.env.log, around.env.shape.in_flight_bytes)
    }

    /// How far each partition is read.
    pub(crate) fn taken(&self) -> impl Iterator<Item = i64> {
        self.positions.iter().map(|position| *position as i64)
    }

    fn poll(&mut self, at: usize, live: &mut Live, around: &mut Around<'_>) {
        let input = &around.env.log.inputs[at];
        let most = 1 + around.env.random.index(BATCH_RECORDS);
        let mut batch = Vec::with_capacity(most);
        while batch.len() < most && self.positions[at] < input.len() {
            if let Slot::Record(record) = input[self.positions[at]] {
                batch.push(record);
            }
            self.positions[at] += 1;
        }
        let is_at_end = self.positions[at] == input.len();
        if !batch.is_empty() {
            live.credits.spend(batch.iter().map(|record| record.bytes).sum());
            live.partitions[at].mail.send(ToPartition::Batch(Rc::from(batch)));
        }
        if is_at_end && self.told[at] != Some(self.positions[at]) {
            self.told[at] = Some(self.positions[at]);
            live.partitions[at].mail.send(ToPartition::End(NextOffset(self.positions[at] as i64)));
        }
    }
}
