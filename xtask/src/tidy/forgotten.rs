//! No file of tests is forgotten: those of the daemon are modules of one binary, and Cargo looks for no others.

use super::{Finding, tree::Tree};

const ROOT: &str = "tests/main.rs";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(root) = tree.text(ROOT) else { return Vec::new() };
    let is_named = |module: &str| root.lines().any(|line| line == format!("mod {module};"));
    tree.ending(".rs")
        .filter(|(file, _)| *file != ROOT)
        .filter_map(|(file, _)| Some((file, module(file)?)))
        .filter(|(_, module)| !is_named(module))
        .map(|(file, _)| Finding {
            file: file.to_owned(),
            line: 1,
            what: format!("no module of {ROOT}, so it is not compiled"),
            way_out: "name it there",
        })
        .collect()
}

/// The module that a file directly in `tests/` should be.
fn module(file: &str) -> Option<&str> {
    file.strip_prefix("tests/")?.strip_suffix(".rs").filter(|rest| !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_tests_that_the_root_does_not_name_is_found() {
        let tree = Tree::of(&[
            (ROOT, "mod one;\nmod support;\n"),
            ("tests/one.rs", ""),
            ("tests/two.rs", ""),
            ("tests/support/mod.rs", ""),
            ("core/tests/three.rs", ""),
        ]);
        let files: Vec<String> = check(&tree).into_iter().map(|finding| finding.file).collect();
        assert_eq!(files, ["tests/two.rs"]);
    }
}
