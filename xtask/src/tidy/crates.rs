//! Crates need one another only as listed, and nothing that they do not use.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Finding, tree::Tree};
use crate::Error;

/// Which crate may need which others of the workspace; its tests may need more.
const ARROWS: [(&str, &[&str]); 15] = [
    ("core", &[]),
    ("host", &["core"]),
    ("log", &["core", "host"]),
    ("state", &["core", "host"]),
    ("telemetry", &["core", "host"]),
    ("config", &["core"]),
    ("traffic", &["core"]),
    ("actors", &["core", "host", "log", "state", "telemetry"]),
    ("sinks", &["core", "host", "log", "telemetry", "config"]),
    ("supervision", &["core", "host", "log", "state", "telemetry", "actors", "sinks"]),
    (
        "",
        &["core", "host", "log", "state", "actors", "sinks", "supervision", "config", "telemetry", "traffic"],
    ),
    ("bench", &["core", "config", "traffic"]),
    ("bench/instructions", &["core", "state", "traffic"]),
    ("simulator", &["core"]),
    ("xtask", &["config"]),
];

/// What is needed without being named in the code: a crate that a feature is wanted of.
const UNNAMED: [(&str, &str); 1] = [("xtask", "proc-macro2")];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    for krate in tree.crates() {
        let file = if krate.is_empty() { "Cargo.toml".to_owned() } else { format!("{krate}/Cargo.toml") };
        let text = tree.text(&file).unwrap_or_default();
        let manifest: Table = toml::from_str(text).map_err(|error| format!("{file}: {error}"))?;
        for (section, name) in dependencies(&manifest) {
            let line = 1 + text.lines().position(|line| is_entry(line, name)).unwrap_or(0);
            let mut note = |what, way_out| found.push(Finding { file: file.clone(), line, what, way_out });
            if !is_used(tree, krate, section, name) {
                note(
                    format!("`{name}` is not used"),
                    "take it out, or move it to the dev-dependencies if only tests use it",
                );
            }
            if let (Section::Normal, Some(other)) = (section, name.strip_prefix("tidegate-"))
                && !may_need(krate, other)
            {
                note(
                    format!(
                        "the crate in {} may not need {name}",
                        if krate.is_empty() { "src" } else { krate }
                    ),
                    "move what it wants further down, or change the list of arrows in xtask with its reason",
                );
            }
        }
    }
    Ok(found)
}

fn may_need(krate: &str, other: &str) -> bool {
    ARROWS.iter().any(|(from, to)| *from == krate && to.contains(&other))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Normal,
    Dev,
    Build,
}

/// All dependencies of a manifest, also those of one platform only.
fn dependencies(manifest: &Table) -> Vec<(Section, &str)> {
    let mut tables = vec![manifest];
    let targets = manifest.get("target").and_then(Value::as_table);
    tables.extend(targets.into_iter().flat_map(|targets| targets.values().filter_map(Value::as_table)));
    let sections = [
        ("dependencies", Section::Normal),
        ("dev-dependencies", Section::Dev),
        ("build-dependencies", Section::Build),
    ];
    let mut found = BTreeMap::new();
    for table in tables {
        for (key, section) in sections {
            let names = table.get(key).and_then(Value::as_table).into_iter().flat_map(Table::keys);
            found.extend(names.map(|name| ((key, name.as_str()), section)));
        }
    }
    found.into_iter().map(|((_, name), section)| (section, name)).collect()
}

fn is_entry(line: &str, name: &str) -> bool {
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
}

fn is_used(tree: &Tree, krate: &str, section: Section, name: &str) -> bool {
    let ident = name.replace('-', "_");
    let folder = if krate.is_empty() { String::new() } else { format!("{krate}/") };
    let is_in_scope = |path: &str| match section {
        Section::Normal => path[folder.len()..].starts_with("src/"),
        Section::Dev => true,
        Section::Build => path[folder.len()..] == *"build.rs",
    };
    UNNAMED.contains(&(krate, name))
        || tree.sources_of(krate).any(|(path, text)| is_in_scope(path) && names(text, &ident))
}

/// Whether a text has a word.
fn names(text: &str, word: &str) -> bool {
    let is_part = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    text.match_indices(word).any(|(at, _)| {
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::lines_and_words, *};

    fn found(files: &[(&str, &str)]) -> Vec<(usize, String)> {
        lines_and_words(check(&Tree::of(files)).unwrap())
    }

    #[test]
    fn a_dependency_that_no_code_names_is_told() {
        let manifest = "[dependencies]\nused.workspace = true\nnot-used = \"1\"\n[dev-dependencies]\nin-tests = \"1\"\n\
             [target.'cfg(unix)'.dependencies]\nof-unix = \"1\"\n";
        let files = [
            ("core/Cargo.toml", manifest),
            ("core/src/lib.rs", "use used::X; // notused, not_used_either"),
            ("core/tests/a.rs", "use in_tests::X; use not_used::Y;"),
        ];
        assert_eq!(
            found(&files),
            [(3, "`not-used` is not used".to_owned()), (7, "`of-unix` is not used".to_owned())]
        );
    }

    #[test]
    fn an_arrow_that_is_not_listed_is_told() {
        let source = ("core/src/lib.rs", "use tidegate_log::Log;");
        assert_eq!(
            found(&[("core/Cargo.toml", "[dependencies]\ntidegate-log.workspace = true"), source]),
            [(2, "the crate in core may not need tidegate-log".to_owned())]
        );
        assert_eq!(
            found(&[("core/Cargo.toml", "[dev-dependencies]\ntidegate-log.workspace = true"), source]),
            []
        );
    }
}
