//! `${VAR}` and `${VAR:-default}` inside string values.

/// Replaces the variables of `text`; `None` if it has none and no escape. `$${` stands for `${`, and a `$`
/// without a brace for itself. As in a shell, the default also takes the place of an empty variable; it
/// ends at the first `}`.
pub(crate) fn replace(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Replaced>, Unresolved> {
    let mut replaced = Replaced::default();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        if let Some(escaped) = before.strip_suffix('$') {
            replaced.text += escaped;
            replaced.text += "${";
            rest = &rest[at + 2..];
            continue;
        }
        replaced.text += before;
        let Some((inside, after)) = rest[at + 2..].split_once('}') else {
            return Err(Unresolved::Unclosed);
        };
        replaced.text += &value_of(inside, env)?;
        replaced.from_env = true;
        rest = after;
    }
    if rest.len() == text.len() {
        return Ok(None);
    }
    replaced.text += rest;
    Ok(Some(replaced))
}

/// A text with its variables replaced.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replaced {
    pub(crate) text: String,
    /// Whether there was a variable, and not only an escape.
    pub(crate) from_env: bool,
}

/// Why a text with variables has no value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unresolved {
    #[error("`${{` is never closed")]
    Unclosed,
    // Without the text: it may be a part of a password that happens to hold a `${`.
    #[error("`${{...}}` does not name a variable; write `$${{` for a plain `${{`")]
    BadName,
    #[error("a default cannot hold another `${{`: it ends at the first `}}`")]
    Nested,
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
}

fn value_of(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Unresolved> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| !c.is_ascii_digit());
    if !is_name {
        return Err(Unresolved::BadName);
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(Unresolved::Nested);
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Unresolved::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("kafka".into()),
            "EMPTY" => Some(String::new()),
            "RAW" => Some("${HOST}".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_escapes() {
        let replaced = |text| replace(text, &env).map(|replaced| replaced.map(|r| (r.text, r.from_env)));
        let ok = |text: &str, from_env| Ok(Some((text.to_owned(), from_env)));
        assert_eq!(replaced("plain $5 {x} $"), Ok(None));
        assert_eq!(replaced("${HOST}:9092,${NONE:-other}:${EMPTY:-9092}"), ok("kafka:9092,other:9092", true));
        assert_eq!(replaced("a${EMPTY}b${NONE:-}c"), ok("abc", true));
        assert_eq!(replaced("$${HOST} ${HOST}"), ok("${HOST} kafka", true));
        assert_eq!(replaced("cost: $${x}"), ok("cost: ${x}", false));
        assert_eq!(replaced("${RAW}"), ok("${HOST}", true), "values are not looked into again");
        assert_eq!(replaced("${NONE}"), Err(Unresolved::Unset("NONE".into())));
        assert_eq!(replaced("${HOST"), Err(Unresolved::Unclosed));
        assert_eq!(replaced("${1X}"), Err(Unresolved::BadName));
        assert_eq!(replaced("${NONE:-x${HOST}}"), Err(Unresolved::Nested));
        assert_eq!(replaced("${HOST:-x$${HOST}}"), Err(Unresolved::Nested), "whatever the variable holds");
        assert_eq!(replaced("${}"), Err(Unresolved::BadName));
    }
}
