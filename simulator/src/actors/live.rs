//! A generation: all actors that live and end together.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tidegate_core::{
    Epoch, NextOffset, PartitionId, TimestampMs,
    epoch::{commit::Commits, credits::Credits, partition::Start, share::WindowShare},
    time::idleness::IdleLimits,
    window::{OpenWindows, Windows},
};

use super::{
    parts::{Barrier, Committer, Partition, Window, Worker},
    writer::Writer,
};
use crate::{
    env::Env,
    key::Key,
    mail::Event,
    plan::Plan,
    shape::{Shape, partitions},
};

/// Events that a window remembers.
const EVIDENCE: usize = 2;
/// More windows than any schedule opens.
const OPEN_WINDOWS: usize = 10_000;

/// What an actor of a generation can reach outside of it.
pub(crate) struct Around<'a> {
    pub(crate) env: &'a mut Env,
    pub(crate) events: &'a mut VecDeque<Event>,
    pub(crate) writers: &'a mut Vec<Writer>,
}

pub(crate) struct Live {
    pub(crate) key: Key,
    began: Duration,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) windows: Vec<Window>,
    pub(crate) filter: Vec<Worker>,
    pub(crate) enrich: Vec<Worker>,
    pub(crate) committer: Committer,
    pub(crate) barrier: Barrier,
    pub(crate) credits: Credits,
    pub(crate) writer: usize,
    /// No epoch of its writer is committed yet.
    pub(crate) announces: bool,
}

impl Live {
    pub(crate) fn spawn(key: Key, plan: Plan, env: &Env) -> Self {
        let Shape { workers, in_flight_bytes, window_actors, interval, .. } = env.shape;
        let now = env.now;
        let pool = || (0..workers).map(|_| Worker::default()).collect();
        let count = plan.positions.len();
        let windows = spawn_windows(&plan, env);
        let of = partitions(count).zip(&plan.positions).zip(&plan.highest);
        let spawned = of.map(|((partition, next), highest)| {
            Partition::new(start(partition, plan.first, *next, *highest, env))
        });
        Self {
            key,
            began: now,
            partitions: spawned.collect(),
            windows,
            filter: pool(),
            enrich: pool(),
            committer: Committer::new(Commits::new(
                plan.first,
                plan.positions.clone(),
                window_actors,
                plan.announces,
                now,
            )),
            barrier: Barrier::new(plan.first, interval),
            credits: Credits::new(in_flight_bytes),
            writer: plan.writer,
            announces: plan.announces,
        }
    }

    pub(super) fn since_began(&self, around: &Around<'_>) -> Duration {
        around.env.now - self.began
    }

    /// When its barrier ticks.
    pub(crate) fn tick_due(&self) -> Option<Duration> {
        self.barrier.tick_due().map(|due| self.began + due)
    }
}

fn start(
    partition: PartitionId,
    epoch: Epoch,
    next: NextOffset,
    highest: Option<TimestampMs>,
    env: &Env,
) -> Start {
    let Shape { idle_after_ms, interval, max_disorder_ms, .. } = env.shape;
    let idle = IdleLimits { idle_after_ms, interval_ms: interval.as_millis() as i64 };
    Start { partition, epoch, next, highest, now_ms: env.now_ms(), max_disorder_ms, idle }
}

fn spawn_windows(plan: &Plan, env: &Env) -> Vec<Window> {
    let shape = &env.shape;
    let open = Arc::new(OpenWindows::new(OPEN_WINDOWS));
    let new =
        |_| Windows::new(Arc::clone(&shape.rules), shape.allowed_lateness_ms, EVIDENCE, Arc::clone(&open));
    let mut shares: Vec<Windows> = (0..shape.window_actors).map(new).collect();
    for (key, state) in &plan.windows {
        shares[shape.owners[Shape::service(&key.service)]].restore(key.clone(), state.clone());
    }
    let count = plan.positions.len();
    let window = |windows| Window::new(WindowShare::new(windows, plan.watermark, plan.first, count));
    shares.into_iter().map(window).collect()
}
