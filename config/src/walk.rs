//! A walk over all keys: it reads the values that are there, and notes every key it comes by. The notes of a
//! walk over nothing are the table of keys, from which the default file, the schema and the reference are made.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    rc::Rc,
};

use serde_json::Value as Json;

use crate::{
    Objection,
    document::{Document, Entry, Node, Table, Value},
    kind::{Derived, Kind},
    note::{Default, KeyNote, Note, TablesNote, Unwritten},
    secret::is_delicate,
    source::{Origin, Report},
};

const TABLE: &str = "a table";
const TABLES: &str = "an array of tables";

/// The walk's state.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    /// The table that the walk is in, if the document has it.
    table: Option<&'a Table>,
    /// Its path.
    section: String,
    /// Names known in it, in the order of the documentation.
    known: Vec<&'static str>,
    /// The type of the element that the walk is in, and the names that only elements of other types have, each with
    /// the type.
    variant: &'static str,
    foreign: Vec<(&'static str, &'static str)>,
    pub(crate) notes: Vec<Note>,
    pub(crate) reports: Vec<Report>,
    /// Keys of the document that no one asked for.
    pub(crate) unknown: Vec<Unknown>,
    /// Spans of the file that must not be shown, as they may hold a secret under a name that is not known.
    pub(crate) hidden: Vec<Range<usize>>,
    /// Where keys were written, by path with the element's number: `rules[1].slide`.
    origins: HashMap<String, Origin>,
    /// Keys whose value was refused, and holds its default meanwhile.
    refused: HashSet<String>,
}

/// A key of the document that does not exist.
#[derive(Debug)]
pub(crate) struct Unknown {
    pub(crate) section: String,
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// The names that its table knows.
    pub(crate) known: Rc<[&'static str]>,
    /// If it is a key of elements of other types: their types, and that of the element that it stands in.
    pub(crate) belongs_to: Option<(Vec<&'static str>, &'static str)>,
}

impl<'a> Walk<'a> {
    /// A walk over a document.
    pub(crate) fn over(document: &'a Document) -> Self {
        Self {
            table: Some(&document.root),
            section: String::new(),
            known: Vec::new(),
            variant: "",
            foreign: Vec::new(),
            notes: Vec::new(),
            reports: Vec::new(),
            unknown: Vec::new(),
            hidden: Vec::new(),
            origins: HashMap::new(),
            refused: HashSet::new(),
        }
    }

    /// A key with a default.
    pub(crate) fn key<K: Kind>(
        &mut self,
        name: &'static str,
        kind: &K,
        default: K::Value,
        doc: &'static str,
    ) -> K::Value {
        let absent = Default::Value(kind.write(&default));
        self.read(name, kind, default, absent, doc)
    }

    /// A key whose default follows from other keys, as `kind` says.
    pub(crate) fn derived<K: Kind>(
        &mut self,
        name: &'static str,
        kind: &Derived<K>,
        default: K::Value,
        doc: &'static str,
    ) -> K::Value {
        let absent = Default::Absent { example: kind.write(&default) };
        self.read(name, kind, default, absent, doc)
    }

    /// A key that may be absent; `example` shows what it may be.
    pub(crate) fn optional<K: Kind<Value = Option<T>>, T>(
        &mut self,
        name: &'static str,
        kind: &K,
        example: T,
        doc: &'static str,
    ) -> Option<T> {
        let absent = Default::Absent { example: kind.example(&Some(example)) };
        self.read(name, kind, None, absent, doc)
    }

    /// A key without a default. That it is there is checked by the caller, as it may depend on other keys;
    /// `missing` is its value until then.
    pub(crate) fn required<K: Kind>(
        &mut self,
        name: &'static str,
        kind: &K,
        missing: K::Value,
        example: K::Value,
        doc: &'static str,
    ) -> K::Value {
        let absent = Default::Required { example: kind.write(&example) };
        self.read(name, kind, missing, absent, doc)
    }

    fn read<K: Kind>(
        &mut self,
        name: &'static str,
        kind: &K,
        absent: K::Value,
        default: Default,
        doc: &'static str,
    ) -> K::Value {
        let path = self.path(name);
        let value = match self.entry(name).map(|entry| kind.read(&entry.node)) {
            None => absent,
            Some(Ok(value)) => value,
            Some(Err(faults)) => {
                for fault in faults {
                    let message = format!("invalid value for `{path}`: {}", fault.reason);
                    self.report(Some(fault.origin), message, Some(format!("allowed: {}", kind.allowed())));
                }
                self.refused.insert(path);
                absent
            }
        };
        self.notes.push(Note::Key(KeyNote {
            section: self.section.clone(),
            name,
            doc,
            allowed: kind.allowed(),
            schema: kind.schema(),
            default,
            value: kind.write(&value),
        }));
        value
    }

    /// A table of keys.
    pub(crate) fn section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let section = self.path(name);
        let table = self.entry(name).and_then(|entry| self.table_of(&section, &entry.node));
        self.notes.push(Note::Section { section: section.clone(), doc });
        self.enter(table, section, read)
    }

    /// An array of tables, each with the same keys but for [`variant`](Self::variant)s.
    pub(crate) fn tables<T>(
        &mut self,
        name: &'static str,
        max: usize,
        unwritten: Unwritten,
        doc: &'static str,
        read: impl Fn(&mut Self) -> T,
    ) -> Vec<T> {
        let section = self.path(name);
        let nodes = self.entry(name).and_then(|entry| self.array_of(&section, max, &entry.node));
        let outer = std::mem::take(&mut self.notes);
        let default = self.enter(None, section.clone(), &read);
        let template = std::mem::take(&mut self.notes);
        let mut values = Vec::new();
        let mut elements = Vec::new();
        for (index, node) in nodes.into_iter().flatten().enumerate() {
            let path = format!("{section}[{index}]");
            self.origins.insert(path.clone(), node.origin.clone());
            let table = self.table_of(&path, node);
            values.push(self.enter(table, path, &read));
            elements.push(std::mem::take(&mut self.notes));
        }
        if nodes.is_none() && unwritten == Unwritten::OneDefault {
            values.push(default);
            elements.push(template.clone());
        }
        self.notes = outer;
        self.notes.push(Note::Tables(TablesNote { section, doc, max, unwritten, template, elements }));
        values
    }

    /// The keys that elements of the type `of` alone have. `element` is the type of the one that the walk is in; of an
    /// element whose type is not known nothing is read, and the keys of any type are allowed.
    pub(crate) fn variant<T>(
        &mut self,
        of: &'static str,
        element: Option<&'static str>,
        doc: &'static str,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let is_read = element == Some(of);
        let table = if is_read { self.table } else { None };
        let outer_table = std::mem::replace(&mut self.table, table);
        let outer_known = std::mem::take(&mut self.known);
        let outer_notes = std::mem::take(&mut self.notes);
        let value = read(self);
        self.table = outer_table;
        let known = std::mem::replace(&mut self.known, outer_known);
        let notes = std::mem::replace(&mut self.notes, outer_notes);
        match element {
            Some(element) if !is_read => {
                self.variant = element;
                self.foreign.extend(known.into_iter().map(|name| (name, of)));
            }
            Some(_) => {
                self.known.extend(known);
                self.notes.extend(notes);
            }
            None => {
                self.known.extend(known);
                self.known.sort_unstable();
                self.known.dedup();
                self.notes.push(Note::Variant { of, doc, notes });
            }
        }
        value
    }

    /// A table whose keys are someone else's. Tables within it are keys with dots: `a.b = 1` is `"a.b" = 1`.
    pub(crate) fn open_table(&mut self, name: &'static str) -> Vec<(String, &'a Entry)> {
        let path = self.path(name);
        let table = self.entry(name).and_then(|entry| self.table_of(&path, &entry.node));
        let mut entries = Vec::new();
        if let Some(table) = table {
            flatten("", table, &mut entries);
        }
        entries
    }

    /// Adds what was found in an open table.
    pub(crate) fn note_open(
        &mut self,
        name: &'static str,
        doc: &'static str,
        example: &'static str,
        entries: Vec<(String, Json)>,
    ) {
        let section = self.path(name);
        self.notes.push(Note::Open { section, doc, example, entries });
    }

    pub(crate) fn report(&mut self, origin: Option<Origin>, message: String, help: Option<String>) {
        self.reports.push(Report { origin, message, help });
    }

    /// Reports that several keys do not go together, at the first of them that was written; not if one of them
    /// was refused anyway and holds a value that nobody wrote.
    pub(crate) fn conflict(&mut self, paths: &[&str], message: String, help: &str) {
        if !paths.iter().any(|path| self.refused.contains(*path)) {
            let origin = paths.iter().find_map(|path| self.origins.get(*path)).cloned();
            self.report(origin, message, Some(help.to_owned()));
        }
    }

    /// As [`conflict`](Self::conflict), of keys of the table that the walk is in, or of their absence: the message begins
    /// with the path of the first, and if none of them was written it stands at the table. Says nothing where there is
    /// no such table.
    pub(crate) fn conflict_here(&mut self, names: &[&str], what: &str, help: &str) {
        if self.table.is_none() {
            return;
        }
        let mut paths: Vec<String> = names.iter().map(|name| self.path(name)).collect();
        paths.push(self.section.clone());
        let message = format!("`{}` {what}", paths[0]);
        self.conflict(&paths.iter().map(String::as_str).collect::<Vec<_>>(), message, help);
    }

    /// Whether a key of the table that the walk is in was written, even if its value was refused.
    pub(crate) fn is_written_here(&self, name: &str) -> bool {
        self.is_written(&self.path(name))
    }

    /// Remembers where a key of an open table stands, for what is found wrong with it later.
    pub(crate) fn note_place(&mut self, path: String, origin: Origin) {
        self.origins.insert(path, origin);
    }

    /// Reports what was found outside this crate, at the key, or at the nearest table that was written.
    pub(crate) fn object(&mut self, objection: Objection) {
        let Objection { key, message, help } = objection;
        let mut place = key.as_str();
        let origin = loop {
            match (self.origins.get(place), place.rsplit_once('.')) {
                (Some(origin), _) => break Some(origin.clone()),
                (None, Some((table, _))) => place = table,
                (None, None) => break None,
            }
        };
        self.report(origin, message, help);
    }

    /// Whether the key was written, even if its value was refused.
    pub(crate) fn is_written(&self, path: &str) -> bool {
        self.origins.contains_key(path)
    }

    /// Whether the key was written in the file.
    pub(crate) fn is_in_file(&self, path: &str) -> bool {
        matches!(self.origins.get(path), Some(Origin::File(_)))
    }

    fn path(&self, name: &str) -> String {
        if self.section.is_empty() { name.to_owned() } else { format!("{}.{name}", self.section) }
    }

    fn entry(&mut self, name: &'static str) -> Option<&'a Entry> {
        self.known.push(name);
        let entry = self.table?.get(name)?;
        self.origins.insert(self.path(name), entry.node.origin.clone());
        Some(entry)
    }

    fn table_of(&mut self, path: &str, node: &'a Node) -> Option<&'a Table> {
        match &node.value {
            Value::Table(table) => Some(table),
            other => {
                self.wrong_section(path, TABLE, other, node);
                None
            }
        }
    }

    fn array_of(&mut self, path: &str, max: usize, node: &'a Node) -> Option<&'a [Node]> {
        match &node.value {
            Value::Array(nodes) if nodes.len() <= max => Some(nodes),
            Value::Array(_) => {
                let message = format!("invalid value for `{path}`: too many elements");
                self.report(Some(node.origin.clone()), message, Some(format!("allowed: up to {max}")));
                Some(&[])
            }
            other => {
                self.wrong_section(path, TABLES, other, node);
                None
            }
        }
    }

    fn wrong_section(&mut self, path: &str, wanted: &str, found: &Value, node: &Node) {
        self.refused.insert(path.to_owned());
        if is_delicate(path) {
            hide_values(node, &mut self.hidden);
        }
        if !matches!(found, Value::Broken) {
            let message =
                format!("invalid value for `{path}`: expected {wanted}, found {}", found.type_name());
            let is_single = wanted == TABLES && matches!(found, Value::Table(_));
            let help = is_single.then(|| format!("write `[[{path}]]` for each"));
            self.report(Some(node.origin.clone()), message, help);
        }
    }

    /// Reads a table's keys, and remembers those that nobody asked for.
    fn enter<T>(
        &mut self,
        table: Option<&'a Table>,
        section: String,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let outer_table = std::mem::replace(&mut self.table, table);
        let outer_section = std::mem::replace(&mut self.section, section);
        let outer_known = std::mem::take(&mut self.known);
        let outer_foreign = std::mem::take(&mut self.foreign);
        let value = read(self);
        self.note_unknown();
        self.foreign = outer_foreign;
        self.table = outer_table;
        self.section = outer_section;
        self.known = outer_known;
        value
    }

    /// To be called at the end of a table; [`enter`](Self::enter) does, and the top's reader must.
    pub(crate) fn note_unknown(&mut self) {
        let known: Rc<[_]> = self.known.as_slice().into();
        for (name, entry) in self.table.into_iter().flatten() {
            if known.contains(&name.as_str()) {
                continue;
            }
            // A sink whose header was damaged, or commented out, has its keys here.
            let is_of_sinks = match &entry.node.value {
                Value::Table(_) | Value::Array(_) => true,
                Value::Text(text) => name == "url" || text.contains("://"),
                _ => false,
            };
            if is_of_sinks || is_delicate(&self.section) {
                hide_values(&entry.node, &mut self.hidden);
            }
            let foreign = self.foreign.iter().filter(|(foreign, _)| foreign == name);
            let types: Vec<_> = foreign.map(|(_, of)| *of).collect();
            self.unknown.push(Unknown {
                section: self.section.clone(),
                name: name.clone(),
                origin: entry.key.clone(),
                known: known.clone(),
                belongs_to: (!types.is_empty()).then_some((types, self.variant)),
            });
        }
    }
}

/// Collects where the values within a value stand.
fn hide_values(node: &Node, hidden: &mut Vec<Range<usize>>) {
    match (&node.value, &node.origin) {
        (Value::Table(table), _) => table.values().for_each(|entry| hide_values(&entry.node, hidden)),
        (Value::Array(nodes), _) => nodes.iter().for_each(|node| hide_values(node, hidden)),
        (_, Origin::File(span)) => hidden.push(span.clone()),
        (_, Origin::Override(_)) => {}
    }
}

fn flatten<'a>(prefix: &str, table: &'a Table, entries: &mut Vec<(String, &'a Entry)>) {
    for (name, entry) in table {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match &entry.node.value {
            Value::Table(inner) => flatten(&name, inner, entries),
            _ => entries.push((name, entry)),
        }
    }
}
