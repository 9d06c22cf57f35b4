//! Finding out what is committed and getting there. What to do is decided by [`tidegate_core::recovery`].

use std::{mem, time::Duration};

use tidegate_core::{
    NextOffset,
    epoch::TopicIds,
    recovery::{
        ChangelogFacts, Decision, Facts, OffsetRange, ReadFrom, Refusal, Resume, StoreAction, StoreFacts,
        Undecided, decide,
    },
};

use crate::{
    actors::{Command, Writer},
    disk::{Disk, DiskWork, Rows},
    env::{Env, note},
    faults::Fault,
    log::{Row, RowKey},
    mail::Event,
    plan::{NoPlan, Plan},
    process::Process,
    recovery::{Ended, Kept, Recovery, Stage, log_owner},
    violation::{Checked, violated},
};

const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a process that was fenced waits for the owner record of another.
const OWNER_WAIT: Duration = Duration::from_secs(5);
const OWNER_POLL: Duration = Duration::from_millis(250);

/// What a step leads to: more steps, a plan, or none.
type Progress = Result<Option<Plan>, NoPlan>;

impl Process {
    /// When the next step of its recovery is due; not while that waits for the disk.
    pub(crate) fn recovery_due(&self) -> Option<Duration> {
        let recovery = self.recovery.as_ref()?;
        let is_busy = self.store.work.is_some() || self.store.is_asking();
        match recovery.stage {
            Stage::HandOver(_) | Stage::Fill(..) if is_busy => None,
            Stage::AwaitRollback(_) => {
                let answer = |ended: Ended| self.writers[ended.writer].answer.is_some();
                Some(if recovery.ended.is_some_and(answer) { Duration::ZERO } else { recovery.due })
            }
            _ => Some(recovery.due),
        }
    }

    pub(crate) fn step_recovery(&mut self, env: &mut Env) -> Checked {
        let Some(mut recovery) = self.recovery.take() else { return Ok(()) };
        recovery.due = Duration::ZERO;
        match self.step_stage(&mut recovery, env)? {
            Ok(None) => self.recovery = Some(recovery),
            Ok(Some(plan)) => self.mailbox.push_back(Event::Recovered(Box::new(Ok(plan)))),
            Err(no_plan) => self.mailbox.push_back(Event::Recovered(Box::new(Err(no_plan)))),
        }
        Ok(())
    }

    fn step_stage(&mut self, recovery: &mut Recovery, env: &mut Env) -> Checked<Progress> {
        let stage = mem::replace(&mut recovery.stage, Stage::Done);
        let needs_log = !matches!(
            stage,
            Stage::HandOver(_)
                | Stage::AskRollback
                | Stage::AwaitRollback(_)
                | Stage::Pause(_)
                | Stage::Open(..)
        );
        if needs_log && (!env.log.is_up || env.fails(Fault::LogAway, 60)) {
            return Ok(Err(NoPlan::Unavailable));
        }
        recovery.stage = match stage {
            Stage::HandOver(kept) => match (self.store.hand_over(env), kept) {
                (false, kept) => Stage::HandOver(kept),
                (true, Some(kept)) => Stage::Open(kept, None),
                (true, None) => Stage::Pause(env.now + recovery.pause),
            },
            Stage::AskRollback => self.ask_rollback(recovery, env),
            Stage::AwaitRollback(until) => self.await_rollback(until, recovery, env),
            Stage::Pause(until) if env.now >= until => {
                if recovery.remains.was_owner {
                    Stage::Owner(None)
                } else {
                    Stage::Topics
                }
            }
            Stage::Pause(until) => {
                recovery.due = until;
                Stage::Pause(until)
            }
            Stage::Owner(until) => match self.check_owner(until, recovery, env) {
                Some(next) => next,
                None => return Ok(Err(NoPlan::TakenOver)),
            },
            Stage::Topics => Stage::Fence(env.log.inputs.len()),
            Stage::Fence(partitions) => Stage::Ranges(self.take_over(partitions, env)),
            Stage::Ranges(kept) => {
                let range = |at| OffsetRange { begin: NextOffset(0), end: env.log.end(at) };
                let ranges = (0..env.log.inputs.len()).map(range).collect();
                Stage::Open(kept, Some(ranges))
            }
            Stage::Open(kept, ranges) => return self.open(kept, ranges, recovery, env),
            Stage::Changelog(kept, undecided) => return self.read_changelog(kept, *undecided, recovery, env),
            Stage::Fill(kept, resume, image) => {
                if self.store.work.is_none() {
                    env.check.restored(resume.epoch, &image)?;
                    return Ok(Ok(Some(plan(kept, *resume, &image))));
                }
                Stage::Fill(kept, resume, image)
            }
            Stage::Done => Stage::Done,
        };
        Ok(Ok(None))
    }

    fn ask_rollback(&mut self, recovery: &mut Recovery, env: &Env) -> Stage {
        if let Some(Ended { writer, .. }) = recovery.ended {
            self.writers[writer].send(Command::Rollback);
        }
        Stage::AwaitRollback(env.now + ROLLBACK_TIMEOUT)
    }

    fn await_rollback(&mut self, until: Duration, recovery: &mut Recovery, env: &Env) -> Stage {
        let Some(Ended { writer, announces, .. }) = recovery.ended else { return Stage::HandOver(None) };
        match self.writers[writer].answer.take() {
            Some(Some(committed)) => Stage::HandOver(Some(Kept { writer, committed, announces })),
            Some(None) => Stage::HandOver(None),
            None if env.now >= until => Stage::HandOver(None),
            None => {
                recovery.due = until;
                Stage::AwaitRollback(until)
            }
        }
    }

    /// Whether another process has written its owner record; one that was fenced waits for it to appear. Nothing if so.
    fn check_owner(&self, until: Option<Duration>, recovery: &mut Recovery, env: &Env) -> Option<Stage> {
        if log_owner(env).is_some_and(|owner| owner != self.owner) {
            return None;
        }
        let wait = if recovery.remains.is_fenced { OWNER_WAIT } else { Duration::ZERO };
        let until = until.unwrap_or(env.now + wait);
        if env.now >= until {
            return Some(Stage::Topics);
        }
        recovery.due = until.min(env.now + OWNER_POLL);
        Some(Stage::Owner(Some(until)))
    }

    fn take_over(&mut self, partitions: usize, env: &mut Env) -> Kept {
        let producer = env.log.fence(env.now);
        note!(env, "process {} takes over as writer {producer}", self.owner);
        let committed = env.log.committed[..partitions].to_vec();
        self.writers.push(Writer::new(producer, committed.clone()));
        Kept { writer: self.writers.len() - 1, committed, announces: true }
    }

    fn open(
        &mut self,
        kept: Kept,
        ranges: Option<Vec<OffsetRange>>,
        recovery: &mut Recovery,
        env: &mut Env,
    ) -> Checked<Progress> {
        self.store.is_open = true;
        let store = env.disks[self.store.host].facts(env.now);
        note!(env, "process {} finds its store to be {store:?}", self.owner);
        let mut facts = Facts {
            committed: kept.committed.clone(),
            ranges,
            start: env.shape.start,
            began_at: recovery.remains.began_at.clone(),
            used: recovery.remains.used,
            store,
            topics: TopicIds::default(),
        };
        if facts.store != StoreFacts::Missing && env.fails(Fault::StoreDamaged, 20) {
            // What opened well cannot be read.
            env.disks[self.store.host].damage();
            facts.store = env.disks[self.store.host].facts(env.now);
        }
        match decide(&facts) {
            Ok(Decision::Go(resume)) => {
                let rows = env.disks[self.store.host].rows.clone();
                env.check.restored(resume.epoch, &rows)?;
                Ok(Ok(Some(plan(kept, resume, &rows))))
            }
            Ok(Decision::ReadChangelog(undecided)) => {
                recovery.stage = Stage::Changelog(kept, Box::new(undecided));
                Ok(Ok(None))
            }
            Err(refusal) => self.refuse(&kept, &refusal, env),
        }
    }

    fn read_changelog(
        &mut self,
        kept: Kept,
        undecided: Undecided,
        recovery: &mut Recovery,
        env: &mut Env,
    ) -> Checked<Progress> {
        let disk = &env.disks[self.store.host];
        let (from, mut image, mut highest_epoch) = match (undecided.from(), &disk.base) {
            (ReadFrom::Store, Some(base)) => {
                (base.positions.clone(), disk.rows.clone(), disk.highest_epoch())
            }
            _ => (Vec::new(), Rows::new(), None),
        };
        let positions = env.log.changelog.read(&from, |key, row| {
            highest_epoch = highest_epoch.max(row.map(Row::epoch));
            match row {
                Some(row) => image.insert(key.clone(), row.clone()),
                None => image.remove(key),
            };
        });
        note!(env, "process {} reads the changelog from {from:?} to {positions:?}", self.owner);
        if from.iter().zip(&positions).any(|(from, reached)| reached < from) {
            violated!("the changelog ends before the store's position: {positions:?}, {from:?}");
        }
        let resume = match undecided.decide(ChangelogFacts::Read { highest_epoch }) {
            Ok(resume) => resume,
            Err(refusal) => return self.refuse(&kept, &refusal, env),
        };
        let disk = &mut env.disks[self.store.host];
        if resume.store == (StoreAction::Rebuild { put_aside: true }) {
            *disk = Disk::default();
        }
        if let Some(epoch) = resume.epoch {
            self.store.work = Some(DiskWork::fill(epoch, &image, positions, disk, &mut env.random));
        }
        recovery.stage = Stage::Fill(kept, Box::new(resume), Box::new(image));
        Ok(Ok(None))
    }

    /// A refusal is right only if another process has taken over meanwhile, or commits more partitions than were seen.
    fn refuse(&self, kept: &Kept, refusal: &Refusal, env: &mut Env) -> Checked<Progress> {
        let has_grown = kept.committed.len() < env.log.inputs.len();
        if self.writers[kept.writer].producer == env.log.producer && !has_grown {
            violated!("recovery refuses: {refusal}");
        }
        note!(env, "process {} refuses, for it is fenced: {refusal}", self.owner);
        Ok(Err(NoPlan::Refused))
    }
}

fn plan(kept: Kept, resume: Resume, image: &Rows) -> Plan {
    let window = |(key, row): (&RowKey, &Row)| match (key, row) {
        (RowKey::Window(key), Row::Window { state, .. }) => Some((key.clone(), state.clone())),
        _ => None,
    };
    Plan {
        epoch: resume.epoch,
        first: resume.first,
        positions: resume.positions,
        highest: resume.highest,
        watermark: resume.watermark,
        windows: image.iter().filter_map(window).collect(),
        announces: kept.announces,
        writer: kept.writer,
    }
}
