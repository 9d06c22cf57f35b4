//! Within a crate the files have an order: no circle of files that need one another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Finding,
    modules::{Modules, Need},
    tree::Tree,
};
use crate::Error;

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    for krate in tree.crates() {
        let folder = if krate.is_empty() { String::new() } else { format!("{krate}/") };
        for root in ["lib.rs", "main.rs"].map(|name| format!("{folder}src/{name}")) {
            if tree.text(&root).is_some() {
                found.extend(circles(&Modules::read(tree, &root)?.needs()));
            }
        }
    }
    Ok(found)
}

/// A shortest circle through each file that is in one, unless it was told with another file.
fn circles(needs: &[Need]) -> Vec<Finding> {
    let mut by_file: BTreeMap<&str, Vec<&Need>> = BTreeMap::new();
    for need in needs {
        by_file.entry(&need.from).or_default().push(need);
    }
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for file in by_file.keys() {
        let Some(circle) = circle(&by_file, file).filter(|_| !told.contains(file)) else { continue };
        told.extend(circle.iter().map(|need| need.from.as_str()));
        let steps: Vec<String> =
            circle.iter().map(|need| format!("{}:{} needs {}", need.from, need.line, need.to)).collect();
        found.push(Finding {
            file: (*file).to_owned(),
            line: circle[0].line,
            what: format!("a circle of files: {}", steps.join(", ")),
            way_out: "move what both sides need to a file that needs neither",
        });
    }
    found
}

/// A shortest way from a file back to it.
fn circle<'a>(by_file: &BTreeMap<&str, Vec<&'a Need>>, start: &str) -> Option<Vec<&'a Need>> {
    let mut came_by: BTreeMap<&str, &Need> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for need in by_file.get(file).into_iter().flatten() {
            if came_by.contains_key(need.to.as_str()) {
                continue;
            }
            came_by.insert(&need.to, need);
            if need.to == start {
                let mut way = vec![*need];
                while way[way.len() - 1].from != start {
                    way.push(came_by[way[way.len() - 1].from.as_str()]);
                }
                way.reverse();
                return Some(way);
            }
            queue.push_back(&need.to);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files = [&[("a/Cargo.toml", "")], files].concat();
        check(&Tree::of(&files)).unwrap().into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn two_files_that_need_each_other_are_a_circle() {
        let one = ("a/src/one.rs", "use crate::two::Two;\npub struct One(Two);");
        let two = ("a/src/two.rs", "\npub struct Two;\nfn f() { super::one::One::new() }");
        let root = ("a/src/lib.rs", "mod one;\nmod two;");
        assert_eq!(
            found(&[root, one, two]),
            ["a circle of files: a/src/one.rs:1 needs a/src/two.rs, a/src/two.rs:3 needs a/src/one.rs"]
        );
        assert_eq!(found(&[root, one, ("a/src/two.rs", "pub struct Two;")]), [""; 0]);
    }

    #[test]
    fn a_circle_is_seen_through_what_a_facade_hands_on() {
        let files = [
            ("a/src/lib.rs", "mod one;\nmod far;\npub use one::One;\npub use far::*;"),
            ("a/src/one.rs", "use crate::{Two as Other};\npub struct One(Other);"),
            ("a/src/far/mod.rs", "mod two;\npub use self::two::Two;"),
            ("a/src/far/two.rs", "use crate::One;\npub struct Two(One);"),
        ];
        assert_eq!(found(&files).len(), 1, "{:?}", found(&files));
    }

    #[test]
    fn a_module_and_what_it_is_made_of_are_no_circle_and_tests_do_not_count() {
        let files = [
            ("a/src/lib.rs", "mod one;\npub struct Root(one::One);"),
            (
                "a/src/one.rs",
                "pub struct One;\nfn f(root: super::Root) {}\n#[cfg(test)]\nmod tests { use crate::two::Two; }",
            ),
            ("a/src/two.rs", "use crate::one::One;\npub struct Two;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
