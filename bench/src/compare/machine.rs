//! What the figures were measured on.

use std::{fs, thread};

use serde_json::{Value, json};

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

    /// One sentence on the surroundings of figures, for people.
    pub(super) fn line(&self, kafka: &str) -> String {
        format!(
            "{} cores ({}), {:.0} GiB, with the broker ({kafka}) on them too; librdkafka {}.",
            self.cores,
            self.cpu,
            self.memory_bytes as f64 / f64::from(1 << 30),
            rdkafka::util::get_rdkafka_version().1,
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({ "cores": self.cores, "cpu": self.cpu, "memory_bytes": self.memory_bytes })
    }
}
