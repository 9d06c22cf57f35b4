//! The keys of `type = "webhook"`.

use std::time::Duration;

use tidegate_core::{alert::AlertPhase, record::Topic};

use super::pair::{self, Pair, REQUEST};
use crate::{
    kind::{Choice, Choices, Count, Headers, Names, SecretText},
    sink::{Webhook, WebhookFormat},
    walk::Walk,
};

pub(super) const DOC: &str = "HTTP requests, one for each record, at least once and in order per service.";

/// As many as there can be rules.
const MAX_RULES: usize = 100;

const URL: Pair = Pair {
    name: "url",
    example: "https://example.com/hooks/alerts",
    doc: "Where requests go. It may hold a token, as those of chat services do, and is never shown.",
    file_name: "url_file",
    file_example: "/run/secrets/webhook-url",
};

const SECRET: Pair = Pair {
    name: "secret",
    example: "${WEBHOOK_SECRET}",
    doc: "Signs requests by the scheme of Standard Webhooks: `whsec_` and base64, or any other text.",
    file_name: "secret_file",
    file_example: "/run/secrets/webhook-secret",
};

pub(super) fn read(walk: &mut Walk<'_>, topic: Topic) -> Webhook {
    let url = pair::secret(walk, SecretText::http_url(), &URL);
    if !pair::is_given(walk, &URL) {
        let help = "add `url = \"https://...\"`, or a file that holds it as `url_file`";
        walk.conflict_here(&["url"], "is missing", help);
    }
    let format = format(walk, topic);
    let headers = walk.key("headers", &Headers, Vec::new(), "Headers of every request.");
    let secret = pair::secret(walk, SecretText::any(), &SECRET);
    let timeout = walk.key("timeout", &REQUEST, Duration::from_secs(10), "How long a request may take.");
    let concurrency = walk.key(
        "concurrency",
        &Count { min: 1, max: 64 },
        4,
        "Requests at a time; those of one service follow each other.",
    );
    let (phases, rules) = filter(walk, topic);
    let ca = pair::ca(walk);
    Webhook { url, format, headers, secret, timeout, concurrency, phases, rules, ca }
}

fn format(walk: &mut Walk<'_>, topic: Topic) -> WebhookFormat {
    let formats = Choice(&[
        ("json", WebhookFormat::Json),
        ("cloudevents", WebhookFormat::CloudEvents),
        ("alertmanager", WebhookFormat::Alertmanager),
        ("slack", WebhookFormat::Slack),
    ]);
    let format = walk.key(
        "format",
        &formats,
        WebhookFormat::Json,
        "What requests hold: `json` the record as it is, `cloudevents` CloudEvents 1.0, and of alerts alone \
         `alertmanager` what Prometheus Alertmanager takes at `/api/v2/alerts`, `slack` a message for an incoming webhook.",
    );
    let is_of_alerts = matches!(format, WebhookFormat::Alertmanager | WebhookFormat::Slack);
    if is_of_alerts && topic != Topic::Alerts {
        let help = "allowed: `topic = \"alerts\"` with it, or the formats `json` and `cloudevents`";
        walk.conflict_here(&["format", "topic"], "is a format of alerts alone", help);
    }
    format
}

/// Which alerts are sent.
fn filter(walk: &mut Walk<'_>, topic: Topic) -> (Vec<AlertPhase>, Vec<String>) {
    let phases = Choice(&[("crossed", AlertPhase::Crossed), ("closed", AlertPhase::Closed)]);
    let phases = walk.key(
        "phases",
        &Choices { of: phases, min: 1 },
        AlertPhase::ALL.to_vec(),
        "Alerts of these phases are sent.",
    );
    let rules = walk.key(
        "rules",
        &Names { max: MAX_RULES },
        Vec::new(),
        "Alerts of these rules are sent; without any, those of all rules.",
    );
    for name in ["phases", "rules"] {
        if walk.is_written_here(name) && topic != Topic::Alerts {
            let help = "leave it out, or set `topic = \"alerts\"`";
            walk.conflict_here(&[name, "topic"], "is for alerts alone", help);
        }
    }
    (phases, rules)
}
