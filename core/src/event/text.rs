//! JSON strings as they stand in an event.

use std::{borrow::Cow, fmt};

use serde_json::Deserializer;

/// The longest prefix of `text` that has at most `max_bytes` bytes and ends between characters.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// A value as it stands in an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw<'a> {
    /// With its quotes if it is a string; empty if it is absent.
    pub(super) text: &'a str,
    /// Whether it is a string with escapes.
    pub(super) has_escapes: bool,
}

impl<'a> Raw<'a> {
    /// The value as JSON; empty if it is absent.
    #[must_use]
    pub fn json(self) -> &'a str {
        self.text
    }

    /// Whether there is a value; `null` does not count as one.
    #[must_use]
    pub fn is_present(self) -> bool {
        !self.text.is_empty() && self.text != "null"
    }

    /// The text of the value if it is a string. A lone surrogate escape, which JSON allows and Unicode does not,
    /// becomes U+FFFD.
    #[must_use]
    pub fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        if self.has_escapes { unescaped(self.text) } else { Some(Cow::Borrowed(inner)) }
    }
}

fn unescaped(quoted: &str) -> Option<Cow<'static, str>> {
    let bytes = unescape(quoted.as_bytes())?;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        // Only surrogates are not UTF-8 here: three bytes each, all of them invalid, of which one counts.
        if chunk.invalid().first() == Some(&SURROGATE_LEAD) {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Some(Cow::Owned(text))
}

/// First byte of the three that would encode a surrogate.
const SURROGATE_LEAD: u8 = 0xED;

/// The bytes that a JSON string with its quotes stands for; lone surrogates are encoded as if they were
/// characters.
pub(super) fn unescape(quoted: &[u8]) -> Option<Vec<u8>> {
    struct Bytes;
    impl serde::de::Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
    // Asked for bytes, serde_json does not mind lone surrogates.
    serde::Deserializer::deserialize_bytes(&mut Deserializer::from_slice(quoted), Bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn escapes_are_decoded_and_lone_surrogates_replaced_one_for_one() {
        for (raw, text) in [
            (r#""""#, ""),
            (r#""plain é""#, "plain é"),
            (r#""a\u0062\n\/\"\\""#, "ab\n/\"\\"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""x\ud83dy""#, "x\u{fffd}y"),
            (r#""\ud83d\ud83d\ude00\udc00""#, "\u{fffd}😀\u{fffd}"),
        ] {
            let raw = Raw { text: raw, has_escapes: raw.contains('\\') };
            assert_eq!(raw.string().unwrap(), text, "{raw:?}");
        }
        assert_eq!(Raw { text: "17", has_escapes: false }.string(), None);
    }
}
