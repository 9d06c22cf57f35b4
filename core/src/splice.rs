//! Setting the top-level key `geo` of an event without touching any other byte.

use crate::event::GeoSlot;

const KEY: &[u8] = b"\"geo\":";

/// Appends to `out` the event `value` with `fragment`, a JSON value, as its top-level `geo`.
///
/// `slot` must be what [`EventParser::parse`](crate::event::EventParser::parse) said of this very `value`.
/// Every byte outside of the slot is carried over as it is.
pub fn splice_geo(value: &[u8], slot: &GeoSlot, fragment: &[u8], out: &mut Vec<u8>) {
    match slot {
        GeoSlot::Append { at } => {
            let (before, closing) = value.split_at(*at as usize);
            // The last byte but white space is a member's, or the opening brace of an object without members.
            let separator: &[u8] = if before.trim_ascii_end().ends_with(b"{") { b"" } else { b"," };
            out.reserve(value.len() + separator.len() + KEY.len() + fragment.len());
            for part in [before, separator, KEY, fragment, closing] {
                out.extend_from_slice(part);
            }
        }
        GeoSlot::Replace(spans) => {
            let replaced: usize = spans.iter().map(|span| span.len()).sum();
            out.reserve(value.len() - replaced + spans.len() * fragment.len());
            let mut copied = 0;
            for span in spans {
                out.extend_from_slice(&value[copied..span.start as usize]);
                out.extend_from_slice(fragment);
                copied = span.end as usize;
            }
            out.extend_from_slice(&value[copied..]);
        }
    }
}
