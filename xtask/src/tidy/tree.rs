//! The files that are checked.

use std::{collections::BTreeMap, fs, path::Path};

use crate::Error;

/// What the rules look at.
const ENDINGS: [&str; 3] = [".rs", ".md", "Cargo.toml"];

/// The files of a checkout by their path from its root, with `/` between the folders.
#[derive(Debug, Default)]
pub(super) struct Tree {
    files: BTreeMap<String, String>,
    /// All files, also those that are not read.
    names: Vec<String>,
}

impl Tree {
    /// Reads a checkout. Hidden folders and what is built are left out.
    pub(super) fn read(root: &Path) -> Result<Self, Error> {
        let mut tree = Self::default();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                if entry.file_type()?.is_dir() {
                    if !name.starts_with('.') && name != "target" {
                        folders.push(path);
                    }
                    continue;
                }
                if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                    tree.files.insert(path.clone(), fs::read_to_string(entry.path())?);
                }
                tree.names.push(path);
            }
        }
        Ok(tree)
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files: BTreeMap<_, _> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Self { names: files.keys().cloned().collect(), files }
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Files whose names end so, with their text.
    pub(super) fn ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self.files.iter().filter(move |(path, _)| path.ends_with(ending));
        files.map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether there is a file or a folder whose path is, or ends with, these folders and name.
    pub(super) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let is_at = |name: &str, at: usize| {
            let before = at == 0 || name[..at].ends_with('/');
            let rest = &name[at + path.len()..];
            before && (rest.is_empty() || rest.starts_with('/'))
        };
        self.names.iter().any(|name| name.match_indices(path).any(|(at, _)| is_at(name, at)))
    }

    /// Folders of the workspace that have a manifest, the innermost first; the root is empty.
    pub(super) fn crates(&self) -> Vec<&str> {
        let manifests = self.ending("Cargo.toml").map(|(path, _)| path);
        let mut folders: Vec<&str> = manifests
            .filter_map(|path| path.strip_suffix("Cargo.toml"))
            .map(|folder| folder.trim_end_matches('/'))
            .collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
        folders
    }

    /// The Rust files of a crate, without those of crates inside it.
    pub(super) fn sources_of<'a>(&'a self, krate: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let crates = self.crates();
        self.ending(".rs").filter(move |(path, _)| {
            crates.iter().find(|folder| folder.is_empty() || is_within(path, folder)) == Some(&krate)
        })
    }
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Parses a Rust file.
pub(super) fn parse(path: &str, text: &str) -> Result<syn::File, Error> {
    syn::parse_file(text).map_err(|error| format!("{path}: {error}").into())
}
