//! What makers leave out of a database's metadata though the reader insists on it.

const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// They are in the last so many bytes of the file, as of the format's specification.
const MAX_METADATA_BYTES: usize = 128 << 10;

/// A member of the metadata that says nothing of where an address is; all of it as it stands in the file, which is the
/// control bytes and then the content.
struct Member {
    key: &'static [u8],
    /// What the reader takes for it.
    instead: &'static [u8],
    /// What the reader does not take, though it is well-formed.
    refused: Option<&'static [u8]>,
}

const DISPENSABLE: [Member; 4] = [
    // A map of one text without letters; an empty map.
    Member { key: b"\x4bdescription", instead: b"\xe1\x42en\x40", refused: Some(b"\xe0") },
    // A text without letters.
    Member { key: b"\x4ddatabase_type", instead: b"\x47unknown", refused: Some(b"\x40") },
    // An empty array.
    Member { key: b"\x49languages", instead: b"\x00\x04", refused: None },
    // Zero.
    Member { key: b"\x4bbuild_epoch", instead: b"\x00\x02", refused: None },
];

/// Adds the dispensable members that are missing or empty.
///
/// The metadata are a map at the end of the file, so that a member is added by appending it and counting one more.
pub(super) fn complete(bytes: &mut Vec<u8>) {
    let tail = bytes.len().saturating_sub(MAX_METADATA_BYTES);
    let Some(marker) = bytes[tail..].windows(MARKER.len()).rposition(|window| window == MARKER) else {
        return;
    };
    let start = tail + marker + MARKER.len();
    for member in DISPENSABLE {
        let metadata = bytes.get(start..).unwrap_or_default();
        let key = metadata.windows(member.key.len()).position(|window| window == member.key);
        let value = key.map(|key| start + key + member.key.len());
        // A map of up to 28 members has its size in the first byte; the format knows nine.
        let has_room = metadata.first().is_some_and(|control| (0xe0..0xe0 + 28).contains(control));
        match (value, member.refused) {
            (Some(value), Some(refused)) if bytes[value..].starts_with(refused) => {
                bytes.splice(value..value + refused.len(), member.instead.iter().copied());
            }
            (None, _) if has_room => {
                bytes[start] += 1;
                bytes.extend_from_slice(member.key);
                bytes.extend_from_slice(member.instead);
            }
            _ => {}
        }
    }
}
