//! Durations and sizes as people write them.

use std::time::Duration;

/// Units of durations in milliseconds, longest first.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of sizes in bytes; binary ones first, as they are what sizes are printed in.
const BYTE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

const DURATION_HELP: &str = "write a whole number and one of the units ms, s, m, h, d";
const BYTES_HELP: &str = "write a whole number and one of the units B, KB, MB, GB, KiB, MiB, GiB";

/// Reads `250ms`, `60s`, `5m`, `1h` or `1d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    if unit.is_empty() && !number.is_empty() {
        return Err(format!("the unit is missing; {DURATION_HELP}"));
    }
    parse(number, unit, &DURATION_UNITS)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("not a duration; {DURATION_HELP}"))
}

/// Writes a duration of whole milliseconds in the longest unit that needs no fraction.
pub(crate) fn format_duration(duration: Duration) -> String {
    format(duration.as_millis() as u64, &DURATION_UNITS, "s")
}

/// Reads `64MiB`, `10MB`, `65536B` or a plain number of bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let unit = if unit.is_empty() { "B" } else { unit };
    parse(number, unit, &BYTE_UNITS).ok_or_else(|| format!("not a size; {BYTES_HELP}"))
}

/// Writes a size in the largest unit that needs no fraction.
pub(crate) fn format_bytes(bytes: u64) -> String {
    format(bytes, &BYTE_UNITS, "B")
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn parse(number: &str, unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn format(value: u64, units: &[(&str, u64)], zero_unit: &str) -> String {
    let fits = |factor: u64| value >= factor && value.is_multiple_of(factor);
    match units.iter().find(|(_, factor)| fits(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", value / factor),
        None => format!("{value}{zero_unit}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_as_written() {
        for (text, ms) in [("0ms", 0), ("250ms", 250), ("60s", 60_000), ("5m", 300_000), ("1d", 86_400_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "s", "1.5s", "-1s", "1 s", "1m30s", "1S", "99999999999999999999d", "18446744073709551615d"]
        {
            assert!(parse_duration(text).is_err_and(|error| error.starts_with("not a duration")), "{text}");
        }
        assert!(parse_duration("60").is_err_and(|error| error.starts_with("the unit is missing")));
        for (text, bytes) in [("64MiB", 64 << 20), ("10MB", 10_000_000), ("4096", 4096), ("1B", 1)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        assert!(parse_bytes("64mib").is_err() && parse_bytes("").is_err() && parse_bytes("1e3").is_err());
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_value() {
        for ms in [0, 1, 250, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000, 172_800_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration);
        }
        for bytes in [0, 1, 1_000, 1_024, 10_000_000, 64 << 20, 3 << 30] {
            assert_eq!(parse_bytes(&format_bytes(bytes)).unwrap(), bytes);
        }
    }
}
