//! `process_*`: what the operating system knows about this process. Read from `/proc`, so on Linux only;
//! elsewhere the metrics are absent.
//!
//! Names and meanings are those that Prometheus client libraries agree on.

use std::fs;

use opentelemetry::metrics::Meter;

use crate::names::{self, Spec};

/// Clock ticks per second in `/proc`. The kernel converts its own rate to `USER_HZ`, which is 100 on every
/// architecture that Rust supports on Linux (see proc(5) and the kernel's `asm-generic/param.h`).
const USER_HZ: f64 = 100.0;

/// Registers the metrics. Each is read when it is scraped.
pub(crate) fn register(meter: &Meter) {
    meter
        .f64_observable_counter(names::PROCESS_CPU.name)
        .with_unit(names::PROCESS_CPU.unit)
        .with_description(names::PROCESS_CPU.help)
        .with_callback(|observer| {
            if let Some(seconds) = cpu_seconds() {
                observer.observe(seconds, &[]);
            }
        })
        .build();
    gauge(meter, names::PROCESS_MEMORY, resident_memory_bytes);
    gauge(meter, names::PROCESS_FDS, open_fds);
    gauge(meter, names::PROCESS_THREADS, threads);
    let started = start_time_seconds();
    gauge(meter, names::PROCESS_START, move || started);
}

fn gauge(meter: &Meter, spec: Spec, value: impl Fn() -> Option<f64> + Send + Sync + 'static) {
    meter
        .f64_observable_gauge(spec.name)
        .with_unit(spec.unit)
        .with_description(spec.help)
        .with_callback(move |observer| {
            if let Some(value) = value() {
                observer.observe(value, &[]);
            }
        })
        .build();
}

/// User and system CPU time spent, in seconds.
#[must_use]
pub fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some((stat_field(&stat, 14)? + stat_field(&stat, 15)?) / USER_HZ)
}

fn threads() -> Option<f64> {
    stat_field(&fs::read_to_string("/proc/self/stat").ok()?, 20)
}

fn start_time_seconds() -> Option<f64> {
    let after_boot = stat_field(&fs::read_to_string("/proc/self/stat").ok()?, 22)? / USER_HZ;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + after_boot)
}

/// Resident memory, in bytes.
#[must_use]
pub fn resident_memory_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

fn open_fds() -> Option<f64> {
    // One of them is the directory that is being read.
    fs::read_dir("/proc/self/fd").ok()?.count().checked_sub(1).map(|n| n as f64)
}

/// Field `number` of `/proc/self/stat`, counted from 1 as proc(5) does; only for fields behind the process's
/// name, which is the second and may itself have spaces and brackets.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_process_name() {
        let stat = "42 (a ) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0 12345 1000";
        assert_eq!(stat_field(stat, 14), Some(250.0));
        assert_eq!(stat_field(stat, 15), Some(50.0));
        assert_eq!(stat_field(stat, 20), Some(7.0));
        assert_eq!(stat_field(stat, 22), Some(12345.0));
        assert_eq!(stat_field(stat, 99), None);
        assert_eq!(stat_field("", 14), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_threads_files_and_a_past() {
        assert!(resident_memory_bytes().is_some_and(|bytes| bytes > 100_000.0));
        assert!(threads().is_some_and(|threads| threads >= 1.0));
        assert!(open_fds().is_some_and(|fds| fds >= 3.0));
        assert!(cpu_seconds().is_some_and(|seconds| seconds >= 0.0));
        assert!(start_time_seconds().is_some_and(|seconds| seconds > 1_500_000_000.0));
    }
}
