//! What a seed draws before the first step: the size of the shard, its settings, and which faults it meets.

use std::{sync::Arc, time::Duration};

use tidegate_core::{
    PartitionId,
    partitioner::{key_group, window_actor},
    recovery::StartAt,
    rules::Rule,
};

use crate::{faults::Fault, random::Random, slow::Slow};

/// Services of the events; their windows are spread over key groups and window actors.
pub(crate) const SERVICES: [&str; 4] = ["web", "db", "auth", "mail"];
/// Types of events that a rule may count.
pub(crate) const EVENT_TYPES: [&str; 2] = ["error", "login"];
/// Most records of a batch.
pub(crate) const BATCH_RECORDS: usize = 4;
/// Most bytes of a record.
pub(crate) const RECORD_BYTES: u64 = 8;

/// The drawn configuration.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) partitions: usize,
    /// Records that are written to the input.
    pub(crate) records: usize,
    pub(crate) window_actors: usize,
    pub(crate) key_groups: u32,
    pub(crate) workers: usize,
    pub(crate) start: StartAt,
    pub(crate) interval: Duration,
    pub(crate) idle_after_ms: i64,
    pub(crate) max_disorder_ms: i64,
    pub(crate) allowed_lateness_ms: i64,
    pub(crate) in_flight_bytes: usize,
    pub(crate) max_restarts: usize,
    pub(crate) gather_for: Duration,
    pub(crate) rules: Arc<[Rule]>,
    /// Faults that may happen.
    pub(crate) faults: Vec<Fault>,
    /// One fault in so many steps.
    pub(crate) fault_every: u64,
    /// Faults end after so many steps.
    pub(crate) fault_steps: u32,
    /// What takes its turn more seldom than the rest.
    pub(crate) slow: Option<Slow>,
    /// Which window actor has a service, by its number.
    pub(crate) owners: [usize; SERVICES.len()],
}

impl Shape {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let window_actors = 1 + random.index(3);
        let key_groups = 1 + random.below(3) as u32;
        let interval_ms = random.pick(&[10, 20, 60]);
        let calm = random.one_in(16);
        let faults = Fault::ALL.into_iter().filter(|_| !calm && random.one_in(2)).collect::<Vec<_>>();
        Self {
            partitions: 1 + random.index(3),
            records: 4 + random.index(28),
            window_actors,
            key_groups,
            workers: 1 + random.index(2),
            start: if random.one_in(4) { StartAt::Latest } else { StartAt::Earliest },
            interval: Duration::from_millis(interval_ms),
            idle_after_ms: interval_ms as i64 * random.pick(&[3, 6]),
            max_disorder_ms: random.pick(&[0, 20, 50]),
            allowed_lateness_ms: random.pick(&[0, 0, 25]),
            in_flight_bytes: random.pick(&[8, 24, 60, 1000]),
            max_restarts: random.pick(&[3, 6, 20]),
            gather_for: Duration::from_millis(random.pick(&[1, 100, 1000])),
            rules: draw_rules(random),
            fault_every: random.pick(&[250, 120, 60, 30]),
            fault_steps: random.pick(&[200, 400, 700]),
            owners: SERVICES.map(|service| window_actor(key_group(service, key_groups), window_actors)),
            slow: random.one_in(2).then(|| random.pick(&Slow::ALL)),
            faults,
        }
    }

    /// The number of a service.
    pub(crate) fn service(name: &str) -> usize {
        SERVICES.iter().position(|service| *service == name).unwrap_or_default()
    }
}

fn draw_rules(random: &mut Random) -> Arc<[Rule]> {
    let tumbling_ms = random.pick(&[40, 100]);
    let slide_ms = random.pick(&[30, 50]);
    let rule = |name: &str, window_ms, slide_ms, threshold, event_type: &str| Rule {
        name: name.into(),
        event_type: event_type.into(),
        window_ms,
        slide_ms,
        threshold,
        message: String::new(),
        window_text: String::new(),
        emit_crossed: true,
        emit_closed: true,
    };
    let second = random.pick(&EVENT_TYPES);
    [
        rule("tumbling", tumbling_ms, tumbling_ms, random.below(4), EVENT_TYPES[0]),
        rule("sliding", slide_ms * 2, slide_ms, 1 + random.below(3), second),
    ]
    .into()
}

/// All partitions of so many.
pub(crate) fn partitions(count: usize) -> impl Iterator<Item = PartitionId> {
    (0..count as u32).map(PartitionId)
}
