//! The keys of `type = "postgres"`.

use tidegate_core::{event::FieldPath, record::Topic};

use super::pair::{self, PASSWORD, Pair};
use crate::{
    kind::{Choice, Columns, Count, Derived, Optional, SecretText, Text},
    sink::{Postgres, SslMode},
    walk::Walk,
};

pub(super) const DOC: &str = "A table of PostgreSQL, where each record becomes one row, exactly once: positions are \
     kept in the same database, in the table `tidegate_sink_offsets`. The server is named by `url` or by `host`.";

const URL: Pair = Pair {
    name: "url",
    example: "postgres://tidegate:${PASSWORD}@localhost/tidegate",
    doc: "The server in one line; what it says goes before the other keys.",
    file_name: "url_file",
    file_example: "/run/secrets/postgres-url",
};

pub(super) fn read(walk: &mut Walk<'_>, topic: Topic) -> Postgres {
    let url = pair::secret(walk, SecretText::postgres_url(), &URL);
    let host = walk.optional(
        "host",
        &Optional { kind: Text::host(), absent: "that of `url`" },
        "localhost".into(),
        "Where the server is.",
    );
    if host.is_none() && !pair::is_given(walk, &URL) {
        let help = "add `url = \"postgres://...\"`, or `host = \"localhost\"` with the other keys";
        walk.conflict_here(&["url", "host", "url_file"], "is missing, and `host` too", help);
    }
    let port = walk.key("port", &Count { min: 1, max: u16::MAX }, 5432, "Port of the server.");
    let database = walk.key("database", &Text::name(), "tidegate".into(), "Database.");
    let user = walk.key("user", &Text::name(), "tidegate".into(), "User.");
    let password = pair::secret(walk, SecretText::any(), &PASSWORD);
    let ca = pair::ca(walk);
    let sslmode = sslmode(walk, ca.is_some());
    let table = walk.derived(
        "table",
        &Derived {
            kind: Text::table(),
            absent: "`processed_events`, `alerts` or `dead_letters`, by the topic",
        },
        default_table(topic).into(),
        "Table; `tidegate sinks apply` creates it.",
    );
    Postgres {
        url,
        host: host.unwrap_or_default(),
        port,
        database,
        user,
        password,
        sslmode,
        ca,
        table,
        columns: columns(walk, topic),
    }
}

fn sslmode(walk: &mut Walk<'_>, has_ca: bool) -> SslMode {
    let modes = Choice(&[
        ("disable", SslMode::Disable),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ]);
    let sslmode = walk.derived(
        "sslmode",
        &Derived { kind: modes, absent: "`\"verify-full\"` with a `ca`, else `\"prefer\"`" },
        if has_ca { SslMode::VerifyFull } else { SslMode::Prefer },
        "How TLS is used, as in libpq. Only `verify-ca` and `verify-full` check the server's certificate.",
    );
    if has_ca && !matches!(sslmode, SslMode::VerifyCa | SslMode::VerifyFull) {
        let help = "allowed: `\"verify-full\"` or `\"verify-ca\"`, or leave `sslmode` out";
        walk.conflict_here(&["sslmode"], "checks no certificate, but there is a `ca`", help);
    }
    sslmode
}

fn columns(walk: &mut Walk<'_>, topic: Topic) -> Vec<(String, FieldPath)> {
    let columns = walk.key(
        "columns",
        &Columns,
        Vec::new(),
        "Additional columns of processed events, each with the path of its value in the event.",
    );
    if walk.is_written_here("columns") && topic != Topic::Processed {
        let help = "leave it out, or set `topic = \"processed\"`";
        walk.conflict_here(&["columns", "topic"], "is for processed events alone", help);
    }
    columns
}

fn default_table(topic: Topic) -> &'static str {
    match topic {
        Topic::Alerts => "alerts",
        Topic::DeadLetters => "dead_letters",
        _ => "processed_events",
    }
}
