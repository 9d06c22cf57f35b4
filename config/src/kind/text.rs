//! Strings: free ones with rules of their own, one of several, paths and addresses.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::{Value as Json, json};

use super::{Fault, Kind, as_text, pattern_schema};
use crate::document::Node;

/// A string that follows a rule.
pub(crate) struct Text {
    pub(super) allowed: &'static str,
    pub(super) max_bytes: usize,
    pub(super) rule: fn(&str) -> Result<(), String>,
    /// The rule as a regular expression, where it can be one.
    pub(super) pattern: Option<&'static str>,
}

impl Text {
    /// A name that other systems see: a group, an id, a service.
    pub(crate) fn name() -> Self {
        Self {
            allowed: "1 to 255 bytes without control characters",
            max_bytes: 255,
            rule: name,
            pattern: None,
        }
    }

    /// The name of a Kafka topic, by Kafka's own rule (`org.apache.kafka.common.internals.Topic`).
    pub(crate) fn topic() -> Self {
        Self {
            allowed: "1 to 249 of the characters A-Z a-z 0-9 . _ - (but not `.` or `..`)",
            max_bytes: 249,
            rule: topic,
            pattern: Some("^[A-Za-z0-9._-]{1,249}$"),
        }
    }

    /// The name of an element of an array of tables.
    pub(crate) fn own_name() -> Self {
        Self {
            allowed: "1 to 64 of the characters a-z 0-9 -, and no other has the same name",
            max_bytes: 64,
            rule: own_name,
            pattern: Some("^[a-z0-9-]{1,64}$"),
        }
    }

    /// The template of an alert's message.
    pub(crate) fn template() -> Self {
        Self {
            allowed: "1 to 1024 bytes, with `{count}`, `{window}`, `{threshold}`, `{service}` and `{rule}`",
            max_bytes: 1024,
            rule: tidegate_core::rules::check_template,
            pattern: None,
        }
    }

    /// Brokers to bootstrap from.
    pub(crate) fn servers() -> Self {
        Self {
            allowed: "`host:port`, several of them with commas between",
            max_bytes: 16 * 1024,
            rule: servers,
            pattern: None,
        }
    }
}

impl Kind for Text {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Vec<Fault>> {
        let text = as_text(node, "a string")?;
        let checked = match text.len() {
            0 => Err("empty".into()),
            length if length > self.max_bytes => Err("too long".into()),
            _ => (self.rule)(text),
        };
        checked.map(|()| text.to_owned()).map_err(|reason| Fault::quoting(node, reason))
    }

    fn write(&self, value: &String) -> Json {
        json!(value)
    }

    fn allowed(&self) -> String {
        self.allowed.into()
    }

    fn schema(&self) -> Json {
        match self.pattern {
            Some(pattern) => pattern_schema(pattern),
            None => json!({ "type": "string", "minLength": 1, "maxLength": self.max_bytes }),
        }
    }
}

fn name(text: &str) -> Result<(), String> {
    if text.contains(|c: char| c.is_control()) { Err("it has a control character".into()) } else { Ok(()) }
}

fn topic(text: &str) -> Result<(), String> {
    let legal = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if legal && text != "." && text != ".." { Ok(()) } else { Err("not a name that Kafka allows".into()) }
}

fn own_name(text: &str) -> Result<(), String> {
    let legal = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if legal { Ok(()) } else { Err("it has other characters".into()) }
}

fn servers(text: &str) -> Result<(), String> {
    text.split(',').map(str::trim).try_for_each(|server| {
        // librdkafka also takes "protocol://host:port"
        address(server.split_once("://").map_or(server, |(_, address)| address))
    })
}

/// A host, with or without a port.
pub(super) fn address(text: &str) -> Result<(), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(""))),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        Err("a host is missing".into())
    } else if host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        Err("a host has an illegal character".into())
    } else if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        Err("a port is not a number from 1 to 65535".into())
    } else {
        Ok(())
    }
}

/// One of several words.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn read(&self, node: &Node) -> Result<T, Vec<Fault>> {
        let text = as_text(node, "a string")?;
        let chosen = self.0.iter().find(|(word, _)| *word == text);
        chosen.map(|(_, value)| *value).ok_or_else(|| Fault::all(node, "not one of the words allowed"))
    }

    fn write(&self, value: &T) -> Json {
        self.0.iter().find(|(_, choice)| choice == value).map_or(Json::Null, |(word, _)| json!(word))
    }

    fn allowed(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
        words.join(", ")
    }

    fn schema(&self) -> Json {
        json!({ "enum": self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
    }
}

/// A path in the file system.
pub(crate) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn read(&self, node: &Node) -> Result<PathBuf, Vec<Fault>> {
        match as_text(node, "a string with a path")? {
            "" => Err(Fault::all(node, "empty")),
            text if text.len() > MAX_PATH_BYTES => Err(Fault::all(node, "too long")),
            text => name(text).map(|()| text.into()).map_err(|reason| Fault::all(node, reason)),
        }
    }

    fn write(&self, value: &PathBuf) -> Json {
        json!(value.to_string_lossy())
    }

    fn allowed(&self) -> String {
        "a path; a relative one starts at the working directory".into()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": MAX_PATH_BYTES })
    }
}

/// Linux's `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;

/// A string of which the empty one means none.
pub(crate) struct OptionalText {
    pub(crate) what: &'static str,
    pub(crate) empty: &'static str,
}

impl Kind for OptionalText {
    type Value = Option<String>;

    fn read(&self, node: &Node) -> Result<Self::Value, Vec<Fault>> {
        match as_text(node, "a string")? {
            "" => Ok(None),
            text if text.len() > MAX_PATH_BYTES => Err(Fault::all(node, "too long")),
            text => name(text).map(|()| Some(text.into())).map_err(|reason| Fault::all(node, reason)),
        }
    }

    fn write(&self, value: &Self::Value) -> Json {
        json!(value.as_deref().unwrap_or_default())
    }

    fn allowed(&self) -> String {
        format!("{}; empty: {}", self.what, self.empty)
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "maxLength": MAX_PATH_BYTES })
    }
}

/// An address to listen on.
pub(crate) struct SocketAddress;

impl Kind for SocketAddress {
    type Value = SocketAddr;

    fn read(&self, node: &Node) -> Result<SocketAddr, Vec<Fault>> {
        let text = as_text(node, "a string with an address and a port")?;
        text.parse().map_err(|_| Fault::all(node, "not an IP address with a port"))
    }

    fn write(&self, value: &SocketAddr) -> Json {
        json!(value.to_string())
    }

    fn allowed(&self) -> String {
        "an IP address and a port, such as `\"127.0.0.1:8081\"` or `\"[::1]:8081\"`; port 0 takes a free one"
            .into()
    }

    fn schema(&self) -> Json {
        pattern_schema("^.+:[0-9]{1,5}$")
    }
}
