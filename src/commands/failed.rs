//! How a command that works on the log ends when it cannot do what it was asked to.

use tidegate_log::LogError;

use crate::wiring;

/// An exit code and why.
pub(super) type Failed = (u8, String);

pub(super) fn failed(error: LogError) -> Failed {
    (wiring::exit_code(&error), error.to_string())
}
