//! Documents name only files that exist.

use super::{Finding, tree::Tree};

/// A name with such an ending is one of the project's files.
const ENDINGS: [&str; 2] = [".rs", ".md"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, text) in tree.ending(".md") {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (index, line) in text.lines().enumerate() {
            let links = links(line).filter(|target| !exists(tree, folder, target));
            let names = names(line).filter(|name| !tree.has(name));
            found.extend(links.chain(names).map(|name| Finding {
                file: file.to_owned(),
                line: index + 1,
                what: format!("there is no {name}"),
                way_out: "name the file as it is now",
            }));
        }
    }
    found
}

/// Targets of Markdown links within the project, without the heading.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split_once(')')?.0;
        let path = target.split('#').next()?;
        (!path.is_empty() && !target.contains("://") && !target.contains(' ')).then_some(path)
    })
}

/// Names of source files and documents between backticks.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|name| {
        let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-./".contains(char);
        ENDINGS.iter().any(|ending| name.ends_with(ending)) && name.chars().all(is_plain)
    })
}

/// Whether a link's target exists, which is relative to its document.
fn exists(tree: &Tree, folder: &str, target: &str) -> bool {
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => _ = path.pop(),
            part => path.push(part),
        }
    }
    path.is_empty() || tree.has(&path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{super::lines_and_words, *};

    #[test]
    fn a_document_that_names_a_file_which_is_not_there_is_told() {
        let files = [
            (
                "docs/a.md",
                "See `b.rs`, `core/src/b.rs`, [c](c.md#x), [d](../core) and [e](https://e/f.md).\n`gone.rs` [g](g.md)",
            ),
            ("docs/c.md", "`tidegate run x.md` [above](#top)"),
            ("core/src/b.rs", ""),
        ];
        let found = lines_and_words(check(&Tree::of(&files)));
        assert_eq!(found, [(2, "there is no g.md".to_owned()), (2, "there is no gone.rs".to_owned())]);
    }
}
