//! What Linux tells of processes and of the machine, in `/proc` (proc(5)).

use std::{fs, time::Duration};

/// The unit of times in `/proc`; the same on all architectures that Rust supports.
const TICK: Duration = Duration::from_millis(10);

/// A process at one moment. Times can still be asked of one that has ended, until somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// User and system time of all its threads.
    pub(super) cpu: Duration,
    pub(super) has_ended: bool,
}

/// `None` if there is no such process.
pub(super) fn snapshot(pid: u32) -> Option<Snapshot> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<Snapshot> {
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
    Some(Snapshot { cpu: TICK * (ticks(11)? + ticks(12)?), has_ended: matches!(fields[0], "Z" | "X") })
}

/// A number of kB in a process's status, in bytes: `VmRSS`, `VmHWM` (the peak). `None` once it has ended.
pub(super) fn memory_bytes(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kilobytes(&status, name)
}

/// The machine's memory in bytes.
pub(super) fn total_memory_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal")
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// CPU time that was not idle, of all cores since the machine's start, stolen time included.
pub(super) fn machine_busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let ticks = numbers.filter_map(|number| number.parse::<u64>().ok()).enumerate();
    // User nice system idle iowait irq softirq steal; guests are part of user.
    let busy: u64 = ticks.filter(|(index, _)| matches!(index, 0..=2 | 5..=7)).map(|(_, ticks)| ticks).sum();
    Duration::from_millis(busy * TICK.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "77 (a) S b)) Z 1 77 77 0 -1 4194560 100 0 0 0 250 31 5 6 20 0 4 0 9 0 0";
        let snapshot = parse_stat(stat).unwrap();
        assert_eq!(snapshot, Snapshot { cpu: Duration::from_millis(2810), has_ended: true });
        assert_eq!(parse_stat("77 (a"), None);
    }

    #[test]
    fn memory_is_found_by_its_whole_name() {
        let status = "VmHWMs:\t 1 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 4 kB\n";
        assert_eq!(kilobytes(status, "VmHWM"), Some(2 << 20));
        assert_eq!(kilobytes(status, "Vm"), None);
    }
}
