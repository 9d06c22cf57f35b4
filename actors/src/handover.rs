//! From one generation to the plan of the next: the old one ends, then recovery finds out where to go on.

use std::{sync::Arc, time::Duration};

use tidegate_core::Generation;
use tidegate_log::LogError;
use tidegate_supervision::Rollback;

use crate::{
    generation::Live,
    recovery::{Kept, Plan, Recovery, RecoveryError, Remains},
};

/// How long giving up the epoch on the same writer may take before the writer is abandoned.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(3);

/// What is to be kept of a generation for its recovery.
pub(crate) struct Ended {
    pub(crate) live: Box<Live>,
    pub(crate) rollback: Rollback,
    /// The reader's thread is gone.
    pub(crate) reader_lost: bool,
}

/// Ends the old generation if there is one, then finds out where to go on.
pub(crate) async fn run_recovery(
    recovery: Recovery,
    pause: Duration,
    ended: Option<Ended>,
    remains: Remains,
    next: Generation,
) -> Result<Plan, RecoveryError> {
    if let Some(Ended { live, rollback, reader_lost }) = ended {
        live.writer.begin(next);
        live.end().await;
        let reader = (!reader_lost).then(|| live.reader.clone());
        if rollback == Rollback::Short
            && let Some(kept) = roll_back(&live).await
        {
            return blocking(move || recovery.short(kept, reader, &remains)).await;
        }
    }
    tokio::time::sleep(pause).await;
    blocking(move || recovery.full(&remains)).await
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
    recover: impl FnOnce() -> Result<Plan, RecoveryError> + Send + 'static,
) -> Result<Plan, RecoveryError> {
    tokio::task::spawn_blocking(recover).await.unwrap_or_else(|panic| {
        Err(RecoveryError::Log(LogError::Broken { what: "recovering", cause: panic.to_string() }))
    })
}
