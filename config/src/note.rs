//! What a walk over all keys writes down: the table of keys, with the values that hold.

use serde_json::Value as Json;

/// What the walk came by.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    /// A table; the notes that follow with the same section are its keys.
    Section { section: String, doc: &'static str },
    /// A key with a value.
    Key(KeyNote),
    /// An array of tables.
    Tables(TablesNote),
    /// Keys that one type of element alone has; in templates only.
    Variant { of: &'static str, doc: &'static str, notes: Vec<Note> },
    /// A table whose keys are not ours: names and values, secrets hidden already.
    Open { section: String, doc: &'static str, example: &'static str, entries: Vec<(String, Json)> },
}

/// An array of tables: the keys of an element as allowed, and those of each as they are.
#[derive(Debug, Clone)]
pub(crate) struct TablesNote {
    pub(crate) section: String,
    pub(crate) doc: &'static str,
    pub(crate) max: usize,
    /// What an array has that is not written.
    pub(crate) unwritten: Unwritten,
    pub(crate) template: Vec<Note>,
    pub(crate) elements: Vec<Vec<Note>>,
}

/// What an array of tables has that is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// No element.
    Empty,
    /// One element, with all defaults.
    OneDefault,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct KeyNote {
    /// Dotted path of the table that it stands in; empty at the top.
    pub(crate) section: String,
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) allowed: String,
    pub(crate) schema: Json,
    pub(crate) default: Default,
    /// What holds now; null if it is absent.
    pub(crate) value: Json,
}

/// What holds when a key is absent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Default {
    /// This value.
    Value(Json),
    /// Nothing; such a value would be allowed.
    Absent { example: Json },
    /// It must be there; such a value would be allowed.
    Required { example: Json },
}
