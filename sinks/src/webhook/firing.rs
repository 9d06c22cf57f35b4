//! Which alerts fire, as Prometheus Alertmanager is told of it.
//!
//! Alertmanager knows an alert by its labels, and takes it for resolved once its `endsAt` has passed. Windows of one rule
//! and service have the same labels, so they are one alert to it: it fires from the first window that is above the
//! threshold until no window is. It has no phases, forgets its alerts when it restarts, and has to be told again and again.
//!
//! An alert fires until the end of its window and [`HOLD_MS`] more, because word of the window's end comes late: after the
//! disorder and lateness that the pipeline waits for. As long as that word does not come, the end moves on; but not for
//! longer than [`WAIT_MS`], for some windows end without a word: those of a rule that is gone, or whose `emit` does not
//! have `closed`.
//!
//! All of it is in memory. After a restart an alert is not told again, ends at the end that was told last, and is resolved
//! by its own `closed` as ever.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use tidegate_core::{PartitionId, TimestampMs, alert::AlertPhase};

use crate::{alert::Alert, iso::rfc3339};

/// How long an alert fires beyond the end of its window, or beyond the last time that it was told of.
const HOLD_MS: i64 = 5 * 60 * 1000;
/// How long after the end of its window word of it is waited for.
const WAIT_MS: i64 = 60 * 60 * 1000;

type Texts = BTreeMap<String, String>;

/// The alerts that fire, by their labels.
#[derive(Debug, Clone)]
pub(super) struct Firing {
    wait_ms: i64,
    alerts: BTreeMap<Texts, Fire>,
}

/// One alert.
#[derive(Debug, Clone)]
struct Fire {
    partition: PartitionId,
    annotations: Texts,
    starts_at: i64,
    /// Start of each window that is open and above the threshold, with its end, or when it was heard of if that is later.
    open: BTreeMap<i64, i64>,
    /// End of the last window that was closed.
    closed_at: i64,
}

/// An alert as Alertmanager's API takes it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Post {
    labels: Texts,
    annotations: Texts,
    starts_at: String,
    ends_at: String,
}

impl Firing {
    /// None fires. `phases` are those that are heard of.
    pub(super) fn new(phases: &[AlertPhase]) -> Self {
        // Without a word of their end there is nothing to wait for.
        let wait_ms = if phases.contains(&AlertPhase::Closed) { WAIT_MS } else { 0 };
        Self { wait_ms, alerts: BTreeMap::new() }
    }

    /// Hears of an alert, any number of times; returns its labels.
    pub(super) fn hear(&mut self, alert: &Alert<'_>, partition: PartitionId, now: TimestampMs) -> Texts {
        let (labels, annotations) = (labels(alert), annotations(alert));
        let starts_at = alert.first_event_at().0;
        let (window_start, window_end) = (alert.window_start().0, alert.window_end().0);
        let new = || Fire {
            partition,
            annotations: Texts::new(),
            starts_at,
            open: BTreeMap::new(),
            closed_at: window_end,
        };
        let fire = self.alerts.entry(labels.clone()).or_insert_with(new);
        fire.partition = partition;
        if alert.phase == AlertPhase::Crossed.as_str() {
            fire.open.entry(window_start).or_insert(window_end.max(now.0));
        } else {
            fire.open.remove(&window_start);
            fire.closed_at = fire.closed_at.max(window_end);
        }
        // What is said of an alert is of its last window.
        if fire.open.last_key_value().is_none_or(|(last, _)| *last <= window_start) {
            fire.annotations = annotations;
        }
        labels
    }

    /// What to tell of the alert with these labels.
    pub(super) fn post(&self, labels: &Texts, now: TimestampMs) -> Option<Post> {
        self.alerts.get(labels).map(|fire| fire.post(labels, now))
    }

    /// What was told last was taken: resolved alerts are forgotten.
    pub(super) fn told(&mut self) {
        self.alerts.retain(|_, fire| !fire.open.is_empty());
    }

    /// What to tell again. Alerts of other partitions than these are somebody else's now; windows whose end was waited for
    /// in vain are given up.
    pub(super) fn again(&mut self, assigned: &[PartitionId], now: TimestampMs) -> Vec<Post> {
        self.alerts.retain(|_, fire| {
            fire.open.retain(|_, end| now.0 <= *end + self.wait_ms);
            assigned.contains(&fire.partition) && !fire.open.is_empty()
        });
        self.alerts.iter().map(|(labels, fire)| fire.post(labels, now)).collect()
    }
}

impl Fire {
    fn post(&self, labels: &Texts, TimestampMs(now): TimestampMs) -> Post {
        let ends_at = match self.open.values().max() {
            Some(end) => now.max(*end) + HOLD_MS,
            // Resolved is what has ended, and an end before the start is refused.
            None => self.closed_at.min(now).max(self.starts_at + 1),
        };
        Post {
            labels: labels.clone(),
            annotations: self.annotations.clone(),
            starts_at: rfc3339(TimestampMs(self.starts_at)),
            ends_at: rfc3339(TimestampMs(ends_at)),
        }
    }
}

/// The labels of an alert, the same in all phases and windows. The rule's own do not replace those that are always there.
fn labels(alert: &Alert<'_>) -> Texts {
    let own = [&alert.group, &alert.labels].into_iter().flatten().flatten();
    let mut labels: Texts = own.map(|(name, value)| (label_name(name), text(value))).collect();
    labels.insert("alertname".into(), alert.rule.to_string());
    labels.insert("rule".into(), alert.rule.to_string());
    for (name, value) in [("service", &alert.service), ("severity", &alert.severity)] {
        if let Some(value) = value {
            labels.insert(name.into(), value.to_string());
        }
    }
    labels
}

fn annotations(alert: &Alert<'_>) -> Texts {
    let own = alert.annotations.iter().flatten();
    let mut annotations: Texts = own.map(|(name, value)| (label_name(name), text(value))).collect();
    annotations.insert("summary".into(), alert.message.to_string());
    annotations.insert("count".into(), alert.count.to_string());
    if let Some(threshold) = &alert.threshold {
        annotations.insert("threshold".into(), threshold.to_string());
    }
    let window = format!("{}/{}", rfc3339(alert.window_start()), rfc3339(alert.window_end()));
    annotations.insert("window".into(), window);
    annotations
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A name that every Alertmanager takes: letters, digits and `_`, no digit first.
fn label_name(name: &str) -> String {
    let is_letter = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let name: String = name.chars().map(|char| if is_letter(char) { char } else { '_' }).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    const P: PartitionId = PartitionId(0);
    const MINUTE: i64 = 60_000;
    /// Windows are a minute long and begin at this one.
    const T: i64 = 1_760_000_040_000;

    fn alert(phase: &str, window: i64) -> String {
        let (start, end) = (T + window * MINUTE, T + (window + 1) * MINUTE);
        json!({
            "id": format!("r/checkout/{start}"), "rule": "r", "phase": phase, "service": "checkout", "message": "many",
            "count": 51 + window, "threshold": 50, "window_start": start, "window_end": end,
            "first_event_at": start + 1_200, "last_event_at": end - 1, "evidence": [],
        })
        .to_string()
    }

    /// Hears of an alert; the times that are to be told of it.
    fn hear(firing: &mut Firing, phase: &str, window: i64, now: i64) -> (String, String) {
        let value = alert(phase, window);
        let alert = Alert::parse(Some(value.as_bytes())).unwrap();
        let labels = firing.hear(&alert, P, TimestampMs(now));
        let post = firing.post(&labels, TimestampMs(now)).unwrap();
        firing.told();
        (post.starts_at, post.ends_at)
    }

    fn ends(firing: &mut Firing, now: i64) -> Vec<String> {
        firing.again(&[P], TimestampMs(now)).into_iter().map(|post| post.ends_at).collect()
    }

    fn at(ms: i64) -> String {
        rfc3339(TimestampMs(ms))
    }

    fn firing() -> Firing {
        Firing::new(&AlertPhase::ALL)
    }

    #[test]
    fn an_alert_fires_until_its_window_is_closed() {
        let (mut firing, first) = (firing(), T + 1_200);
        let end = T + MINUTE;
        assert_eq!(hear(&mut firing, "crossed", 0, T + 5_000), (at(first), at(end + HOLD_MS)));
        assert_eq!(ends(&mut firing, T + 50_000), [at(end + HOLD_MS)]);
        assert_eq!(ends(&mut firing, end + 7_000), [at(end + 7_000 + HOLD_MS)]);
        assert_eq!(hear(&mut firing, "closed", 0, end + 9_000), (at(first), at(end)));
        assert_eq!(ends(&mut firing, end + 10_000), Vec::<String>::new());
    }

    #[test]
    fn windows_that_follow_each_other_are_one_alert() {
        let mut firing = firing();
        hear(&mut firing, "crossed", 0, T + 5_000);
        hear(&mut firing, "crossed", 1, T + MINUTE + 5_000);
        let open = (at(T + 1_200), at(T + 2 * MINUTE + HOLD_MS));
        assert_eq!(hear(&mut firing, "closed", 0, T + MINUTE + 6_000), open);
        let resolved = (at(T + 1_200), at(T + 2 * MINUTE));
        assert_eq!(hear(&mut firing, "closed", 1, T + 2 * MINUTE + 6_000), resolved);
    }

    #[test]
    fn an_old_alert_that_is_caught_up_with_fires_now_and_what_is_heard_twice_is_heard_once() {
        let (mut firing, now) = (firing(), T + 1_000 * MINUTE);
        for _ in 0..2 {
            assert_eq!(hear(&mut firing, "crossed", 0, now).1, at(now + HOLD_MS));
        }
        for _ in 0..2 {
            assert_eq!(hear(&mut firing, "closed", 0, now), (at(T + 1_200), at(T + MINUTE)));
        }
    }

    #[test]
    fn an_alert_whose_end_is_never_heard_of_ends_and_at_once_where_it_cannot_be_heard_of() {
        let end = T + MINUTE;
        for (mut firing, wait_ms) in [(firing(), WAIT_MS), (Firing::new(&[AlertPhase::Crossed]), 0)] {
            hear(&mut firing, "crossed", 0, T);
            assert_eq!(ends(&mut firing, end + wait_ms), [at(end + wait_ms + HOLD_MS)]);
            assert_eq!(ends(&mut firing, end + wait_ms + 1), Vec::<String>::new());
        }
    }

    #[test]
    fn an_alert_of_a_partition_that_is_another_members_is_told_no_more() {
        let mut firing = firing();
        hear(&mut firing, "crossed", 0, T);
        assert_eq!(firing.again(&[PartitionId(1)], TimestampMs(T)), []);
        assert_eq!(ends(&mut firing, T), Vec::<String>::new());
    }

    #[test]
    fn labels_are_the_same_in_all_phases_and_windows_and_hold_what_tells_alerts_apart() {
        let value = json!({
            "id": "r/eu/0", "rule": "r", "phase": "crossed", "service": null, "message": "many", "count": 3,
            "window_start": 0, "window_end": 60_000, "first_event_at": 1, "last_event_at": 2, "severity": "page",
            "group": {"payload.region": "eu", "9": 1}, "labels": {"team": "payments", "rule": "another"},
            "annotations": {"runbook": "https://example.org"},
        })
        .to_string();
        let alert = Alert::parse(Some(value.as_bytes())).unwrap();
        let mut firing = firing();
        let labels = firing.hear(&alert, P, TimestampMs(T));
        let expected = json!({
            "labels": {"alertname": "r", "rule": "r", "severity": "page", "payload_region": "eu", "_9": "1", "team": "payments"},
            "annotations": {
                "summary": "many", "count": "3", "runbook": "https://example.org",
                "window": "1970-01-01T00:00:00.000Z/1970-01-01T00:01:00.000Z",
            },
            "startsAt": "1970-01-01T00:00:00.001Z", "endsAt": at(T + HOLD_MS),
        });
        assert_eq!(json!(firing.post(&labels, TimestampMs(T))), expected);
    }
}
