//! Where a recovery is: one call at a time, so that anything can happen in between.

use std::time::Duration;

use tidegate_core::{
    Epoch, NextOffset,
    recovery::{OffsetRange, Resume, Undecided},
    supervision::Rollback,
};

use crate::{
    disk::Rows,
    env::Env,
    log::{Committed, Row},
};

/// What is left of the generation before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remains {
    pub(crate) used: Epoch,
    pub(crate) was_owner: bool,
    pub(crate) is_fenced: bool,
    pub(crate) began_at: Option<Vec<NextOffset>>,
}

/// The generation that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) rollback: Rollback,
    pub(crate) writer: usize,
    pub(crate) announces: bool,
}

/// A writer with what is committed.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) writer: usize,
    pub(crate) committed: Vec<Committed>,
    pub(crate) announces: bool,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Stage {
    AskRollback,
    /// The writer answers, or has no more time at this moment.
    AwaitRollback(Duration),
    /// What is committed goes to the disk, and the store comes back.
    HandOver(Option<Kept>),
    Pause(Duration),
    /// Looks for another owner, until this moment.
    Owner(Option<Duration>),
    Topics,
    Fence(usize),
    Ranges(Kept),
    Open(Kept, Option<Vec<OffsetRange>>),
    Changelog(Kept, Box<Undecided>),
    Fill(Kept, Box<Resume>, Box<Rows>),
    Done,
}

#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) stage: Stage,
    pub(crate) ended: Option<Ended>,
    pub(crate) remains: Remains,
    pub(crate) pause: Duration,
    /// When the next step is due.
    pub(crate) due: Duration,
}

impl Recovery {
    pub(crate) fn new(ended: Option<Ended>, remains: Remains, pause: Duration) -> Self {
        let stage = match &ended {
            Some(Ended { rollback: Rollback::Short, .. }) => Stage::AskRollback,
            _ => Stage::HandOver(None),
        };
        Self { stage, ended, remains, pause, due: Duration::ZERO }
    }

    /// Once more, at this moment.
    pub(crate) fn after(until: Duration, remains: Remains) -> Self {
        Self { stage: Stage::Pause(until), ended: None, remains, pause: Duration::ZERO, due: Duration::ZERO }
    }
}

/// The process that the changelog names as the owner.
pub(crate) fn log_owner(env: &Env) -> Option<u64> {
    let mut owner = None;
    env.log.changelog.read(&[], |_, row| {
        if let Some(Row::Owner { nonce, .. }) = row {
            owner = Some(*nonce);
        }
    });
    owner
}
