//! `[kafka.properties]`: librdkafka's own properties, passed on except those that the daemon must decide.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tidegate_core::client_properties::refusal;

use crate::{
    document::{Entry, Value},
    secret::{MASK, Secret, is_secret_name},
    walk::Walk,
};

const MAX_NAME_BYTES: usize = 255;
/// A PEM chain fits well.
const MAX_VALUE_BYTES: usize = 64 * 1024;

pub(crate) const DOC: &str = "Any other property of librdkafka, for the connection, security and tuning. Values \
     whose name speaks of a password, secret, token, private key or PEM, and values that come from `${VAR}`, are \
     hidden wherever the configuration is shown. TLS and SASL/SCRAM need a build with the feature `tls`.";

const EXAMPLE: &str = "# \"security.protocol\" = \"SASL_SSL\"\n\
     # \"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\
     # \"sasl.username\" = \"tidegate\"\n\
     # \"sasl.password\" = \"${KAFKA_PASSWORD}\"\n";

/// Reads the table, reports what cannot be passed on, and notes the rest with its secrets hidden.
pub(crate) fn read(walk: &mut Walk<'_>) -> BTreeMap<String, Secret> {
    let mut properties = BTreeMap::new();
    let mut shown = Vec::new();
    for (name, entry) in walk.open_table("properties") {
        walk.note_place(format!("kafka.properties.{name}"), entry.key.clone());
        if let Some(reason) = refusal(&name) {
            let message = format!("the property `{name}` cannot be set: {reason}");
            walk.report(Some(entry.key.clone()), message, None);
            continue;
        }
        match value_of(&name, entry) {
            Ok(None) => {}
            Ok(Some(value)) => {
                let hidden = entry.node.from_env || is_secret_name(&name);
                shown.push((name.clone(), if hidden { json!(MASK) } else { Json::from(value.as_str()) }));
                properties.insert(name, Secret::new(value));
            }
            Err(reason) => {
                let message = format!("invalid property `{}`: {reason}", name.escape_debug());
                let help =
                    format!("allowed: a string of up to {MAX_VALUE_BYTES} bytes, a number or a boolean");
                walk.report(Some(entry.node.origin.clone()), message, Some(help));
            }
        }
    }
    walk.note_open("properties", DOC, EXAMPLE, shown);
    properties
}

/// The value as librdkafka takes it: text. `None` if it was reported before.
fn value_of(name: &str, entry: &Entry) -> Result<Option<String>, &'static str> {
    if name.len() > MAX_NAME_BYTES || name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("not the name of a property");
    }
    let value = match &entry.node.value {
        Value::Text(text) => text.clone(),
        Value::Integer(integer) => integer.to_string(),
        Value::Float(float) => float.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Broken => return Ok(None),
        Value::Datetime | Value::Array(_) | Value::Table(_) => {
            return Err("neither text nor a number nor a boolean");
        }
    };
    if value.len() > MAX_VALUE_BYTES {
        return Err("too long");
    }
    // The client's properties are C strings.
    if value.contains('\0') {
        return Err("it has a NUL character");
    }
    Ok(Some(value))
}
