//! Values that are never shown.

use serde_json::{Value as Json, json};

use super::{Fault, Kind, as_table, as_text};
use crate::{
    document::{Entry, Node},
    secret::{MASK, Secret},
};

/// Longest secret; a chain of certificates fits well.
const MAX_BYTES: usize = 64 * 1024;

/// A string that is hidden and follows a rule, whose reasons do not repeat any of it.
pub(crate) struct SecretText {
    pub(super) allowed: &'static str,
    pub(super) rule: fn(&str) -> Result<(), String>,
}

impl SecretText {
    /// A password, a key.
    pub(crate) fn any() -> Self {
        Self { allowed: "a string that is not empty; it is never shown", rule: |_| Ok(()) }
    }
}

impl Kind for SecretText {
    type Value = Secret;

    fn read(&self, node: &Node) -> Result<Secret, Vec<Fault>> {
        let text = as_text(node, "a string")?;
        let checked = match text.len() {
            0 => Err("empty".into()),
            length if length > MAX_BYTES => Err("too long".into()),
            _ => (self.rule)(text),
        };
        checked.map(|()| Secret::new(text)).map_err(|reason| Fault::all(node, reason))
    }

    fn write(&self, _: &Secret) -> Json {
        json!(MASK)
    }

    fn example(&self, value: &Secret) -> Json {
        json!(value.expose())
    }

    fn allowed(&self) -> String {
        self.allowed.into()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": MAX_BYTES })
    }
}

/// Headers of HTTP requests; the values are hidden.
pub(crate) struct Headers;

const MAX_HEADERS: usize = 50;
const MAX_HEADER_BYTES: usize = 8 * 1024;

/// What only the sender of a request knows; names in lower case.
const DECIDED: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "transfer-encoding",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

impl Headers {
    fn header(name: &str, entry: &Entry) -> Result<Secret, Vec<Fault>> {
        // A token of RFC 9110, 5.6.2.
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || name.len() > MAX_HEADER_BYTES || !name.chars().all(is_token) {
            return Err(Fault::of_key(entry, "not the name of a header"));
        }
        if DECIDED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(Fault::of_key(entry, "the sink decides this header"));
        }
        let value = as_text(&entry.node, "a string")?;
        if value.len() > MAX_HEADER_BYTES {
            Err(Fault::all(&entry.node, "too long"))
        } else if !value.chars().all(|c| c == '\t' || c.is_ascii_graphic() || c == ' ') {
            Err(Fault::all(&entry.node, "it has a character that no header may have"))
        } else {
            Ok(Secret::new(value))
        }
    }
}

impl Kind for Headers {
    type Value = Vec<(String, Secret)>;

    fn read(&self, node: &Node) -> Result<Self::Value, Vec<Fault>> {
        let mut headers: Self::Value = Vec::new();
        let mut faults = Vec::new();
        for (name, entry) in as_table(node, MAX_HEADERS)? {
            match Self::header(name, entry) {
                Ok(_) if headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) => {
                    faults.extend(Fault::of_key(entry, "listed twice; case makes no difference"));
                }
                Ok(value) => headers.push((name.clone(), value)),
                Err(wrong) => faults.extend(wrong),
            }
        }
        if faults.is_empty() { Ok(headers) } else { Err(faults) }
    }

    fn write(&self, value: &Self::Value) -> Json {
        value.iter().map(|(name, _)| (name.clone(), json!(MASK))).collect::<serde_json::Map<_, _>>().into()
    }

    fn allowed(&self) -> String {
        let decided = DECIDED.map(|name| format!("`{name}`")).join(", ");
        format!("a table of up to {MAX_HEADERS} names and strings, which are never shown; not {decided}")
    }

    fn schema(&self) -> Json {
        json!({
            "type": "object", "maxProperties": MAX_HEADERS,
            "additionalProperties": { "type": "string", "maxLength": MAX_HEADER_BYTES },
        })
    }
}
