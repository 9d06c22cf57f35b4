//! The gate through which every call of sled goes: on damage or a full disk sled 0.34 may panic, and a
//! background thread of its own that has panicked leaves others waiting for ever.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::panic_text;

/// How long a call may take before it is given up for hanging. A thousand rows take milliseconds; this is
/// for a disk that stalls.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Why sled did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// sled's own error.
    #[error("{}", sled_text(.0))]
    Sled(#[from] ::sled::Error),
    /// It panicked, with these words.
    #[error("sled panicked: {0}")]
    Panicked(String),
    /// It did not come back in time; what it held is leaked.
    #[error("sled did not answer within {} s", .0.as_secs())]
    Hung(Duration),
    /// The system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Runs `work` on a thread of its own, and waits for it up to `limit`. A thread that hangs is left behind;
/// what it holds is leaked.
///
/// # Errors
/// [`Fault`]: whatever kept sled from doing its work.
pub fn call<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> ::sled::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let (answer, waiting) = mpsc::sync_channel(1);
    let run = move || {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        // An error means that nobody waits any more.
        let _ = answer.send(outcome);
    };
    thread::Builder::new().name("sled".to_owned()).spawn(run).map_err(Fault::Thread)?;
    match waiting.recv_timeout(limit) {
        Ok(Ok(result)) => Ok(result?),
        Ok(Err(panic)) => Err(Fault::Panicked(panic_text(&*panic))),
        Err(_) => Err(Fault::Hung(limit)),
    }
}

/// sled's own words for damage are about its insides.
fn sled_text(error: &::sled::Error) -> String {
    match error {
        ::sled::Error::Corruption { .. } => "sled found damaged data".to_owned(),
        ::sled::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_and_a_hang_become_faults() {
        let panicked = call(CALL_LIMIT, || -> ::sled::Result<()> { panic!("page {}", 7) });
        assert!(matches!(panicked, Err(Fault::Panicked(text)) if text == "page 7"));
        let (hold, held) = mpsc::channel::<()>();
        let hung = call(Duration::from_millis(1), move || {
            let _ = held.recv();
            Ok(())
        });
        assert!(matches!(hung, Err(Fault::Hung(_))));
        drop(hold);
    }
}
