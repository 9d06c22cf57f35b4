//! The file and the overrides as one tree, each value with the place it was written at.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    secret::is_secret_name,
    source::{Origin, Report, Source},
    variables,
};

/// A parsed configuration; names and types are not checked yet.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) root: Table,
    /// Spans in the file that must not be shown.
    pub(crate) secrets: Vec<Range<usize>>,
    pub(crate) reports: Vec<Report>,
    /// The file is not TOML; nothing was read.
    pub(crate) not_toml: bool,
}

pub(crate) type Table = BTreeMap<String, Entry>;

/// A key and its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Origin,
    pub(crate) node: Node,
}

/// A value.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    /// The text came from the command line or a variable, which know no types: it may stand for a number.
    pub(crate) untyped: bool,
    /// The text has parts that came from the environment; it is never repeated in messages.
    pub(crate) from_env: bool,
}

#[derive(Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
    /// Reported already.
    Broken,
}

impl Value {
    /// The type with its article.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Broken => "nothing",
        }
    }
}

/// Parses the file and lays the overrides over it. A file that is not TOML gives its syntax errors alone: what
/// was meant by the rest cannot be told.
pub(crate) fn read(source: &Source, env: &dyn Fn(&str) -> Option<String>) -> Document {
    let mut reader = Reader { document: Document::default(), env, from: From::File };
    let (table, errors) = DeTable::parse_recoverable(source.text());
    if !errors.is_empty() {
        reader.document.not_toml = true;
        reader.document.secrets = secret_lines(source.text());
        // What follows in the same line is mostly a consequence.
        let mut last_line = None;
        for error in errors {
            let span = error.span().unwrap_or_default();
            let line = source.text().get(..span.start).map(|before| before.matches('\n').count());
            if line != last_line {
                reader.report(Some(Origin::File(span)), format!("not TOML: {}", error.message()), None);
            }
            last_line = line;
        }
        return reader.document;
    }
    reader.document.root = reader.table("", table.get_ref());
    for (index, set) in source.overrides().iter().enumerate() {
        reader.from = From::Override(index);
        reader.lay_over(set);
    }
    reader.document
}

/// Whether a value is hidden although its name is not that of a secret: of a client's property, a mistyped name may hide
/// that it is one; of a sink, all URLs, wherever they stand, and the headers of requests.
fn is_hidden(path: &str, value: &DeValue<'_>) -> bool {
    path.starts_with(".kafka.properties.")
        || path.starts_with(".sinks.url")
        || path.starts_with(".sinks.headers")
        || path.starts_with(".sinks") && value.as_str().is_some_and(|text| text.contains("://"))
}

struct Reader<'a> {
    document: Document,
    env: &'a dyn Fn(&str) -> Option<String>,
    from: From,
}

#[derive(Clone, Copy)]
enum From {
    File,
    Override(usize),
}

impl Reader<'_> {
    fn report(&mut self, origin: Option<Origin>, message: String, help: Option<String>) {
        self.document.reports.push(Report { origin, message, help });
    }

    fn origin(&self, span: Range<usize>) -> Origin {
        match self.from {
            From::File => Origin::File(span),
            From::Override(index) => Origin::Override(index),
        }
    }

    fn table(&mut self, path: &str, table: &DeTable<'_>) -> Table {
        let mut read = Table::new();
        for (key, value) in table.iter() {
            let path = format!("{path}.{}", key.get_ref());
            let node = self.node(&path, value);
            read.insert(key.get_ref().to_string(), Entry { key: self.origin(key.span()), node });
        }
        read
    }

    fn node(&mut self, path: &str, value: &Spanned<DeValue<'_>>) -> Node {
        let origin = self.origin(value.span());
        let is_secret = is_secret_name(path) || is_hidden(path, value.get_ref());
        if let (From::File, true, false) = (self.from, is_secret, value.get_ref().is_table()) {
            self.document.secrets.push(value.span());
        }
        let value = match value.get_ref() {
            DeValue::String(text) => return self.text(origin, text, false),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Value::Integer(integer),
                Err(_) => self.broken(&origin, "the integer does not fit into 64 bits".into()),
            },
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(float) => Value::Float(float),
                Err(_) => self.broken(&origin, "not a number".into()),
            },
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(array) => Value::Array(array.iter().map(|value| self.node(path, value)).collect()),
            DeValue::Table(table) => Value::Table(self.table(path, table)),
        };
        Node { value, origin, untyped: false, from_env: false }
    }

    fn text(&mut self, origin: Origin, text: &str, untyped: bool) -> Node {
        match variables::replace(text, self.env) {
            Ok(None) => Node { value: Value::Text(text.to_owned()), origin, untyped, from_env: false },
            Ok(Some(replaced)) => Node {
                value: Value::Text(replaced.text),
                origin,
                untyped: untyped || replaced.from_env,
                from_env: replaced.from_env,
            },
            Err(unresolved) => {
                let value = self.broken(&origin, unresolved.to_string());
                Node { value, origin, untyped, from_env: true }
            }
        }
    }

    fn broken(&mut self, origin: &Origin, message: String) -> Value {
        self.report(Some(origin.clone()), message, None);
        Value::Broken
    }

    /// Puts the value of `KEY=VALUE` into the tree, in the place of what the file says.
    fn lay_over(&mut self, set: &str) {
        let origin = self.origin(0..0);
        let help = || Some("write it as `--set KEY=VALUE`, such as `--set checkpoint.interval=100ms`".into());
        let Some((key, value)) = set.split_once('=') else {
            return self.report(Some(origin), "no `=` in the override".into(), help());
        };
        let Some(segments) = key_parts(key) else {
            return self.report(
                Some(origin),
                "a quote in the key is not where a part begins or ends".into(),
                help(),
            );
        };
        if segments.iter().any(|segment| segment.is_empty()) {
            return self.report(Some(origin), "a part of the key is empty".into(), help());
        }
        let node = self.override_value(&segments.join("."), value, &origin);
        let mut root = std::mem::take(&mut self.document.root);
        insert(&mut root, &segments, &origin, node);
        self.document.root = root;
    }

    /// A TOML value, or else a bare string. Numbers and the like stay text as well: the key decides.
    fn override_value(&mut self, key: &str, value: &str, origin: &Origin) -> Node {
        match DeValue::parse(value) {
            Ok(parsed) if parsed.get_ref().is_array() || parsed.get_ref().is_table() => {
                self.node(key, &parsed)
            }
            Ok(parsed) => self.text(origin.clone(), parsed.get_ref().as_str().unwrap_or(value), true),
            Err(_) => self.text(origin.clone(), value, true),
        }
    }
}

/// The parts of a dotted key as TOML has it: a part in quotes may have dots in it. `None` if a quote is out of place.
fn key_parts(key: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = key.trim();
    loop {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (part, after) = match quote {
            Some(quote) => {
                let (part, after) = rest[1..].split_once(quote)?;
                (part, after.trim_start())
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].trim_end(), &rest[end..])
            }
        };
        if quote.is_none() && part.contains(['"', '\'']) {
            return None;
        }
        parts.push(part);
        if after.is_empty() {
            return Some(parts);
        }
        rest = after.strip_prefix('.')?.trim_start();
    }
}

fn insert(table: &mut Table, segments: &[&str], origin: &Origin, node: Node) {
    let [segment, rest @ ..] = segments else { return };
    let key = || origin.clone();
    if rest.is_empty() {
        table.insert((*segment).to_owned(), Entry { key: key(), node });
        return;
    }
    let empty = || {
        let value = Value::Table(Table::new());
        Entry { key: key(), node: Node { value, origin: key(), untyped: false, from_env: false } }
    };
    let entry = table.entry((*segment).to_owned()).or_insert_with(empty);
    if !matches!(entry.node.value, Value::Table(_)) {
        *entry = empty();
    }
    if let Value::Table(inner) = &mut entry.node.value {
        insert(inner, rest, origin, node);
    }
}

/// What must not be shown of a text that is not TOML, judged line by line: values on lines that speak of
/// secrets, and everything where librdkafka's properties or sinks stand or a text or list over several lines was begun
/// there.
fn secret_lines(text: &str) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    let mut in_secrets = false;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.trim_end().len();
        if let Some(name) = section_name(line) {
            in_secrets = speaks_of_secrets(name);
        } else {
            let speaks = speaks_of_secrets(line);
            let is_begun = [r#"""""#, "'''", "[", "]"].iter().any(|mark| line.contains(mark));
            in_secrets |= speaks && is_begun;
            if speaks || in_secrets {
                let value = line.find('=').map_or(start, |equals| start + equals + 1);
                secrets.push(value..end.max(value));
            }
        }
        start += line.len();
    }
    secrets
}

fn speaks_of_secrets(text: &str) -> bool {
    is_secret_name(text)
        || ["properties", "sinks", "headers", "url", "://"].iter().any(|word| text.contains(word))
}

/// The name in a line such as `[kafka.properties]`.
fn section_name(line: &str) -> Option<&str> {
    let name = line.trim().trim_start_matches('[').strip_suffix(']')?.trim_end_matches(']').trim();
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "._- ".contains(c));
    (line.trim_start().starts_with('[') && is_name).then_some(name)
}
