//! Comments are sentences, and a section on errors says which or when.

use std::collections::BTreeSet;

use syn::{
    LitStr,
    visit::{self, Visit},
};

use super::{
    Finding,
    tree::{Tree, parse},
};
use crate::Error;

/// Names that are written in lower case, also at the beginning of a sentence.
const LOWER_CASE: [&str; 12] = [
    "librdkafka",
    "librdkafka's",
    "sled",
    "sled's",
    "serde",
    "ractor",
    "axum",
    "tokio",
    "rdkafka",
    "lz4",
    "zstd",
    "jemalloc",
];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    for (file, text) in tree.ending(".rs") {
        let quoted = quoted_lines(&parse(file, text)?);
        for paragraph in paragraphs(text, &quoted) {
            let mut note = |what: String, way_out| {
                found.push(Finding { file: file.to_owned(), line: paragraph.line, what, way_out });
            };
            if !is_sentence(&paragraph.text) {
                note(
                    format!("not a sentence: {:?}", shortened(&paragraph.text)),
                    "begin with a capital letter or code, and end with a full stop",
                );
            }
            if paragraph.is_errors && !names_errors(&paragraph.text) {
                note(
                    format!("an `# Errors` section that says nothing: {:?}", paragraph.text),
                    "name the variants with links, or the condition: \"If ...\"",
                );
            }
        }
    }
    Ok(found)
}

/// Lines that a string of several lines goes on in: what looks like a comment there is none.
fn quoted_lines(file: &syn::File) -> BTreeSet<usize> {
    struct Strings(BTreeSet<usize>);
    impl<'ast> Visit<'ast> for Strings {
        fn visit_lit_str(&mut self, string: &'ast LitStr) {
            let span = string.span();
            self.0.extend(span.start().line + 1..=span.end().line);
        }
        fn visit_macro(&mut self, call: &'ast syn::Macro) {
            // What is inside is not parsed.
            let (start, end) = (call.delimiter.span().open().start(), call.delimiter.span().close().end());
            let text = call.tokens.to_string();
            if text.contains('"') && text.contains("\n") {
                self.0.extend(start.line + 1..=end.line);
            }
            visit::visit_macro(self, call);
        }
    }
    let mut strings = Strings(BTreeSet::new());
    strings.visit_file(file);
    strings.0
}

/// A paragraph of a comment that has lines of its own.
struct Paragraph {
    line: usize,
    text: String,
    /// It is the first of a section on errors.
    is_errors: bool,
}

fn paragraphs(text: &str, quoted: &BTreeSet<usize>) -> Vec<Paragraph> {
    let mut found: Vec<Paragraph> = Vec::new();
    let mut open_kind = None;
    let (mut is_fenced, mut is_errors) = (false, false);
    for (number, line) in (1..).zip(text.lines()) {
        let comment = (!quoted.contains(&number)).then(|| comment(line.trim_start())).flatten();
        let Some((kind, words)) = comment else {
            (open_kind, is_fenced, is_errors) = (None, false, false);
            continue;
        };
        if words.starts_with("```") {
            is_fenced = !is_fenced;
        }
        if words.starts_with('#') {
            is_errors = words == "# Errors";
        }
        if is_fenced || !is_prose(words) {
            open_kind = None;
            continue;
        }
        match found.last_mut() {
            Some(last) if open_kind == Some(kind) => {
                last.text.push(' ');
                last.text.push_str(words);
            }
            _ => {
                found.push(Paragraph { line: number, text: words.to_owned(), is_errors });
                is_errors = false;
            }
        }
        open_kind = Some(kind);
    }
    found
}

/// The kind and the words of a line that is a comment.
fn comment(line: &str) -> Option<(&'static str, &str)> {
    let kind = ["///", "//!", "//"].into_iter().find(|kind| line.starts_with(kind))?;
    Some((kind, line[kind.len()..].trim()))
}

/// Whether a line is of a paragraph: no heading, table, fence, drawing, or item of a list.
fn is_prose(words: &str) -> bool {
    let is_numbered = || words.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    let first = words.chars().next();
    first.is_some_and(|first| !"#|`-*+=><\\".contains(first) && !('\u{2190}'..'\u{2600}').contains(&first))
        && !is_numbered()
        || words.starts_with('`') && !words.starts_with("```")
}

fn is_sentence(text: &str) -> bool {
    let word = text.split(' ').next().unwrap_or_default();
    let is_code = word.chars().skip(1).any(|char| !char.is_lowercase() && !",'-.;".contains(char));
    let begins =
        !word.starts_with(char::is_lowercase) || is_code || LOWER_CASE.contains(&word.trim_end_matches(','));
    begins && text.ends_with(['.', ':', '?', '!', ';', ')', '"'])
}

fn names_errors(text: &str) -> bool {
    text.contains('`') || text.starts_with("If ") || text.starts_with("None ") || text.contains(" if ")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{} ...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::lines_and_words, *};

    fn found(text: &str) -> Vec<(usize, String)> {
        lines_and_words(check(&Tree::of(&[("src/a.rs", text)])).unwrap())
    }

    #[test]
    fn a_comment_without_capital_letter_or_full_stop_is_told() {
        let good = "//! A file.\n//!\n//! ```\n//! code\n//! ```\n//! - an item\n\n/// Says\n/// it.\nfn f() {\n    // Goes on\n    // to the end.\n    \
             // librdkafka does it.\n    // SAFETY: it is.\n    let x = \"\n// not a comment\n\"; // bytes\n}\n";
        assert_eq!(found(good), []);
        let told = |words: &str| format!("not a sentence: {words:?}");
        assert_eq!(found("// begins small.\n"), [(1, told("begins small."))]);
        assert_eq!(found("\n/// Does not\n/// end\nfn f() {}\n"), [(2, told("Does not end"))]);
    }

    #[test]
    fn a_section_on_errors_has_to_name_a_variant_or_a_condition() {
        let section = |words: &str| format!("/// Does.\n///\n/// # Errors\n/// {words}\nfn f() {{}}\n");
        for good in ["[`Error::Full`].", "If it is full.", "Full, if it is."] {
            assert_eq!(found(&section(good)), [], "{good}");
        }
        let told = "an `# Errors` section that says nothing: \"As the log refuses.\"";
        assert_eq!(found(&section("As the log refuses.")), [(4, told.to_owned())]);
    }
}
