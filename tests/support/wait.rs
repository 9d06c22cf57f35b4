//! Waiting for a condition, never for time alone.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long anything may take on a slow and busy machine before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(20);

/// Asks until there is an answer.
///
/// # Panics
/// If there is none within [`PATIENCE`]; `what` says what was waited for.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        thread::sleep(POLL);
    }
}

/// Asks until it is true, see [`until`].
pub fn until_true(what: &str, mut ask: impl FnMut() -> bool) {
    until(what, || ask().then_some(()));
}

/// The wall clock in milliseconds since the epoch.
#[allow(clippy::disallowed_methods, reason = "the tests' own clock")]
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Some hours ago, at the start of a minute: the same events fall into the same windows whenever a
/// test runs.
pub fn hours_ago(hours: i64) -> i64 {
    let then = now_ms() - hours * 3_600_000;
    then - then % 60_000
}
