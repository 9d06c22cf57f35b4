//! From one generation to the plan of the next: the old one ends and leaves its local store, then recovery finds out
//! where to go on.

use std::{sync::Arc, time::Duration};

use tidegate_actors::Keeper;
use tidegate_core::{Generation, supervision::Rollback};
use tidegate_log::LogError;
use tidegate_state::StateDir;

use super::{
    error::RecoveryError,
    generation::Live,
    recovery::{Kept, Plan, Recovery, Remains},
};

/// How long giving up the epoch on the same writer may take before the writer is abandoned.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(3);

/// What was there before a recovery.
pub(crate) enum Before {
    /// Only the local store: the process has just begun, or a recovery failed.
    Store(Box<Keeper>),
    /// A generation, which has the local store.
    Generation(Ended),
}

/// A generation that is to end.
pub(crate) struct Ended {
    pub(crate) live: Box<Live>,
    pub(crate) rollback: Rollback,
    /// The reader's thread is gone.
    pub(crate) reader_lost: bool,
}

/// What came of a recovery, and the local store, whatever came.
pub(crate) struct Recovered {
    pub(crate) result: Result<Plan, RecoveryError>,
    pub(crate) keeper: Keeper,
}

/// Ends the old generation if there is one, then finds out where to go on.
pub(crate) async fn run_recovery(
    recovery: Recovery,
    pause: Duration,
    before: Before,
    remains: Remains,
    next: Generation,
    dir: StateDir,
) -> Recovered {
    let keeper = match before {
        Before::Store(keeper) => *keeper,
        Before::Generation(Ended { live, rollback, reader_lost }) => {
            live.writer.begin(next);
            live.end().await;
            let kept = if rollback == Rollback::Short { roll_back(&live).await } else { None };
            let reader = (!reader_lost).then(|| live.reader.clone());
            // After the rollback, by which the writer has handed over all that it committed.
            let keeper = live.inheritance().await.unwrap_or_else(|| Keeper::new(dir.clone()));
            if let Some(kept) = kept {
                let recover = move |keeper: &mut Keeper| recovery.short(kept, reader, &remains, keeper);
                return blocking(keeper, dir, recover).await;
            }
            keeper
        }
    };
    tokio::time::sleep(pause).await;
    blocking(keeper, dir, move |keeper| recovery.full(&remains, keeper)).await
}

async fn roll_back(live: &Live) -> Option<Kept> {
    match tokio::time::timeout(ROLLBACK_TIMEOUT, live.writer.rollback()).await {
        Ok(Ok(committed)) => {
            let (writer, topics) = (live.writer.clone(), Arc::clone(&live.topics));
            Some(Kept { writer, committed, topics, announce: live.announce })
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "a new writer takes over");
            None
        }
        Err(_) => {
            tracing::warn!("the writer does not answer, a new one takes over");
            None
        }
    }
}

async fn blocking(
    mut keeper: Keeper,
    dir: StateDir,
    recover: impl FnOnce(&mut Keeper) -> Result<Plan, RecoveryError> + Send + 'static,
) -> Recovered {
    let run = move || {
        let result = recover(&mut keeper);
        Recovered { result, keeper }
    };
    tokio::task::spawn_blocking(run).await.unwrap_or_else(|panic| {
        let error = LogError::Broken { what: "recovering", cause: panic.to_string() };
        Recovered { result: Err(RecoveryError::Log(error)), keeper: Keeper::new(dir) }
    })
}
