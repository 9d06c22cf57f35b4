//! The resolved configuration as people and programs read it: every key with what holds, secrets hidden.

use serde_json::{Map, Value as Json};

use crate::{note::Note, settings::Settings};

/// A checked configuration together with its printable form.
#[derive(Debug, Clone)]
pub struct Resolved {
    settings: Settings,
    notes: Vec<Note>,
}

impl Resolved {
    pub(crate) fn new(settings: Settings, notes: Vec<Note>) -> Self {
        Self { settings, notes }
    }

    /// What the parts need.
    #[must_use]
    pub fn into_settings(self) -> Settings {
        self.settings
    }

    /// All keys as TOML; secrets are `***`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for note in &self.notes {
            // An empty list is a key of the top level, which ends with the first table.
            if let Note::Tables(tables) = note
                && tables.elements.is_empty()
            {
                out += &format!("{} = []\n", tables.section);
            }
        }
        toml_notes(&self.notes, &mut out);
        out
    }

    /// All keys as one JSON object; secrets are `***`, and what is absent is left out.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut root = Json::Null;
        json_notes(&self.notes, &mut root);
        root
    }
}

fn toml_notes(notes: &[Note], out: &mut String) {
    let mut header = None;
    for note in notes {
        match note {
            // A table without keys of its own (only tables in it) needs no line.
            Note::Section { section, .. } => header = Some(section),
            Note::Key(key) if key.value.is_null() => {}
            Note::Key(key) => {
                if let Some(section) = header.take() {
                    *out += &format!("\n[{section}]\n");
                }
                *out += &format!("{} = {}\n", key.name, toml_value(&key.value));
            }
            Note::Tables(tables) => {
                for element in &tables.elements {
                    *out += &format!("\n[[{}]]\n", tables.section);
                    toml_notes(element, out);
                }
            }
            Note::Variant { .. } => {}
            Note::Open { entries, .. } if entries.is_empty() => {}
            Note::Open { section, entries, .. } => {
                *out += &format!("\n[{section}]\n");
                for (name, value) in entries {
                    *out += &format!("{} = {}\n", toml_value(&Json::from(name.as_str())), toml_value(value));
                }
            }
        }
    }
}

fn json_notes(notes: &[Note], root: &mut Json) {
    for note in notes {
        match note {
            Note::Section { .. } | Note::Variant { .. } => {}
            Note::Key(key) if key.value.is_null() => {}
            Note::Key(key) => at(root, &key.section)[key.name] = key.value.clone(),
            Note::Tables(tables) => {
                let elements = tables.elements.iter().map(|element| Json::Object(json_element(element)));
                *at(root, &tables.section) = elements.collect();
            }
            Note::Open { section, entries, .. } => {
                *at(root, section) = Json::Object(entries.iter().cloned().collect());
            }
        }
    }
}

fn json_element(notes: &[Note]) -> Map<String, Json> {
    let keys = notes.iter().filter_map(|note| match note {
        Note::Key(key) if !key.value.is_null() => Some((key.name.to_owned(), key.value.clone())),
        _ => None,
    });
    keys.collect()
}

/// The value at a dotted path. Objects appear on the way where nothing is yet; the path is one of the table of
/// keys, so there is never anything else.
pub(crate) fn at<'a>(root: &'a mut Json, path: &str) -> &'a mut Json {
    path.split('.').filter(|name| !name.is_empty()).fold(root, |object, name| &mut object[name])
}

/// A value in TOML's notation. A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
pub(crate) fn toml_value(value: &Json) -> String {
    match value {
        Json::Array(elements) => {
            format!("[{}]", elements.iter().map(toml_value).collect::<Vec<_>>().join(", "))
        }
        Json::Object(entries) if entries.is_empty() => "{}".into(),
        Json::Object(entries) => {
            let key = |name: &str| toml_value(&Json::from(name));
            let entries =
                entries.iter().map(|(name, value)| format!("{} = {}", key(name), toml_value(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string().replace('\u{7f}', "\\u007f"),
    }
}
