//! Files and functions are short enough to be read at one sitting.

use syn::{
    Block, ImplItemFn, ItemFn, Signature, TraitItemFn,
    visit::{self, Visit},
};

use super::{
    Finding,
    tree::{Tree, parse},
};
use crate::Error;

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    for (file, text) in tree.ending(".rs") {
        let lines = text.lines().count();
        if lines > MAX_FILE_LINES {
            found.push(Finding {
                file: file.to_owned(),
                line: lines,
                what: format!("{lines} lines, at most {MAX_FILE_LINES}"),
                way_out: "a file has one subject: move what is of another to a file of its own",
            });
        }
        Functions { file, found: &mut found }.visit_file(&parse(file, text)?);
    }
    Ok(found)
}

struct Functions<'a> {
    file: &'a str,
    found: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn note(&mut self, signature: &Signature, body: &Block) {
        let line = signature.fn_token.span.start().line;
        let lines = body.brace_token.span.close().end().line - line + 1;
        if lines > MAX_FUNCTION_LINES {
            self.found.push(Finding {
                file: self.file.to_owned(),
                line,
                what: format!("`{}` has {lines} lines, at most {MAX_FUNCTION_LINES}", signature.ident),
                way_out: "give a step of it a name and a function of its own",
            });
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.note(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
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
    fn a_file_of_501_lines_is_too_long() {
        assert_eq!(found(&"\n".repeat(500)), []);
        assert_eq!(found(&"\n".repeat(501)), [(501, "501 lines, at most 500".to_owned())]);
    }

    #[test]
    fn a_function_of_71_lines_is_too_long_wherever_it_stands() {
        let function = |lines: usize| format!("fn long() {{{}}}\n", "\n".repeat(lines - 1));
        assert_eq!(found(&function(70)), []);
        let told = |line| (line, "`long` has 71 lines, at most 70".to_owned());
        assert_eq!(found(&function(71)), [told(1)]);
        assert_eq!(found(&format!("/// Doc.\nimpl A {{\n    #[inline]\n    {}}}", function(71))), [told(4)]);
        assert_eq!(found(&format!("trait A {{\n{}}}", function(71))), [told(2)]);
        assert_eq!(found(&format!("mod a {{\n{}}}", function(71))), [told(2)]);
    }
}
