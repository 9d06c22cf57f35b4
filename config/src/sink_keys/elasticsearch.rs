//! The keys of `type = "elasticsearch"`.

use std::time::Duration;

use tidegate_core::record::Topic;

use super::pair::{self, PASSWORD, Pair, REQUEST};
use crate::{
    kind::{Boolean, Derived, Optional, SecretText, Text},
    sink::Elasticsearch,
    walk::Walk,
};

pub(super) const DOC: &str = "An index or data stream of Elasticsearch or OpenSearch, where each record becomes one \
     document; its id comes from the record, so that a repeated delivery changes nothing.";

const INDEX_ABSENT: &str = "`tidegate-processed-events-{yyyy}.{MM}.{dd}`, `tidegate-alerts-{yyyy}.{MM}` or \
     `tidegate-dead-letters-{yyyy}.{MM}`, by the topic";

const API_KEY: Pair = Pair {
    name: "api_key",
    example: "${API_KEY}",
    doc: "API key in its encoded form, instead of `username` and `password`.",
    file_name: "api_key_file",
    file_example: "/run/secrets/api-key",
};

pub(super) fn read(walk: &mut Walk<'_>, topic: Topic) -> Elasticsearch {
    let url = walk.required(
        "url",
        &Text::http_url(),
        String::new(),
        "http://localhost:9200".into(),
        "The cluster, or a proxy before it. It is shown, so names and passwords have keys of their own.",
    );
    if !walk.is_written_here("url") {
        walk.conflict_here(&["url"], "is missing", "add `url = \"http://localhost:9200\"`, with your host");
    }
    let index = walk.derived(
        "index",
        &Derived { kind: Text::index(), absent: INDEX_ABSENT },
        default_index(topic).into(),
        "Index or data stream; `tidegate sinks apply` creates its template.",
    );
    let username = walk.optional(
        "username",
        &Optional { kind: Text::name(), absent: "no basic authentication" },
        "tidegate".into(),
        "User of basic authentication.",
    );
    let password = pair::secret(walk, SecretText::any(), &PASSWORD);
    let api_key = pair::secret(walk, SecretText::any(), &API_KEY);
    credentials(walk);
    let compress = walk.key("compress", &Boolean, true, "Whether requests are compressed with gzip.");
    let timeout = walk.key("timeout", &REQUEST, Duration::from_secs(30), "How long a request may take.");
    let ca = pair::ca(walk);
    Elasticsearch { url, index, username, password, api_key, compress, timeout, ca }
}

/// A user has a password, a password a user, and an API key neither.
fn credentials(walk: &mut Walk<'_>) {
    let has_user = walk.is_written_here("username");
    let has_password = pair::is_given(walk, &PASSWORD);
    if pair::is_given(walk, &API_KEY) && (has_user || has_password) {
        let names = ["api_key", "api_key_file", "username", "password", "password_file"];
        walk.conflict_here(&names, "and a user with a password are both given", "allowed: one of the two");
    } else if has_user != has_password {
        let (name, other) = if has_user { ("username", "password") } else { ("password", "username") };
        let help = format!("add `{other}`, or leave both out");
        walk.conflict_here(&[name, "password_file"], &format!("has no `{other}`"), &help);
    }
}

/// Few alerts and dead letters come, and small indices are a burden.
fn default_index(topic: Topic) -> &'static str {
    match topic {
        Topic::Alerts => "tidegate-alerts-{yyyy}.{MM}",
        Topic::DeadLetters => "tidegate-dead-letters-{yyyy}.{MM}",
        _ => "tidegate-processed-events-{yyyy}.{MM}.{dd}",
    }
}
