//! Messages for incoming webhooks of Slack, and of those that take the same: `text` alone says all, for many read no more;
//! `blocks` say it in order.

use serde_json::json;

use crate::{alert::Alert, iso::utc};

/// Slack takes at most 3,000 characters in a block.
const BLOCK_BYTES: usize = 2_900;

/// The message for an alert.
pub(super) fn message(alert: &Alert<'_>) -> Vec<u8> {
    let (message, facts) = (escaped(&alert.message), escaped(&facts(alert)));
    let body = json!({
        "text": format!("{message} ({facts})"),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": message}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": facts}]},
        ],
    });
    body.to_string().into_bytes()
}

/// The message for a record that is no alert.
pub(super) fn plain(text: &str) -> Vec<u8> {
    json!({ "text": escaped(text) }).to_string().into_bytes()
}

/// Such as `crossed, checkout, count 51, threshold 50, 2025-10-09 08:54:00 to 08:55:00 UTC`.
fn facts(alert: &Alert<'_>) -> String {
    let mut facts = vec![alert.phase.to_string()];
    facts.extend(alert.severity.as_deref().map(str::to_owned));
    facts.extend(alert.service.as_deref().map(str::to_owned));
    facts.push(format!("count {}", alert.count));
    facts.extend(alert.threshold.as_ref().map(|threshold| format!("threshold {threshold}")));
    let (start, end) = (utc(alert.window_start()), utc(alert.window_end()));
    let second = |at: time::OffsetDateTime| {
        let (hour, minute, second) = at.time().as_hms();
        format!("{hour:02}:{minute:02}:{second:02}")
    };
    let until = if start.date() == end.date() { String::new() } else { format!("{} ", end.date()) };
    facts.push(format!("{} {} to {until}{} UTC", start.date(), second(start), second(end)));
    facts.join(", ")
}

/// Text with what Slack takes for markup made harmless, in at most [`BLOCK_BYTES`].
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        let before = escaped.len();
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            char => escaped.push(char),
        }
        if escaped.len() > BLOCK_BYTES {
            escaped.truncate(before);
            break;
        }
    }
    escaped
}
