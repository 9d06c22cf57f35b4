//! What the figures were measured on.

use std::{fs, thread};

use super::process::total_memory_bytes;

/// A machine, without a word about whose it is.
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) cpu: String,
    pub(super) memory_bytes: u64,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            cpu: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned()),
            memory_bytes: total_memory_bytes().unwrap_or_default(),
        }
    }
}
