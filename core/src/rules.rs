//! Alert rules: which events are counted, in which windows, and when that is an alert.

/// One `[[rules]]` entry, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Unique name, `[a-z0-9-]`.
    pub name: String,
    /// Events of this type are counted.
    pub event_type: String,
    /// Length of a window in milliseconds.
    pub window_ms: i64,
    /// The length as the user wrote it, for `{window}` in messages.
    pub window_text: String,
    /// Distance between window starts in milliseconds; divides `window_ms`, and equals it for tumbling windows.
    pub slide_ms: i64,
    /// A window is above the threshold when its count is greater than this.
    pub threshold: u64,
    /// Template with `{count}`, `{window}`, `{threshold}`, `{service}` and `{rule}`.
    pub message: String,
    /// Whether the `crossed` phase is written.
    pub emit_crossed: bool,
    /// Whether the `closed` phase is written.
    pub emit_closed: bool,
}

impl Default for Rule {
    /// The one rule of the default configuration.
    fn default() -> Self {
        Self {
            name: "high-error-rate".into(),
            event_type: "error".into(),
            window_ms: 60_000,
            window_text: "60s".into(),
            slide_ms: 60_000,
            threshold: 50,
            message: "High error rate: {count} errors in {window}".into(),
            emit_crossed: true,
            emit_closed: true,
        }
    }
}

/// What a message template can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder {
    Count,
    Window,
    Threshold,
    Service,
    Rule,
}

/// A part of a message template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Stands as it is.
    Text(&'a str),
    /// Is replaced.
    Placeholder(Placeholder),
    /// Braces that mean nothing, with them: refused by [`check_template`].
    Unknown(&'a str),
}

/// Splits a template into its parts, left to right. There is no escape: a `{` always begins a placeholder.
pub(crate) fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let piece;
        (piece, rest) = match rest.find('{') {
            None if rest.is_empty() => return None,
            None => (Piece::Text(rest), ""),
            Some(0) => braces(rest),
            Some(open) => (Piece::Text(&rest[..open]), &rest[open..]),
        };
        Some(piece)
    })
}

/// The placeholder that `text` begins with, and what follows it.
fn braces(text: &str) -> (Piece<'_>, &str) {
    let Some(close) = text.find('}') else { return (Piece::Unknown(text), "") };
    let (name, rest) = text.split_at(close + 1);
    let piece = match name {
        "{count}" => Piece::Placeholder(Placeholder::Count),
        "{window}" => Piece::Placeholder(Placeholder::Window),
        "{threshold}" => Piece::Placeholder(Placeholder::Threshold),
        "{service}" => Piece::Placeholder(Placeholder::Service),
        "{rule}" => Piece::Placeholder(Placeholder::Rule),
        _ => Piece::Unknown(name),
    };
    (piece, rest)
}

/// Checks a [`Rule::message`].
///
/// # Errors
/// If a placeholder is unknown or not closed: a word on the first, with those that are known.
pub fn check_template(template: &str) -> Result<(), String> {
    let unknown = pieces(template).find_map(|piece| match piece {
        Piece::Unknown(text) => Some(text),
        _ => None,
    });
    let Some(text) = unknown else { return Ok(()) };
    let problem = if text.ends_with('}') {
        format!("unknown placeholder `{text}`")
    } else {
        format!("`{{` without `}}` at `{text}`")
    };
    Err(format!("{problem}; known are {{count}}, {{window}}, {{threshold}}, {{service}} and {{rule}}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_template_may_name_what_an_alert_knows_and_nothing_else() {
        for good in ["", "plain }", "{count}{window}{threshold}{service}{rule}", &Rule::default().message] {
            assert_eq!(check_template(good), Ok(()), "{good}");
        }
        for (bad, names) in [("{counts} errors", "`{counts}`"), ("a {}", "`{}`"), ("a {count", "`{count`")] {
            let error = check_template(bad).unwrap_err();
            assert!(error.contains(names) && error.contains("{threshold}"), "{error}");
        }
    }
}
