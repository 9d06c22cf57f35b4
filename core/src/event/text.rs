//! JSON strings as they stand in an event.

use std::{borrow::Cow, fmt};

use serde_json::Deserializer;

/// The longest prefix of `text` that has at most `max_bytes` bytes and ends between characters.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// The text of the JSON value `raw` if it is a string. A lone surrogate escape, which JSON allows and Unicode
/// does not, becomes U+FFFD.
pub(super) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    let bytes = unescape(raw)?;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        // only surrogates are not UTF-8 here: three bytes each, all of them invalid, of which one counts
        if chunk.invalid().first() == Some(&SURROGATE_LEAD) {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Some(Cow::Owned(text))
}

/// First byte of the three that would encode a surrogate.
const SURROGATE_LEAD: u8 = 0xED;

/// The bytes that the JSON string `raw`, with its quotes, stands for; lone surrogates are encoded as if they
/// were characters.
pub(super) fn unescape(raw: &str) -> Option<Vec<u8>> {
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
    // asked for bytes, serde_json does not mind lone surrogates
    serde::Deserializer::deserialize_bytes(&mut Deserializer::from_str(raw), Bytes).ok()
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
            assert_eq!(string(raw).unwrap(), text, "{raw}");
        }
        assert_eq!(string("17"), None);
    }
}
