//! Problems of a configuration, all at once, for people and for programs.

use std::fmt;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as given, or the override as it was written on the command line: `--set a.b`.
    pub file: String,
    /// Line in the file, from 1; `None` for an override and for what is missing altogether.
    pub line: Option<usize>,
    /// Column in the line, in characters, from 1.
    pub column: Option<usize>,
    /// The offending text as written; secrets are masked.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What is allowed, or what was probably meant.
    pub help: Option<String>,
    /// The line as shown below the message, and the first and the number of its characters to underline.
    pub(crate) excerpt: Option<Excerpt>,
}

/// A line of the file, ready to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) line: String,
    pub(crate) underline_from: usize,
    pub(crate) underline_len: usize,
}

/// Everything that is wrong with a configuration, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Orders problems by place; those without a place come first, those of overrides last.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.is_override(), problem.line, problem.column));
        Self(problems)
    }

    /// The problems, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Problem {
    fn is_override(&self) -> bool {
        self.file.starts_with(OVERRIDE)
    }
}

/// What the "file" of an override begins with.
pub(crate) const OVERRIDE: &str = "--set ";

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n --> {}", self.message, self.file)?;
        match (self.line, self.column, &self.excerpt) {
            (Some(line), Some(column), Some(excerpt)) => {
                write!(f, ":{line}:{column}")?;
                excerpt.show(line, f)?;
            }
            _ if self.is_override() => write!(f, "={}", self.text)?,
            _ => {}
        }
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

impl Excerpt {
    /// The numbered line, and carets below the characters meant.
    fn show(&self, number: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = number.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs stay tabs, so that the carets stand right whatever their width.
        let indent: String =
            self.line.chars().take(self.underline_from).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let carets = "^".repeat(self.underline_len.max(1));
        write!(f, "\n{gutter} |\n{number} | {}\n{gutter} | {indent}{carets}", self.line)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
