//! Numbers as people read them.

use serde_json::Value;

const UNKNOWN: &str = "-";

/// The number at a path of a JSON value.
pub(super) fn number(value: &Value, path: &str) -> Option<f64> {
    value.pointer(path)?.as_f64()
}

/// The text at a path of a JSON value, on one line and without what could move the cursor or turn the direction.
pub(super) fn text(value: &Value, path: &str) -> String {
    let text = value.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let is_harmless = |char: char| {
        !char.is_control()
            && !matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|char| if is_harmless(char) { char } else { '?' }).collect()
}

/// A count: in full if it is small, with a suffix otherwise.
pub(super) fn count(number: Option<f64>) -> String {
    let Some(number) = number else { return UNKNOWN.into() };
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match units.into_iter().find(|(size, _)| number >= *size) {
        Some((size, unit)) if number / size < 100.0 => format!("{:.1}{unit}", number / size),
        Some((size, unit)) => format!("{:.0}{unit}", number / size),
        None => format!("{number:.0}"),
    }
}

/// Per second.
pub(super) fn rate(number: Option<f64>) -> String {
    match number {
        Some(number) if number > 0.0 && number < 10.0 => format!("{number:.1}/s"),
        Some(_) => format!("{}/s", count(number)),
        None => UNKNOWN.into(),
    }
}

/// A share of one.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or(UNKNOWN.into(), |share| format!("{:.0} %", share * 100.0))
}

/// Seconds.
pub(super) fn seconds(number: Option<f64>) -> String {
    let Some(number) = number else { return UNKNOWN.into() };
    match number {
        ..1.0 => format!("{:.0} ms", number * 1e3),
        ..10.0 => format!("{number:.1} s"),
        ..120.0 => format!("{number:.0} s"),
        ..7200.0 => format!("{:.0} min", number / 60.0),
        ..172_800.0 => format!("{:.0} h", number / 3600.0),
        _ => format!("{:.0} d", number / 86_400.0),
    }
}

/// Bytes.
pub(super) fn bytes(number: Option<f64>) -> String {
    let Some(number) = number else { return UNKNOWN.into() };
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (0..units.len() - 1).take_while(|power| number >= 1024_f64.powi(*power as i32 + 1)).count();
    format!("{:.0} {}", number / 1024_f64.powi(power as i32), units[power])
}

/// Time of day, UTC, of milliseconds since the Unix epoch.
pub(super) fn time_of_day(millis: Option<f64>) -> String {
    let Some(millis) = millis else { return UNKNOWN.into() };
    let seconds = (millis / 1e3) as u64 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_say_their_unit() {
        assert_eq!([0.0, 999.0, 1234.0, 123_456.0].map(|n| count(Some(n))), ["0", "999", "1.2k", "123k"]);
        assert_eq!([0.0, 0.4, 50_000.0].map(|n| rate(Some(n))), ["0/s", "0.4/s", "50.0k/s"]);
        assert_eq!(
            [0.25, 5.1, 90.0, 3700.0, 1e6].map(|n| seconds(Some(n))),
            ["250 ms", "5.1 s", "90 s", "62 min", "12 d"]
        );
        assert_eq!([1.0, 52_428_800.0, 5e12].map(|n| bytes(Some(n))), ["1 B", "50 MiB", "5 TiB"]);
        assert_eq!(
            (count(None), percent(Some(0.5)), time_of_day(Some(1_760_000_041_000.0))),
            ("-".into(), "50 %".into(), "08:54:01".into())
        );
    }
}
