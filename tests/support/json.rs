//! Just enough JSON to find the members of an object in its text. The text must be valid.

use std::ops::Range;

/// The members of the object at `object`: their keys and where their values stand. Keys that are not
/// Unicode (lone surrogates) come back as their escapes.
pub fn members(text: &str, object: Range<usize>) -> Vec<(String, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, object.start) + 1;
    let mut found = Vec::new();
    loop {
        at = skip_space(bytes, at);
        match bytes[at] {
            b'}' => return found,
            b',' => at += 1,
            _ => {
                let key = at..skip_string(bytes, at);
                let value = skip_space(bytes, skip_space(bytes, key.end) + 1);
                at = skip_value(bytes, value);
                let key = &text[key];
                found.push((serde_json::from_str(key).unwrap_or_else(|_| key.to_owned()), value..at));
            }
        }
    }
}

/// Where the value at a path of keys stands; of equal keys the last one counts.
pub fn find(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let whole = skip_space(text.as_bytes(), 0)..text.len();
    path.iter().try_fold(whole, |at, key| {
        let is_object = text[at.clone()].starts_with('{');
        let members = if is_object { members(text, at) } else { Vec::new() };
        members.into_iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    })
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// From the opening quote to behind the closing one.
fn skip_string(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += 1;
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => return at + 1,
            _ => {}
        }
    }
}

fn skip_value(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    loop {
        match bytes[at] {
            b'"' => at = skip_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            _ => at += bytes[at..].iter().take_while(|byte| !b",:]} \t\r\n".contains(byte)).count(),
        }
        if depth == 0 {
            return at;
        }
    }
}
