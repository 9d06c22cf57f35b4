//! Times as people and other programs read them.

use tidegate_core::TimestampMs;
use tidegate_host::wall_time;
use time::OffsetDateTime;

/// This host's time.
pub(crate) fn now() -> TimestampMs {
    let now = OffsetDateTime::from(wall_time());
    TimestampMs((now.unix_timestamp_nanos() / 1_000_000) as i64)
}

/// The time in UTC. What no calendar has becomes the nearest that it has: a record may have no timestamp at all.
pub(crate) fn utc(TimestampMs(ms): TimestampMs) -> OffsetDateTime {
    let ms = ms.clamp(0, TimestampMs::MAX.0);
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// RFC 3339 in UTC, to the millisecond.
pub(crate) fn rfc3339(at: TimestampMs) -> String {
    let at = utc(at);
    let (date, time, ms) = (at.date(), at.time(), at.millisecond());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = time.as_hms();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_can_be_written() {
        assert_eq!(rfc3339(TimestampMs(1_760_000_041_200)), "2025-10-09T08:54:01.200Z");
        assert_eq!(rfc3339(TimestampMs(-1)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(TimestampMs(i64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
