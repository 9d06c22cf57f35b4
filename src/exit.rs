//! The process's exit codes.

/// It failed.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong (`EX_USAGE` of sysexits.h).
pub(crate) const USAGE: u8 = 64;
/// A service that is needed is not there (`EX_UNAVAILABLE`).
pub(crate) const UNAVAILABLE: u8 = 69;
/// The configuration is wrong (`EX_CONFIG`).
pub(crate) const CONFIGURATION: u8 = 78;
