//! Reading of pattern files.

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use regex_syntax::{ParserBuilder, hir::Hir};

use super::{Category, Pattern};

/// Why a list of patterns cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A line of a pattern file cannot be used.
    #[error("line {line}: {problem}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A pattern cannot be used.
    #[error("pattern `{regex}`: {problem}")]
    Regex {
        /// The pattern.
        regex: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Each pattern can be used, but not all of them together.
    #[error("the patterns cannot be used together: {0}; use fewer or simpler ones")]
    Together(String),
}

/// Reads a pattern file: one regular expression a line, `[category]` before those of a category, comments on
/// lines that begin with `#`. White space around a line does not count.
///
/// # Errors
/// [`PatternError::Line`] for the first line that cannot be used.
pub fn parse_patterns(text: &str) -> Result<Vec<Pattern>, PatternError> {
    let mut category = None;
    let mut patterns = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        let refuse = |problem| PatternError::Line { line: number, problem };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = section(line) {
            category = Some(name.parse::<Category>().map_err(|error| refuse(error.to_string()))?);
            continue;
        }
        check(line).map_err(refuse)?;
        patterns.push(Pattern { regex: line.to_owned(), category });
    }
    Ok(patterns)
}

/// The name in a line like `[crawler]`. A set of characters alone on a line would match nearly everything, so
/// nothing is lost by taking it for a section.
fn section(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    (!name.contains(['[', ']'])).then_some(name)
}

/// Whether a pattern can be used alone, and how it was parsed. One that is well-formed and cannot match the empty user
/// agent is not compiled for that: a list is compiled as a whole, and its patterns one by one would take as long again.
pub(super) fn check(pattern: &str) -> Result<Option<Hir>, String> {
    let mut parser = ParserBuilder::new().case_insensitive(true).unicode(false).utf8(false).build();
    let parsed = parser.parse(pattern).ok();
    if parsed.as_ref().is_some_and(|parsed| parsed.properties().minimum_len().is_some_and(|len| len > 0)) {
        return Ok(parsed);
    }
    let regex = compile(pattern).map_err(|error| problem(&error))?;
    if regex.is_match(b"") {
        return Err("matches every user agent, as it matches the empty one".into());
    }
    Ok(parsed)
}

/// Compiles for bytes: user agents are matched as they are, with the ASCII meaning of case and classes.
pub(super) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).case_insensitive(true).unicode(false).dfa_size_limit(DFA_BYTES).build()
}

/// As [`compile`], for many that are matched in one pass.
pub(super) fn compile_set<'a>(patterns: impl Iterator<Item = &'a String>) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(patterns).case_insensitive(true).unicode(false).dfa_size_limit(DFA_BYTES).build()
}

/// What the matcher may take for its states, per thread. The built-in list needs far less; with the default of
/// 2 MB a list of 1,500 patterns forgets its states again and again.
const DFA_BYTES: usize = 16 << 20;

/// The error in one line; the compiler's own shows the pattern again with a marker below it.
pub(super) fn problem(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
