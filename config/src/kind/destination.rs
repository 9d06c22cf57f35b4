//! What sinks are told about their destinations: hosts, URLs, tables, columns, indices.

use serde_json::{Value as Json, json};
use tidegate_core::event::FieldPath;

use super::{Fault, FieldPathList, Kind, SecretText, Text, as_table, text::address};
use crate::document::{Entry, Node};

/// Longest name in PostgreSQL, `NAMEDATALEN` less one.
const MAX_SQL_NAME_BYTES: usize = 63;

impl Text {
    /// A server's name or address, or the directory of its Unix socket.
    pub(crate) fn host() -> Self {
        Self {
            allowed: "a host name, an IP address, or the directory of a Unix socket; the port is a key of its own",
            max_bytes: 255,
            rule: host,
            pattern: None,
        }
    }

    /// A table of PostgreSQL.
    pub(crate) fn table() -> Self {
        Self {
            allowed: "`table` or `schema.table`, each 1 to 63 bytes without quotes; upper and lower case differ",
            max_bytes: 2 * MAX_SQL_NAME_BYTES + 1,
            rule: table,
            pattern: None,
        }
    }

    /// The URL of an HTTP server whose requests need no secret in it.
    pub(crate) fn http_url() -> Self {
        Self {
            allowed: "`http://` or `https://`, a host, and if need be a port and a path",
            max_bytes: 2048,
            rule: |text| {
                if text.contains(['?', '#']) { Err("it has a `?` or `#`".into()) } else { http_url(text) }
            },
            pattern: None,
        }
    }

    /// The name of an index, by Elasticsearch's own rule but for letters beyond ASCII.
    pub(crate) fn index() -> Self {
        Self {
            allowed: "1 to 200 of the characters a-z 0-9 . _ -, the first a letter or digit; `{yyyy}`, `{MM}` and `{dd}` stand for the event's day in UTC",
            max_bytes: 200,
            rule: index,
            pattern: None,
        }
    }
}

impl SecretText {
    /// The URL of an HTTP server, with a secret in its path or query.
    pub(crate) fn http_url() -> Self {
        Self {
            allowed: "`http://` or `https://`, a host, and if need be a port, a path and a query; it is never shown",
            rule: http_url,
        }
    }

    /// The URL of a PostgreSQL server.
    pub(crate) fn postgres_url() -> Self {
        Self {
            allowed: "`postgres://user:password@host:port/database?sslmode=...`, and parts may be left out; it is never shown",
            rule: postgres_url,
        }
    }
}

fn host(text: &str) -> Result<(), String> {
    let is_directory = text.starts_with('/');
    if !is_directory && text.contains(['/', '@', '[', ']']) || text.contains("://") {
        return Err("not a host".into());
    }
    // A single colon is that of a port, several are those of an IPv6 address.
    if !is_directory && text.matches(':').count() == 1 {
        return Err("it has a port".into());
    }
    no_blanks(text)
}

fn table(text: &str) -> Result<(), String> {
    let mut parts = text.splitn(3, '.');
    let (first, second, more) = (parts.next(), parts.next(), parts.next());
    if more.is_some() {
        return Err("it has more than two parts".into());
    }
    first.into_iter().chain(second).try_for_each(sql_name)
}

fn sql_name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        Err("a name is empty".into())
    } else if text.len() > MAX_SQL_NAME_BYTES {
        Err("a name is longer than 63 bytes".into())
    } else if text.contains(|c: char| c.is_control() || c == '"') {
        Err("a name has a quote or a control character".into())
    } else {
        Ok(())
    }
}

fn http_url(text: &str) -> Result<(), String> {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return Err("it does not begin with `http://` or `https://`".into());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("it has a user or a password, which belong into keys of their own".into());
    }
    address(authority)?;
    no_blanks(text)
}

/// Several hosts and a password with any characters may be in it, so that little can be told here.
fn postgres_url(text: &str) -> Result<(), String> {
    let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) else {
        return Err("it does not begin with `postgres://`".into());
    };
    let server = rest.split_once('@').map_or(rest, |(_, server)| server);
    if server.is_empty() || server.starts_with(['/', ':', '?']) && !rest.contains("host=") {
        return Err("it names no host".into());
    }
    no_blanks(text)
}

fn no_blanks(text: &str) -> Result<(), String> {
    let is_blank = |c: char| c.is_control() || c.is_whitespace();
    if text.contains(is_blank) { Err("it has a blank or a control character".into()) } else { Ok(()) }
}

fn index(text: &str) -> Result<(), String> {
    let name = ["{yyyy}", "{MM}", "{dd}"].iter().fold(text.to_owned(), |name, day| name.replace(day, "0"));
    if name.contains(['{', '}']) {
        Err("it has another placeholder than `{yyyy}`, `{MM}` and `{dd}`".into())
    } else if name.contains(|c: char| c.is_uppercase()) {
        Err("Elasticsearch takes no upper case".into())
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Err("it does not begin with a letter or a digit".into())
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        Err("it has other characters".into())
    } else {
        Ok(())
    }
}

/// Additional columns of a table, each with the path of its value in the event.
pub(crate) struct Columns;

const MAX_COLUMNS: usize = 100;

/// The columns that a table of processed events has anyway.
const OWN_COLUMNS: [&str; 11] = [
    "partition",
    "offset",
    "event_time",
    "event_type",
    "service",
    "user_id",
    "country",
    "city",
    "lat",
    "lon",
    "event",
];

impl Columns {
    fn column(name: &str, entry: &Entry) -> Result<FieldPath, Vec<Fault>> {
        sql_name(name).map_err(|reason| Fault::of_key(entry, reason))?;
        if OWN_COLUMNS.contains(&name) {
            return Err(Fault::of_key(entry, "the table has this column anyway"));
        }
        FieldPathList::path(&entry.node)
    }
}

impl Kind for Columns {
    type Value = Vec<(String, FieldPath)>;

    fn read(&self, node: &Node) -> Result<Self::Value, Vec<Fault>> {
        let mut columns = Vec::new();
        let mut faults = Vec::new();
        for (name, entry) in as_table(node, MAX_COLUMNS)? {
            match Self::column(name, entry) {
                Ok(path) => columns.push((name.clone(), path)),
                Err(wrong) => faults.extend(wrong),
            }
        }
        if faults.is_empty() { Ok(columns) } else { Err(faults) }
    }

    fn write(&self, value: &Self::Value) -> Json {
        let columns = value.iter().map(|(name, path)| (name.clone(), json!(path.join("."))));
        columns.collect::<serde_json::Map<_, _>>().into()
    }

    fn allowed(&self) -> String {
        format!(
            "a table of up to {MAX_COLUMNS} names of columns, each with a dotted path, such as `{{ region = \"payload.region\" }}`"
        )
    }

    fn schema(&self) -> Json {
        json!({
            "type": "object", "maxProperties": MAX_COLUMNS, "propertyNames": { "not": { "enum": OWN_COLUMNS } },
            "additionalProperties": { "type": "string", "minLength": 1 },
        })
    }
}
