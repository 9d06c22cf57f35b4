//! The index that a document goes to.

use std::fmt::Write as _;

use tidegate_core::TimestampMs;

use crate::iso::utc;

/// What stands for parts of a date.
const PLACEHOLDERS: [(&str, Piece); 3] =
    [("{yyyy}", Piece::Year), ("{MM}", Piece::Month), ("{dd}", Piece::Day)];
/// Longest name that a server takes.
const MAX_BYTES: usize = 255;

/// The name of an index, which may depend on the date.
#[derive(Debug, Clone)]
pub(super) struct IndexName(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Year,
    Month,
    Day,
}

impl IndexName {
    pub(super) fn new(configured: &str) -> Self {
        let (mut pieces, mut rest) = (Vec::new(), configured);
        let first = |rest: &str| {
            PLACEHOLDERS
                .iter()
                .filter_map(|(text, piece)| Some((rest.find(text)?, *text, piece)))
                .min_by_key(|found| found.0)
        };
        while let Some((at, text, piece)) = first(rest) {
            pieces.extend([Piece::Text(rest[..at].to_owned()), piece.clone()]);
            rest = &rest[at + text.len()..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Self(pieces)
    }

    /// The name, if it is the same for all documents.
    pub(super) fn fixed(&self) -> Option<&str> {
        if let [Piece::Text(name)] = &self.0[..] { Some(name) } else { None }
    }

    /// The name for a document of this time.
    pub(super) fn at(&self, time: TimestampMs) -> String {
        let date = utc(time).date();
        self.0.iter().fold(String::new(), |mut name, piece| {
            // Writing to memory cannot fail.
            _ = match piece {
                Piece::Text(text) => name.write_str(text),
                Piece::Year => write!(name, "{:04}", date.year()),
                Piece::Month => write!(name, "{:02}", u8::from(date.month())),
                Piece::Day => write!(name, "{:02}", date.day()),
            };
            name
        })
    }

    /// What matches the names of all dates.
    pub(super) fn pattern(&self) -> String {
        self.0.iter().map(|piece| if let Piece::Text(text) = piece { text } else { "*" }).collect()
    }
}

/// Whether a configured name is one that servers take.
///
/// # Errors
/// In words, if they do not.
pub fn check_index(configured: &str) -> Result<(), String> {
    let name = IndexName::new(configured).at(TimestampMs(0));
    if name.is_empty() || name.len() > MAX_BYTES {
        return Err(format!("the name of an index has 1 to {MAX_BYTES} bytes"));
    }
    if name.starts_with(['-', '_', '+', '.']) {
        return Err("the name of an index begins with a letter or a digit".into());
    }
    // Servers take other letters too, but the name is part of a URL.
    let is_right = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-_.+".contains(char);
    match name.chars().find(|char| !is_right(*char)) {
        Some('{' | '}') => Err("`{yyyy}`, `{MM}` and `{dd}` are all that is replaced in it".into()),
        Some(wrong) => Err(format!("the name of an index cannot have {wrong:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_index_is_named_by_the_day_in_utc_wherever_that_stands() {
        let name = IndexName::new("events-{yyyy}.{MM}.{dd}-v1");
        assert_eq!(name.at(TimestampMs(1_760_000_041_200)), "events-2025.10.09-v1");
        assert_eq!(name.at(TimestampMs(-1)), "events-1970.01.01-v1");
        assert_eq!((name.pattern().as_str(), name.fixed()), ("events-*.*.*-v1", None));
        let fixed = IndexName::new("events");
        assert_eq!((fixed.at(TimestampMs(0)).as_str(), fixed.fixed()), ("events", Some("events")));
    }

    #[test]
    fn a_name_that_no_server_takes_is_told_before_it_is_tried() {
        for name in ["events", "a_b-1.2+3", "{yyyy}-{MM}"] {
            check_index(name).unwrap();
        }
        for (name, word) in [
            ("", "1 to 255"),
            ("_bulk", "begins"),
            ("Events", "'E'"),
            ("a/b", "'/'"),
            ("a b", "' '"),
            ("события", "'с'"),
            ("a-{DD}", "`{dd}`"),
        ] {
            assert!(check_index(name).unwrap_err().contains(word), "{name}");
        }
    }
}
