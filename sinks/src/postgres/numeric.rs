//! `numeric` in its binary form.

/// Base of the digits.
const BASE_DIGITS: usize = 4;
/// Digits on either side of the point that are taken; the server takes a few more.
const MAX_DIGITS: usize = 10_000;
const NEGATIVE: i16 = 0x4000;

/// Appends the number that a decimal text stands for, such as `-12.50` or `3e8`; `None` if it is none, or too long.
pub(super) fn encode(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_decimal = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if integer.is_empty() && fraction.is_empty() || !is_decimal(integer) || !is_decimal(fraction) {
        return None;
    }
    // All digits, and how many of them stand before the point.
    let mut digits = [integer, fraction].concat().into_bytes();
    let exponent: i32 = exponent.parse().ok()?;
    let mut point = i32::try_from(integer.len()).ok()?.checked_add(exponent)?;
    if point.unsigned_abs() as usize > MAX_DIGITS || digits.len() > MAX_DIGITS {
        return None;
    }
    if point < 0 {
        digits.splice(0..0, std::iter::repeat_n(b'0', point.unsigned_abs() as usize));
        point = 0;
    }
    let mut point = point.unsigned_abs() as usize;
    digits.resize(digits.len().max(point), b'0');
    let scale = digits.len() - point;
    // Groups of four digits begin at the point.
    let before = point.next_multiple_of(BASE_DIGITS) - point;
    digits.splice(0..0, std::iter::repeat_n(b'0', before));
    point += before;
    digits.resize(digits.len().next_multiple_of(BASE_DIGITS), b'0');
    let groups: Vec<i16> = digits.chunks(BASE_DIGITS).map(group).collect();
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    let end = groups.iter().rposition(|group| *group != 0).map_or(first, |last| last + 1);
    let weight = if first == end { 0 } else { (point / BASE_DIGITS) as i16 - 1 - first as i16 };
    let sign = if is_negative && first != end { NEGATIVE } else { 0 };
    for half in [(end - first) as i16, weight, sign, scale as i16].iter().chain(&groups[first..end]) {
        out.extend_from_slice(&half.to_be_bytes());
    }
    Some(())
}

fn group(digits: &[u8]) -> i16 {
    digits.iter().fold(0, |group, digit| group * 10 + i16::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(text: &str) -> Option<Vec<i16>> {
        let mut out = Vec::new();
        encode(text, &mut out)?;
        Some(out.chunks(2).map(|half| i16::from_be_bytes([half[0], half[1]])).collect())
    }

    #[test]
    fn a_decimal_text_becomes_groups_of_four_digits_around_its_point() {
        for (text, expected) in [
            ("0", vec![0, 0, 0, 0]),
            ("-0.00", vec![0, 0, 0, 2]),
            ("1", vec![1, 0, 0, 0, 1]),
            ("-12345.678", vec![3, 1, NEGATIVE, 3, 1, 2345, 6780]),
            ("10000", vec![1, 1, 0, 0, 1]),
            ("0.00001", vec![1, -2, 0, 5, 1000]),
            ("1.5e-3", vec![1, -1, 0, 4, 15]),
            ("12e3", vec![2, 1, 0, 0, 1, 2000]),
            ("1.25e1", vec![2, 0, 0, 1, 12, 5000]),
        ] {
            assert_eq!(halves(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_or_takes_too_many_digits_is_refused() {
        for text in ["", "-", ".", "1x", "e5", "1e", "NaN", "1e10001", "1e-10002", "--1"] {
            assert_eq!(halves(text), None, "{text}");
        }
    }
}
