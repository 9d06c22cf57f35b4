//! Alerts: a window above its rule's threshold, and the record that says so.

use std::{io::Write as _, sync::Arc};

use crate::{
    PartitionId, RuleId, TimestampMs,
    rules::{Piece, Placeholder, Rule, pieces},
    window::Evidence,
};

/// When an alert is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertPhase {
    /// At the event that passed the threshold.
    Crossed,
    /// When the window closed above the threshold; the count is final.
    Closed,
}

impl AlertPhase {
    /// Both phases.
    pub const ALL: [Self; 2] = [Self::Crossed, Self::Closed];

    /// The name in records, metrics and the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crossed => "crossed",
            Self::Closed => "closed",
        }
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Index of the rule.
    pub rule: RuleId,
    /// When it was raised.
    pub phase: AlertPhase,
    /// The service whose events were counted.
    pub service: Arc<str>,
    /// First millisecond of the window.
    pub window_start: TimestampMs,
    /// One past its last millisecond.
    pub window_end: TimestampMs,
    /// Events counted so far.
    pub count: u64,
    /// Lowest timestamp counted so far.
    pub first_event_at: TimestampMs,
    /// Highest timestamp counted so far.
    pub last_event_at: TimestampMs,
    /// The first counted events, in the order of counting.
    pub evidence: Vec<Evidence>,
    /// Kafka timestamp of the event that crossed; what the latency of the alert is measured from.
    pub appended_at: Option<TimestampMs>,
}

/// Appends the alert's record value to `out`: JSON on one line. `rule` is the rule that raised it, `raw_topic`
/// the name of the input topic.
pub fn render(alert: &Alert, rule: &Rule, raw_topic: &str, out: &mut Vec<u8>) {
    render_parts(alert, &alert.evidence, rule, &message(alert, rule), raw_topic, out);
}

/// As [`render`], in at most `max_bytes`: what is too much loses evidence, the last first, and then the end of its
/// message. Only where even that is not enough it is longer.
pub fn render_within(alert: &Alert, rule: &Rule, raw_topic: &str, max_bytes: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let mut message = message(alert, rule);
    let mut evidence = &alert.evidence[..];
    loop {
        render_parts(alert, evidence, rule, &message, raw_topic, out);
        let excess = (out.len() - start).saturating_sub(max_bytes);
        if excess == 0 || evidence.is_empty() && message.is_empty() {
            return;
        }
        out.truncate(start);
        if evidence.is_empty() {
            message.truncate(message.floor_char_boundary(message.len().saturating_sub(excess)));
        } else {
            evidence = &evidence[..kept(evidence, raw_topic, excess)];
        }
    }
}

/// How many of these stay when the last ones are taken away until `excess` bytes are.
fn kept(evidence: &[Evidence], raw_topic: &str, excess: usize) -> usize {
    let (mut keep, mut gone) = (evidence.len(), Vec::new());
    while keep > 0 && gone.len() < excess {
        keep -= 1;
        render_evidence(&evidence[keep], raw_topic, &mut gone);
    }
    keep
}

/// What one event of the evidence takes in an alert beside its user, at most.
#[must_use]
pub fn evidence_bytes(raw_topic: &str) -> usize {
    let widest = Evidence {
        partition: PartitionId(u32::MAX),
        offset: i64::MIN,
        user_id: Some("".into()),
        timestamp: TimestampMs(i64::MIN),
    };
    let mut rendered = Vec::new();
    render_evidence(&widest, raw_topic, &mut rendered);
    // And the comma.
    rendered.len() + 1
}

fn render_parts(
    alert: &Alert,
    evidence: &[Evidence],
    rule: &Rule,
    message: &str,
    raw_topic: &str,
    out: &mut Vec<u8>,
) {
    let Alert { service, count, window_start, window_end, first_event_at, last_event_at, .. } = alert;
    out.extend_from_slice(b"{\"id\":");
    string(out, &format!("{}/{service}/{window_start}", rule.name));
    out.extend_from_slice(b",\"rule\":");
    string(out, &rule.name);
    out.extend_from_slice(b",\"phase\":");
    string(out, alert.phase.as_str());
    out.extend_from_slice(b",\"service\":");
    string(out, service);
    out.extend_from_slice(b",\"message\":");
    string(out, message);
    print(
        out,
        format_args!(
            ",\"count\":{count},\"threshold\":{},\"window_start\":{window_start},\"window_end\":{window_end},\
             \"first_event_at\":{first_event_at},\"last_event_at\":{last_event_at},\"evidence\":[",
            rule.threshold,
        ),
    );
    for (index, evidence) in evidence.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        render_evidence(evidence, raw_topic, out);
    }
    out.extend_from_slice(b"]}");
}

fn render_evidence(evidence: &Evidence, raw_topic: &str, out: &mut Vec<u8>) {
    let Evidence { partition, offset, user_id, timestamp } = evidence;
    out.extend_from_slice(b"{\"topic\":");
    string(out, raw_topic);
    print(out, format_args!(",\"partition\":{partition},\"offset\":{offset},\"user_id\":"));
    match user_id {
        Some(user_id) => string(out, user_id),
        None => out.extend_from_slice(b"null"),
    }
    print(out, format_args!(",\"timestamp\":{timestamp}}}"));
}

/// The rule's message with its placeholders replaced; what they are replaced by is not looked at again.
fn message(alert: &Alert, rule: &Rule) -> String {
    pieces(&rule.message).fold(String::new(), |mut text, piece| {
        match piece {
            Piece::Text(piece) | Piece::Unknown(piece) => text.push_str(piece),
            Piece::Placeholder(Placeholder::Count) => text.push_str(&alert.count.to_string()),
            Piece::Placeholder(Placeholder::Window) => text.push_str(&rule.window_text),
            Piece::Placeholder(Placeholder::Threshold) => text.push_str(&rule.threshold.to_string()),
            Piece::Placeholder(Placeholder::Service) => text.push_str(&alert.service),
            Piece::Placeholder(Placeholder::Rule) => text.push_str(&rule.name),
        }
        text
    })
}

/// Appends a JSON string.
fn string(out: &mut Vec<u8>, text: &str) {
    // A string written to memory cannot fail.
    _ = serde_json::to_writer(out, text);
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn alert(service: &str) -> Alert {
        Alert {
            rule: RuleId(0),
            phase: AlertPhase::Closed,
            service: service.into(),
            window_start: TimestampMs(1_760_000_040_000),
            window_end: TimestampMs(1_760_000_100_000),
            count: 73,
            first_event_at: TimestampMs(1_760_000_041_200),
            last_event_at: TimestampMs(1_760_000_098_700),
            evidence: vec![
                Evidence {
                    partition: PartitionId(3),
                    offset: 88_121,
                    user_id: Some("user-42".into()),
                    timestamp: TimestampMs(1_760_000_041_200),
                },
                Evidence {
                    partition: PartitionId(0),
                    offset: 7,
                    user_id: None,
                    timestamp: TimestampMs(1_760_000_041_300),
                },
            ],
            appended_at: None,
        }
    }

    fn rendered(alert: &Alert, rule: &Rule) -> String {
        let mut out = Vec::new();
        render(alert, rule, "raw-events", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_alert_is_one_line_of_json_with_its_keys_in_order() {
        let expected = concat!(
            r#"{"id":"high-error-rate/checkout/1760000040000","rule":"high-error-rate","phase":"closed","#,
            r#""service":"checkout","message":"High error rate: 73 errors in 60s","count":73,"threshold":50,"#,
            r#""window_start":1760000040000,"window_end":1760000100000,"first_event_at":1760000041200,"#,
            r#""last_event_at":1760000098700,"evidence":[{"topic":"raw-events","partition":3,"offset":88121,"#,
            r#""user_id":"user-42","timestamp":1760000041200},{"topic":"raw-events","partition":0,"offset":7,"#,
            r#""user_id":null,"timestamp":1760000041300}]}"#,
        );
        assert_eq!(rendered(&alert("checkout"), &Rule::default()), expected);
    }

    #[test]
    fn an_alert_that_is_too_large_loses_evidence_first_and_then_the_end_of_its_message() {
        let (alert, rule) = (alert("checkout"), Rule::default());
        let within = |max_bytes| {
            let mut out = b"before".to_vec();
            render_within(&alert, &rule, "raw-events", max_bytes, &mut out);
            let value: serde_json::Value = serde_json::from_slice(&out[6..]).unwrap();
            let message = value["message"].as_str().unwrap().to_owned();
            (out.len() - 6, value["evidence"].as_array().unwrap().len(), message)
        };
        let whole = rendered(&alert, &rule).len();
        let message = "High error rate: 73 errors in 60s";
        assert_eq!(within(whole), (whole, 2, message.into()));
        let (size, evidence, kept) = within(whole - 1);
        assert_eq!((size < whole, evidence, kept.as_str()), (true, 1, message));
        let (bare, evidence, _) = within(whole - 120);
        assert_eq!((bare <= whole - 120, evidence), (true, 0));
        let (size, _, kept) = within(bare - 10);
        assert_eq!((size, kept.as_str()), (bare - 10, &message[..message.len() - 10]));
        assert_eq!(within(0).2, "");
    }

    #[test]
    fn what_evidence_takes_is_known_beforehand() {
        let mut out = Vec::new();
        let alert = alert("checkout");
        render_evidence(&alert.evidence[0], "raw-events", &mut out);
        assert!(evidence_bytes("raw-events") + "user-42".len() > out.len());
    }

    #[test]
    fn no_service_name_breaks_the_json_or_is_taken_for_a_template() {
        let rule = Rule { message: "{rule} {service} {threshold}{".into(), ..Rule::default() };
        for service in ["a\"b\\c/d", "line\nbreak\u{0}\u{1b}", "{count}", "\u{2028}дом\u{1f600}", " "] {
            let text = rendered(&alert(service), &rule);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["service"], service);
            assert_eq!(value["message"], format!("high-error-rate {service} 50{{"));
            assert!(!text.contains('\n'));
        }
    }
}
