//! The workers of the pools: they hold nothing that another could not do again.

use tidegate_core::{TimestampMs, epoch::partition::Done, supervision::Part};

use super::{
    live::{Around, Live},
    parts::Worker,
};
use crate::{
    env::note,
    faults::Fault,
    input::{Fate, Kind, Record},
    mail::{Event, Group, Job, Piece, ToPartition},
    random::Random,
    shape::Shape,
};

/// Gives a job to a living worker; false if there is none.
pub(super) fn send(workers: &mut [Worker], job: Job, random: &mut Random) -> bool {
    let first = random.index(workers.len());
    let count = workers.len();
    for at in (0..count).map(|step| (first + step) % count) {
        if !workers[at].is_dead {
            workers[at].jobs.push_back(job);
            return true;
        }
    }
    false
}

impl Live {
    pub(crate) fn step_filter(&mut self, at: usize, around: &mut Around<'_>) {
        let Some(job) = self.filter[at].jobs.pop_front() else { return };
        if kills(&job, false) || dies_by_chance(&job, around) {
            return self.worker_dies(Part::Filter, at, Some(job), around);
        }
        let (partition, piece) = (job.partition, job.piece);
        if !send(&mut self.enrich, job, &mut around.env.random) {
            self.partitions[partition].mail.send(ToPartition::Lost { piece, is_blamed: false });
        }
    }

    pub(crate) fn step_enrich(&mut self, at: usize, around: &mut Around<'_>) {
        let Some(job) = self.enrich[at].jobs.pop_front() else { return };
        if kills(&job, true) || dies_by_chance(&job, around) {
            return self.worker_dies(Part::Enrich, at, Some(job), around);
        }
        let done = work(&job.batch[job.piece.records()], &around.env.shape);
        self.partitions[job.partition].mail.send(ToPartition::Done(job.piece, done));
    }

    /// A worker dies; the piece that it had in hand is to blame.
    fn worker_dies(&mut self, part: Part, at: usize, in_hand: Option<Job>, around: &mut Around<'_>) {
        note!(around.env, "{} {part} worker {at} dies", self.key);
        let workers = if part == Part::Filter { &mut self.filter } else { &mut self.enrich };
        workers[at].is_dead = true;
        let waiting = std::mem::take(&mut workers[at].jobs);
        let lost =
            in_hand.into_iter().map(|job| (job, true)).chain(waiting.into_iter().map(|job| (job, false)));
        for (Job { partition, piece, .. }, is_blamed) in lost {
            self.partitions[partition].mail.send(ToPartition::Lost { piece, is_blamed });
        }
        around.events.push_back(Event::WorkerDied { generation: self.key.generation, part, index: at });
    }

    /// Puts a new worker in the place of a dead one.
    pub(crate) fn replace_worker(&mut self, part: Part, at: usize) {
        let workers = if part == Part::Filter { &mut self.filter } else { &mut self.enrich };
        workers[at].is_dead = false;
        for partition in &mut self.partitions {
            partition.mail.send(ToPartition::WorkerReplaced);
        }
    }
}

fn dies_by_chance(job: &Job, around: &mut Around<'_>) -> bool {
    let dies = around.env.fails(Fault::WorkerCrash, 24);
    if dies {
        let in_hand = &job.batch[job.piece.records()];
        around.env.check.suspects.extend(in_hand.iter().map(|record| (record.partition.0, record.offset)));
    }
    dies
}

fn kills(job: &Job, in_this: bool) -> bool {
    let is_poison =
        |record: &Record| matches!(record.kind, Kind::Poison { in_enrich } if in_enrich == in_this);
    job.batch[job.piece.records()].iter().any(is_poison)
}

/// What filtering and enriching make of records.
fn work(records: &[Record], shape: &Shape) -> Done<Piece> {
    let mut highest: Option<TimestampMs> = None;
    let mut output = Vec::with_capacity(records.len());
    let mut counted: Vec<Vec<Group>> = (0..shape.window_actors).map(|_| Vec::new()).collect();
    for record in records {
        if record.has_time() {
            highest = highest.max(Some(record.timestamp));
        }
        match record.fate() {
            Fate::Processed => output.push((record.offset, false)),
            Fate::DeadLetter => output.push((record.offset, true)),
            Fate::Dropped => {}
        }
        for (rule, of) in shape.rules.iter().enumerate() {
            if record.is_counted_by(&of.event_type) {
                let groups = &mut counted[shape.owners[record.service]];
                let event = (record.timestamp, record.offset);
                match groups.iter_mut().find(|group| group.rule == rule && group.service == record.service) {
                    Some(group) => group.events.push(event),
                    None => groups.push(Group { rule, service: record.service, events: vec![event] }),
                }
            }
        }
    }
    Done { highest, result: Piece { output, counted } }
}
