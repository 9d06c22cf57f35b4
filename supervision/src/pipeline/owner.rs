//! Who owns the transactional id: each process names itself in the state topic with its first commit.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tidegate_core::{NextOffset, TimestampMs};
use tidegate_log::{Log, LogError, Topic};
use tidegate_state::{MemoryImage, OWNER_KEY, PROGRESS_KEY};

use super::error::RecoveryError;

const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a daemon that was fenced waits for the owner record of another: the first epoch of every
/// process writes one at once.
const OWNER_WAIT: Duration = Duration::from_secs(5);
/// The owner record of a generation is among so many records at the end of its partition, when it was just committed.
const OWNER_WITHIN: i64 = 20_000;
const OWNER_POLL: Duration = Duration::from_millis(250);

/// Looks who the owner is. Clones share how far they have read.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) log: Arc<dyn Log>,
    /// Nonce of this process.
    pub(crate) nonce: u64,
    /// Partitions of the state topic.
    pub(crate) key_groups: u32,
    pub(crate) seen: Seen,
}

/// How far partition 0 of the state topic was read for owner records, and what it said: each look goes on from there.
pub(crate) type Seen = Arc<Mutex<(NextOffset, MemoryImage)>>;

impl Owner {
    /// Whether another process has written its owner record; a fenced one waits for it to appear.
    pub(crate) fn check(&self, fenced: bool) -> Result<(), RecoveryError> {
        let deadline = Instant::now() + if fenced { OWNER_WAIT } else { Duration::ZERO };
        loop {
            if self.current()?.is_some_and(|owner| owner != self.nonce) {
                return Err(RecoveryError::TakenOver);
            }
            if Instant::now() >= deadline {
                return Ok(());
            }
            thread::sleep(OWNER_POLL);
        }
    }

    /// When this process wrote its last owner record: by this host's clock, and by the clock that dates the topic's
    /// records, which is the broker's where the topic is set so. It was written a moment ago.
    pub(crate) fn written_at(&self) -> Result<Option<(TimestampMs, TimestampMs)>, LogError> {
        let ends = self.log.offsets(Topic::State, true, TIMEOUT)?;
        let mut from = vec![NextOffset(i64::MAX); ends.len()];
        if let (Some(from), Some(range)) = (from.first_mut(), ends.first()) {
            *from = NextOffset((range.end.0 - OWNER_WITHIN).max(0));
        }
        let mut written_at = None;
        self.log.read_changelog(&from, true, TIMEOUT, &mut |record| {
            let mut image = MemoryImage::default();
            if record.key == OWNER_KEY && image.apply(record.key, record.value).is_ok() {
                let ours = image.owner().filter(|owner| owner.nonce == self.nonce);
                written_at = ours.map(|owner| (owner.started_at_ms, record.timestamp)).or(written_at);
            }
        })?;
        Ok(written_at)
    }

    /// Nonce of the process in the owner record, which is in partition 0.
    fn current(&self) -> Result<Option<u64>, LogError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing of the other partitions.
        let mut from = vec![NextOffset(i64::MAX); self.key_groups as usize];
        from[..1].fill(seen.0);
        let image = &mut seen.1;
        // An open transaction may be our own, and would be waited for in vain.
        let reached = self.log.read_changelog(&from, true, TIMEOUT, &mut |record| {
            if record.key == OWNER_KEY || record.key == PROGRESS_KEY {
                // One that cannot be read is noticed when the state is.
                let _ = image.apply(record.key, record.value);
            }
        })?;
        let owner = image.owner().map(|owner| owner.nonce);
        if owner == Some(self.nonce)
            && let Some(other) = image.progress().filter(|progress| progress.owner != self.nonce)
        {
            tracing::error!(
                epoch = %other.epoch,
                "another daemon commits for the same kafka.group_id under another kafka.transactional_id, so that outputs \
                 come twice; stop one of the two"
            );
        }
        seen.0 = reached.first().copied().unwrap_or_default();
        Ok(owner)
    }
}
