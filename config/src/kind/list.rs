//! Lists: of words, of field paths, of patterns.

use serde_json::{Value as Json, json};
use tidegate_core::{
    bots::{BotFilter, Pattern, PatternError},
    event::FieldPath,
};

use super::{Choice, Fault, Kind, Text, as_text, wrong_type};
use crate::document::{Node, Value};

/// Some of several words, each once.
pub(crate) struct Choices<T: 'static> {
    pub(crate) of: Choice<T>,
    /// How many at least.
    pub(crate) min: usize,
}

impl<T: Copy + PartialEq> Kind for Choices<T> {
    type Value = Vec<T>;

    fn read(&self, node: &Node) -> Result<Vec<T>, Vec<Fault>> {
        let mut chosen = Vec::new();
        let mut faults = Vec::new();
        let elements = array(node, self.of.0.len())?;
        for element in elements {
            match self.of.read(element) {
                Ok(value) if chosen.contains(&value) => faults.extend(Fault::all(element, "listed twice")),
                Ok(value) => chosen.push(value),
                Err(wrong) => faults.extend(wrong),
            }
        }
        if elements.len() < self.min {
            faults.extend(Fault::all(node, "too short"));
        }
        if faults.is_empty() { Ok(chosen) } else { Err(faults) }
    }

    fn write(&self, value: &Vec<T>) -> Json {
        value.iter().map(|value| self.of.write(value)).collect()
    }

    fn allowed(&self) -> String {
        let least = if self.min > 0 { "at least one" } else { "any" };
        format!("a list with {least} of {}", self.of.allowed())
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": self.of.schema(), "uniqueItems": true, "minItems": self.min })
    }
}

/// Names of elements of an array of tables.
pub(crate) struct Names {
    pub(crate) max: usize,
}

impl Kind for Names {
    type Value = Vec<String>;

    fn read(&self, node: &Node) -> Result<Vec<String>, Vec<Fault>> {
        each(array(node, self.max)?, |node| Text::own_name().read(node))
    }

    fn write(&self, value: &Vec<String>) -> Json {
        json!(value)
    }

    fn allowed(&self) -> String {
        format!("a list of up to {} names", self.max)
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": Text::own_name().schema(), "maxItems": self.max })
    }
}

/// Dotted paths to a field, the first one that is present wins.
pub(crate) struct FieldPathList {
    /// How many at least.
    pub(crate) min: usize,
}

/// Most paths for one field, and the deepest path.
const MAX_PATHS: usize = 16;
const MAX_DEPTH: usize = 16;
const MAX_PATH_BYTES: usize = 1024;

impl FieldPathList {
    /// One path.
    pub(super) fn path(node: &Node) -> Result<FieldPath, Vec<Fault>> {
        let text = as_text(node, "a string with a path")?;
        let path: FieldPath = text.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            Err(Fault::all(node, "a part of the path is empty"))
        } else if path.len() > MAX_DEPTH {
            Err(Fault::all(node, "too deep"))
        } else if text.len() > MAX_PATH_BYTES {
            Err(Fault::all(node, "too long"))
        } else {
            Ok(path)
        }
    }
}

impl Kind for FieldPathList {
    type Value = Vec<FieldPath>;

    fn read(&self, node: &Node) -> Result<Vec<FieldPath>, Vec<Fault>> {
        if matches!(node.value, Value::Text(_)) {
            return Self::path(node).map(|path| vec![path]);
        }
        let paths = each(array(node, MAX_PATHS)?, Self::path)?;
        if paths.len() < self.min { Err(Fault::all(node, "too short")) } else { Ok(paths) }
    }

    fn write(&self, value: &Vec<FieldPath>) -> Json {
        value.iter().map(|path| path.join(".")).collect()
    }

    fn allowed(&self) -> String {
        let min = self.min;
        format!("a dotted path or a list of {min} to {MAX_PATHS} of them, each up to {MAX_DEPTH} keys deep")
    }

    fn schema(&self) -> Json {
        let path = json!({ "type": "string", "minLength": 1, "maxLength": MAX_PATH_BYTES });
        json!({ "anyOf": [
            path,
            { "type": "array", "items": path, "minItems": self.min, "maxItems": MAX_PATHS },
        ] })
    }
}

/// Regular expressions that tell bots.
pub(crate) struct PatternList;

/// Most patterns, and the longest one.
const MAX_PATTERNS: usize = 1000;
const MAX_PATTERN_BYTES: usize = 1024;

impl PatternList {
    fn pattern(node: &Node) -> Result<String, Vec<Fault>> {
        let regex = as_text(node, "a string with a regular expression")?;
        if regex.is_empty() {
            return Err(Fault::all(node, "empty: it would match every user agent"));
        }
        if regex.len() > MAX_PATTERN_BYTES {
            return Err(Fault::all(node, "too long"));
        }
        let pattern = Pattern { regex: regex.to_owned(), category: None };
        match BotFilter::new(&[pattern], &[]) {
            Ok(_) => Ok(regex.to_owned()),
            Err(error) => Err(Fault::quoting(node, format!("not a regular expression: {}", cause(&error)))),
        }
    }
}

/// The cause alone, without the pattern: that is shown anyway.
fn cause(error: &PatternError) -> String {
    match error {
        PatternError::Regex { problem, .. } => problem.clone(),
        other => other.to_string(),
    }
}

impl Kind for PatternList {
    type Value = Vec<String>;

    fn read(&self, node: &Node) -> Result<Vec<String>, Vec<Fault>> {
        let regexes = each(array(node, MAX_PATTERNS)?, Self::pattern)?;
        // They are compiled into one, so all together may be too large.
        let patterns = regexes.iter().map(|regex| Pattern { regex: regex.clone(), category: None });
        match BotFilter::new(&patterns.collect::<Vec<_>>(), &[]) {
            Ok(_) => Ok(regexes),
            Err(error) => Err(Fault::quoting(node, cause(&error))),
        }
    }

    fn write(&self, value: &Vec<String>) -> Json {
        json!(value)
    }

    fn allowed(&self) -> String {
        format!("a list of up to {MAX_PATTERNS} regular expressions of 1 to {MAX_PATTERN_BYTES} bytes")
    }

    fn schema(&self) -> Json {
        let pattern = json!({ "type": "string", "minLength": 1, "maxLength": MAX_PATTERN_BYTES });
        json!({ "type": "array", "items": pattern, "maxItems": MAX_PATTERNS })
    }
}

fn array(node: &Node, max: usize) -> Result<&[Node], Vec<Fault>> {
    match &node.value {
        Value::Array(elements) if elements.len() > max => Err(Fault::all(node, "too many elements")),
        Value::Array(elements) => Ok(elements),
        _ => Err(wrong_type(node, "an array")),
    }
}

/// Reads all elements, or tells everything that is wrong with any of them.
fn each<T>(elements: &[Node], read: impl Fn(&Node) -> Result<T, Vec<Fault>>) -> Result<Vec<T>, Vec<Fault>> {
    let mut values = Vec::new();
    let mut faults = Vec::new();
    for element in elements {
        match read(element) {
            Ok(value) => values.push(value),
            Err(wrong) => faults.extend(wrong),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}
