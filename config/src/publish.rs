//! The table of keys in print: the default file, the JSON Schema and the reference.

use serde_json::{Value as Json, json};
use tidegate_core::client_properties::REFUSED;

use crate::{
    document::Document,
    keys,
    note::{Default, KeyNote, Note, TablesNote, Unwritten},
    show::{at, toml_value},
    walk::Walk,
};

/// Width of the comments of the default file, in characters.
const COMMENT_WIDTH: usize = 100;

/// What the default file and the reference begin with.
const INTRODUCTION: &str = "Every key is shown with its default, so all but `kafka.bootstrap_servers` can be left \
     out. Unknown keys are errors. A duration is a whole number with one of the units ms, s, m, h, d; a size one with \
     B, KB, MB, GB, KiB, MiB or GiB. `${VAR}` and `${VAR:-default}` in strings are replaced by the environment; write \
     `$${` for a plain `${`. `--set KEY=VALUE` on the command line goes before the file.";

/// All keys, as a walk over an empty document comes by them.
fn all() -> Vec<Note> {
    let empty = Document::default();
    let mut walk = Walk::over(&empty);
    let _ = keys::read(&mut walk);
    walk.notes
}

/// A complete configuration file with comments; every key has its default.
#[must_use]
pub fn default_toml() -> String {
    let mut out = comment("The configuration of Tidegate.") + "#\n" + &comment(INTRODUCTION);
    default_notes(&all(), &mut out);
    out
}

fn default_notes(notes: &[Note], out: &mut String) {
    for (i, note) in notes.iter().enumerate() {
        match note {
            Note::Key(key) => *out += &default_key(key),
            Note::Section { section, doc } => {
                *out += &format!("\n{}", comment(doc));
                if matches!(notes.get(i + 1), Some(Note::Key(_))) {
                    *out += &format!("[{section}]\n");
                }
            }
            Note::Tables(tables) => {
                let mut text = format!("[[{}]]\n", tables.section);
                default_notes(&tables.template, &mut text);
                if tables.unwritten == Unwritten::Empty {
                    text = commented_out(&text);
                }
                *out += &format!("\n{}{text}", comment(tables.doc));
            }
            Note::Variant { of, doc, notes } => {
                *out += &format!("\n{}", comment(&format!("With `type = \"{of}\"`: {doc}")));
                default_notes(notes, out);
            }
            Note::Open { section, doc, example, .. } => {
                *out += &format!("\n{}[{section}]\n{example}", comment(doc));
            }
        }
    }
}

/// Lines that are no comments yet become comments.
fn commented_out(text: &str) -> String {
    let line = |line: &str| {
        if line.is_empty() || line.starts_with('#') { format!("{line}\n") } else { format!("# {line}\n") }
    };
    text.lines().map(line).collect()
}

fn default_key(key: &KeyNote) -> String {
    let text = comment(key.doc) + &comment(&format!("Allowed: {}.", key.allowed));
    let (mark, value) = match &key.default {
        Default::Value(value) | Default::Required { example: value } => ("", value),
        Default::Absent { example } => ("# ", example),
    };
    // A blank line before the very first keys; sections bring their own.
    let gap = if key.section.is_empty() { "\n" } else { "" };
    format!("{gap}{text}{mark}{} = {}\n", key.name, toml_value(value))
}

fn comment(text: &str) -> String {
    let mut out = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COMMENT_WIDTH {
            out += &line;
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line += word;
    }
    out + &line + "\n"
}

/// JSON Schema (draft 2020-12) of the file. Where a value is not free text, a string with a `${VAR}` may stand
/// for it.
#[must_use]
pub fn json_schema() -> Json {
    let mut root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Tidegate",
        "$defs": { "variable": {
            "description": "A value from the environment, such as ${VAR} or ${VAR:-default}.",
            "type": "string",
            "pattern": "\\$\\{",
        } },
        "type": "object",
        "additionalProperties": false,
        "if": { "properties": { "log": { "const": "embedded" } }, "required": ["log"] },
        "else": {
            "properties": { "kafka": { "required": ["bootstrap_servers"] } },
            "required": ["kafka"],
        },
    });
    schema_notes(&all(), &mut root);
    root
}

fn schema_notes(notes: &[Note], root: &mut Json) {
    for note in notes {
        match note {
            Note::Key(key) => {
                let object = at(root, &schema_path(&key.section));
                object["properties"][key.name] = key_schema(key);
            }
            Note::Section { section, doc } => {
                *at(root, &schema_path(section)) = object_schema(doc);
            }
            Note::Tables(tables) => {
                let mut schema = json!({
                    "description": tables.doc, "type": "array", "items": element_schema(&tables.template),
                    "maxItems": tables.max,
                });
                if tables.unwritten == Unwritten::Empty {
                    schema["default"] = json!([]);
                }
                *at(root, &schema_path(&tables.section)) = schema;
            }
            // Only elements of arrays have them.
            Note::Variant { .. } => {}
            Note::Open { section, doc, .. } => {
                let refused: Vec<&str> =
                    REFUSED.iter().flat_map(|(names, _)| names.iter().copied()).collect();
                *at(root, &schema_path(section)) = json!({
                    "description": doc, "type": "object", "propertyNames": { "not": { "enum": refused } },
                });
            }
        }
    }
}

/// An element of an array of tables; if there are types of them, any of these.
fn element_schema(template: &[Note]) -> Json {
    let mut common = object_schema("");
    put_keys(template, &mut common);
    let variants: Vec<Json> = template
        .iter()
        .filter_map(|note| match note {
            Note::Variant { of, doc, notes } => {
                let mut variant = common.clone();
                variant["description"] = json!(doc);
                put_keys(notes, &mut variant);
                variant["properties"]["type"]["anyOf"][0] = json!({ "const": of });
                Some(variant)
            }
            _ => None,
        })
        .collect();
    if variants.is_empty() { common } else { json!({ "anyOf": variants }) }
}

fn put_keys(notes: &[Note], object: &mut Json) {
    for note in notes {
        let Note::Key(key) = note else { continue };
        object["properties"][key.name] = key_schema(key);
        if matches!(key.default, Default::Required { .. }) {
            match object["required"].as_array_mut() {
                Some(required) => required.push(json!(key.name)),
                None => object["required"] = json!([key.name]),
            }
        }
    }
}

/// `a.b` stands at `properties.a.properties.b`.
fn schema_path(section: &str) -> String {
    let names = section.split('.').filter(|name| !name.is_empty());
    names.map(|name| format!("properties.{name}")).collect::<Vec<_>>().join(".")
}

fn object_schema(doc: &str) -> Json {
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": {} });
    if !doc.is_empty() {
        schema["description"] = json!(doc);
    }
    schema
}

fn key_schema(key: &KeyNote) -> Json {
    let mut schema = json!({ "anyOf": [key.schema, { "$ref": "#/$defs/variable" }] });
    schema["description"] = json!(format!("{} Allowed: {}.", key.doc, key.allowed));
    match &key.default {
        Default::Value(value) => schema["default"] = value.clone(),
        Default::Absent { example } | Default::Required { example } => schema["examples"] = json!([example]),
    }
    schema
}

/// The reference in Markdown: the project's `docs/configuration.md`.
#[must_use]
pub fn reference_markdown() -> String {
    let mut out = format!("{REFERENCE_HEAD}\n{INTRODUCTION}\n{REFERENCE_RULES}\n## Top level\n");
    reference_notes(&all(), &mut out);
    out
}

const REFERENCE_HEAD: &str = "# Configuration\n\n\
     <!-- generated from the table of keys by `cargo xtask docs`; edit config/src/keys.rs or config/src/sink_keys.rs instead -->\n\n\
     Tidegate reads one TOML file, named by `--config FILE` or the environment variable `TIDEGATE_CONFIG`.\n";

const REFERENCE_RULES: &str = "\n\
     - `tidegate config default` prints a complete file with comments, `tidegate config schema` a JSON Schema for \
     editors, and `tidegate config show` what holds after variables and overrides, with secrets hidden.\n\
     - `tidegate validate` names every problem at once, with its line and column. A wrong configuration makes every \
     command exit with 78.\n\
     - A variable that is not set and has no default is an error; the default also takes the place of an empty \
     variable. A string that has a variable may stand for a number or a boolean: `filter = \"${WORKERS:-2}\"`.\n\
     - `--set a.b=VALUE` takes a TOML value; what is none is taken as a string: `--set checkpoint.interval=100ms`. \
     Other users of the machine can see it, so passwords belong into variables.\n\
     - Relative paths start at the working directory.\n";

fn reference_notes(notes: &[Note], out: &mut String) {
    const COLUMNS: &str = "\n| key | default | allowed | meaning |\n|---|---|---|---|\n";
    let mut in_table = false;
    for note in notes {
        if let Note::Key(key) = note {
            if !in_table {
                *out += COLUMNS;
            }
            in_table = true;
            *out += &reference_row(key);
            continue;
        }
        in_table = false;
        match note {
            Note::Key(_) => {}
            Note::Section { section, doc } => *out += &format!("\n## `[{section}]`\n\n{doc}\n"),
            Note::Tables(TablesNote { section, doc, template, .. }) => {
                *out += &format!("\n## `[[{section}]]`\n\n{doc}\n");
                reference_notes(template, out);
            }
            Note::Variant { of, doc, notes } => {
                *out += &format!("\n### `type = \"{of}\"`\n\n{doc}\n");
                reference_notes(notes, out);
            }
            Note::Open { section, doc, example, .. } => {
                *out += &format!(
                    "\n## `[{section}]`\n\n{doc}\n\n```toml\n[{section}]\n{}```\n",
                    uncomment(example)
                );
                *out += "\nThese are refused, because the daemon decides them:\n\n| property | why |\n|---|---|\n";
                for (names, reason) in REFUSED {
                    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                    *out += &format!("| {} | {reason} |\n", names.join(", "));
                }
            }
        }
    }
}

fn reference_row(key: &KeyNote) -> String {
    let default = match &key.default {
        Default::Value(value) => format!("`{}`", toml_value(value)),
        Default::Absent { .. } => "absent".to_owned(),
        Default::Required { .. } => "none".to_owned(),
    };
    let cells = [format!("`{}`", key.name), default, key.allowed.clone(), key.doc.to_owned()];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

fn uncomment(example: &str) -> String {
    example.replace("# ", "")
}
