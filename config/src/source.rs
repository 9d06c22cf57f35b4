//! What the user wrote: a file and overrides on the command line; and how to point into it.

use std::{fs::File, io::Read, ops::Range, path::Path};

use crate::{
    problem::{Excerpt, OVERRIDE, Problem, Problems},
    secret::{MASK, is_delicate, is_secret_name},
};

/// Largest configuration file, in bytes; far above any real one.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// How much of a line is shown before and after the place of a problem, in bytes.
const SHOWN_BEFORE: usize = 60;
const SHOWN_AFTER: usize = 100;

/// A configuration file's text and the overrides given with `--set`.
#[derive(Clone)]
pub struct Source {
    name: String,
    text: String,
    overrides: Vec<String>,
}

/// Where a key or value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Bytes of the file.
    File(Range<usize>),
    /// The override of this number.
    Override(usize),
}

/// Something wrong, before it is turned into words for people.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) origin: Option<Origin>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Source {
    /// A configuration from memory. `name` stands for the file in problems; `overrides` are `KEY=VALUE`.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>, overrides: Vec<String>) -> Self {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            // A byte order mark would shift the columns of the first line.
            text.drain(..'\u{feff}'.len_utf8());
        }
        Self { name: name.into(), text, overrides }
    }

    /// Reads a file of at most 1 MiB.
    ///
    /// # Errors
    /// [`Problems`] with one problem, if the file cannot be read, is too large, or is not UTF-8.
    pub fn read(path: &Path, overrides: Vec<String>) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let fail = |why: String| {
            let message = format!("the configuration file cannot be read: {why}");
            let empty = Self::new(name.clone(), "", Vec::new());
            Problems::new(vec![empty.problem(&[], Report { origin: None, message, help: None })])
        };
        let mut bytes = Vec::new();
        // One byte more than allowed tells that it is too large, for pipes as well.
        let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(|error| fail(error.to_string()))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(fail("it is larger than 1 MiB".into()));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text, overrides)),
            Err(error) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
                Err(fail(format!("it is not UTF-8 (line {line})")))
            }
        }
    }

    /// The name of the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn overrides(&self) -> &[String] {
        &self.overrides
    }

    /// What stands at `origin`, as written.
    pub(crate) fn written(&self, origin: &Origin) -> &str {
        match origin {
            Origin::File(span) => self.text.get(span.clone()).unwrap_or_default(),
            Origin::Override(index) => {
                self.overrides.get(*index).and_then(|set| set.split_once('=')).map_or("", |(_, value)| value)
            }
        }
    }

    /// Turns a report into a problem with place, text and line. Nothing within `secrets` is shown.
    pub(crate) fn problem(&self, secrets: &[Range<usize>], report: Report) -> Problem {
        let Report { origin, message, help } = report;
        let mut problem = Problem {
            file: self.name.clone(),
            line: None,
            column: None,
            text: String::new(),
            message,
            help,
            excerpt: None,
        };
        match origin {
            None => {}
            Some(Origin::Override(index)) => {
                let set = self.overrides.get(index).map_or("", String::as_str);
                problem.file = format!("{OVERRIDE}{}", set.split('=').next().unwrap_or_default());
                // A key may be written with quotes and white space.
                let key = set.split('=').next().unwrap_or_default();
                let plain = key.replace(|c: char| c == '"' || c == '\'' || c.is_whitespace(), "");
                let is_secret = is_secret_name(set) || is_delicate(&plain);
                let shown = if is_secret { MASK } else { self.written(&Origin::Override(index)) };
                problem.text = shown.chars().take(SHOWN_AFTER).collect();
            }
            Some(Origin::File(span)) => {
                let start = self.text.floor_char_boundary(span.start);
                let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
                problem.line = Some(1 + self.text[..line_start].matches('\n').count());
                problem.column = Some(1 + self.text[line_start..start].chars().count());
                let excerpt = self.excerpt(start..span.end.max(start), secrets);
                let marked = excerpt.line.chars().skip(excerpt.underline_from).take(excerpt.underline_len);
                problem.text = marked.collect();
                problem.excerpt = Some(excerpt);
            }
        }
        problem
    }

    /// The first line of `span` with what is around it, secrets masked and control characters replaced.
    fn excerpt(&self, span: Range<usize>, secrets: &[Range<usize>]) -> Excerpt {
        let text = &self.text;
        let line_start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[span.start..].find('\n').map_or(text.len(), |at| span.start + at);
        let from = text.floor_char_boundary(span.start.saturating_sub(SHOWN_BEFORE)).max(line_start);
        let to = text.floor_char_boundary(span.start + SHOWN_AFTER).min(line_end);
        let mut excerpt = Excerpt { line: String::new(), underline_from: 0, underline_len: 0 };
        let mut chars = 0;
        let mut masked_to = 0;
        let hidden: Vec<_> = secrets.iter().filter(|secret| secret.start < to && secret.end > from).collect();
        for (at, c) in text[from..to].char_indices().map(|(at, c)| (from + at, c)) {
            if at <= span.start {
                excerpt.underline_from = chars;
            }
            if at < masked_to || c == '\r' {
                continue;
            }
            let shown = match hidden.iter().find(|secret| secret.contains(&at)) {
                Some(secret) => {
                    masked_to = secret.end;
                    MASK.to_owned()
                }
                None if c.is_control() && c != '\t' => '\u{fffd}'.to_string(),
                None => c.to_string(),
            };
            chars += shown.chars().count();
            excerpt.line += &shown;
            if at < span.end {
                excerpt.underline_len = chars - excerpt.underline_from;
            }
        }
        if span.start >= to {
            excerpt.underline_from = chars;
        }
        excerpt
    }
}
