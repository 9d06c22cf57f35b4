//! The few native calls that pay: everything `unsafe` of this crate is in this folder.
//!
//! - **Reading** many records with one call (0.66 µs of CPU a record instead of 1.05), with header names that
//!   Need not be UTF-8 (the safe wrapper panics on those).
//! - **Writing** through a topic's handle (the safe wrapper looks the topic up by name for each record).
//! - **Flushing** by one native call (the safe wrapper waits in steps of 100 ms).
//! - Requests of the admin protocol that the safe wrapper lacks.
#![allow(unsafe_code)]

mod admin;
mod fetch;
mod produce;
mod refusal;
mod topics;

use std::{
    ffi::{CStr, CString, c_char, c_void},
    slice,
    time::Duration,
};

pub(super) use self::{
    admin::set_topic_config,
    fetch::{FetchQueue, Fetched, committed},
    produce::{Producer, Record},
    refusal::refusal_words,
    topics::{Described, Permissions, Question, ends, permissions},
};
use crate::LogError;

fn timeout_ms(timeout: Duration) -> i32 {
    // Rounded up: a wait of 300 µs is not a wait of none.
    timeout.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32
}

fn c_string(text: &str) -> Result<CString, LogError> {
    CString::new(text).map_err(|_| LogError::Misconfigured(format!("{text:?} contains a zero byte")))
}

/// The text at `text`, or nothing if it is null.
///
/// # Safety
/// `text` is null or a zero-terminated string that lives for the call.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// The bytes at `data`, or `None` if it is null.
///
/// # Safety
/// `data` is null or points to `len` bytes that stay unchanged for `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!data.is_null()).then(|| unsafe { slice::from_raw_parts(data.cast(), len) })
}
