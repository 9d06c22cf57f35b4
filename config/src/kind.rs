//! Types of configuration values: how each is read, written, described and put into the JSON Schema.

mod destination;
mod list;
mod number;
mod secret;
mod text;

use serde_json::{Value as Json, json};

pub(crate) use destination::Columns;
pub(crate) use list::{Choices, FieldPathList, Names, PatternList};
pub(crate) use number::{Boolean, Bytes, Count, Period, Ratio, WrittenPeriod};
pub(crate) use secret::{Headers, SecretText};
pub(crate) use text::{Choice, FilePath, OptionalText, SocketAddress, Text};

use crate::{
    document::{Entry, Node, Table, Value},
    source::Origin,
};

/// A type of values with its limits.
pub(crate) trait Kind {
    /// What a value becomes.
    type Value;

    /// Reads a value.
    ///
    /// # Errors
    /// Everything that is wrong with it; nothing if that was reported before.
    fn read(&self, node: &Node) -> Result<Self::Value, Vec<Fault>>;

    /// Writes a value in the way that reads back as the same.
    fn write(&self, value: &Self::Value) -> Json;

    /// Writes a value that documents the key, and is no secret whatever the key holds.
    fn example(&self, value: &Self::Value) -> Json {
        self.write(value)
    }

    /// What is allowed, as the end of the sentence "allowed: ...".
    fn allowed(&self) -> String;

    /// JSON Schema of the values.
    fn schema(&self) -> Json;
}

/// What is wrong with a value. The reason does not repeat the value: it may come from the environment.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) origin: Origin,
    pub(crate) reason: String,
}

impl Fault {
    /// What is wrong with the key, not with its value.
    fn of_key(entry: &Entry, reason: impl Into<String>) -> Vec<Self> {
        vec![Self { origin: entry.key.clone(), reason: reason.into() }]
    }

    fn all(node: &Node, reason: impl Into<String>) -> Vec<Self> {
        vec![Self { origin: node.origin.clone(), reason: reason.into() }]
    }

    /// For a reason that may quote the value: it is given only if the value stands in the file as it is.
    fn quoting(node: &Node, reason: String) -> Vec<Self> {
        let reason = if node.from_env { "what its variables give is not allowed".into() } else { reason };
        Self::all(node, reason)
    }
}

/// The fault of a value of another type than `wanted`.
fn wrong_type(node: &Node, wanted: &str) -> Vec<Fault> {
    match &node.value {
        Value::Broken => Vec::new(),
        found => Fault::all(node, format!("expected {wanted}, found {}", found.type_name())),
    }
}

fn as_table(node: &Node, max: usize) -> Result<&Table, Vec<Fault>> {
    match &node.value {
        Value::Table(table) if table.len() > max => Err(Fault::all(node, "too many keys")),
        Value::Table(table) => Ok(table),
        _ => Err(wrong_type(node, "a table")),
    }
}

fn as_text<'a>(node: &'a Node, wanted: &str) -> Result<&'a str, Vec<Fault>> {
    match &node.value {
        Value::Text(text) => Ok(text),
        _ => Err(wrong_type(node, wanted)),
    }
}

/// A value that may be absent, which means `absent` and is not the same as any value.
pub(crate) struct Optional<K> {
    pub(crate) kind: K,
    pub(crate) absent: &'static str,
}

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn read(&self, node: &Node) -> Result<Self::Value, Vec<Fault>> {
        self.kind.read(node).map(Some)
    }

    fn write(&self, value: &Self::Value) -> Json {
        value.as_ref().map_or(Json::Null, |value| self.kind.write(value))
    }

    fn example(&self, value: &Self::Value) -> Json {
        value.as_ref().map_or(Json::Null, |value| self.kind.example(value))
    }

    fn allowed(&self) -> String {
        format!("{}; absent: {}", self.kind.allowed(), self.absent)
    }

    fn schema(&self) -> Json {
        self.kind.schema()
    }
}

/// A value whose default follows from other keys, in the way that `absent` says.
pub(crate) struct Derived<K> {
    pub(crate) kind: K,
    pub(crate) absent: &'static str,
}

impl<K: Kind> Kind for Derived<K> {
    type Value = K::Value;

    fn read(&self, node: &Node) -> Result<Self::Value, Vec<Fault>> {
        self.kind.read(node)
    }

    fn write(&self, value: &Self::Value) -> Json {
        self.kind.write(value)
    }

    fn allowed(&self) -> String {
        format!("{}; absent: {}", self.kind.allowed(), self.absent)
    }

    fn schema(&self) -> Json {
        self.kind.schema()
    }
}

/// Schema of strings that match an anchored regular expression.
fn pattern_schema(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": pattern })
}
