//! Webhooks: each record is posted by itself, those of one service in their order.
//!
//! At least once: a request whose answer is lost is sent again, with the same `webhook-id`. Alertmanager, which wants to be
//! told of an alert again and again, is a destination of its own: [`Alertmanager`].

mod alertmanager;
mod cloudevents;
mod firing;
mod signature;
mod slack;
mod target;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

pub use alertmanager::Alertmanager;
use serde_json::Value;
use tidegate_config::WebhookFormat;
use tidegate_core::record::Topic;

use self::{cloudevents::Attributes, target::Target};
use crate::{Batch, Destination, Outcome, SinkRecord, alert::Alert, dead_letter};

const JSON: &str = "application/json";

/// A destination that gets one request for each record. What does not pass `phases` and `rules` counts as delivered.
#[derive(Debug)]
pub struct Webhook {
    settings: tidegate_config::Webhook,
    topic: Topic,
    topic_name: String,
    target: Target,
}

/// What is posted for a record.
#[derive(Debug)]
struct Message {
    id: String,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Webhook {
    /// A destination for records of `topic`, which is called `topic_name`. Nothing is connected yet.
    #[must_use]
    pub fn new(settings: &tidegate_config::Webhook, topic: Topic, topic_name: &str) -> Self {
        let target = Target::new(settings, "/");
        Self { settings: settings.clone(), topic, topic_name: topic_name.into(), target }
    }

    /// Resolves and connects to the server, with TLS if the URL says so, and sends nothing.
    ///
    /// # Errors
    /// In words, if that fails or something that requests need is not there.
    pub async fn check(&mut self) -> Result<(), String> {
        self.target.check().await
    }

    async fn post(&mut self, record: &SinkRecord<'_>) -> Outcome {
        match self.message(record) {
            Ok(Some(Message { id, content_type, body })) => self.target.post(&id, content_type, body).await,
            Ok(None) => Outcome::Delivered,
            Err(reason) => Outcome::Refused(reason),
        }
    }

    /// What to post for a record, if anything.
    fn message(&self, record: &SinkRecord<'_>) -> Result<Option<Message>, String> {
        match self.topic {
            Topic::Alerts => {
                let alert = Alert::parse(record.value)?;
                if passes(&self.settings, &alert) {
                    self.of_alert(record, &alert).map(Some)
                } else {
                    Ok(None)
                }
            }
            Topic::DeadLetters => {
                let document = dead_letter::document(record);
                let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
                let summary = format!("dead letter: {}: {}", text("reason"), text("detail"));
                let document = serde_json::to_vec(&document).map_err(|error| error.to_string())?;
                self.of_other(record, "dead_letter", &document, &summary).map(Some)
            }
            Topic::Raw | Topic::Processed | Topic::State => {
                let Some(value) = record.value else { return Ok(None) };
                self.of_other(record, "event", value, &String::from_utf8_lossy(value)).map(Some)
            }
        }
    }

    fn of_alert(&self, record: &SinkRecord<'_>, alert: &Alert<'_>) -> Result<Message, String> {
        let (kind, value) = (format!("alert.{}", alert.phase), record.value.unwrap_or_default());
        self.formatted(record, alert.unique_id(), &kind, alert.service.as_deref(), value, || {
            slack::message(alert)
        })
    }

    fn of_other(
        &self,
        record: &SinkRecord<'_>,
        kind: &str,
        value: &[u8],
        summary: &str,
    ) -> Result<Message, String> {
        let id = format!("{}-{}-{}", self.topic_name, record.partition, record.offset);
        let subject = record.key.and_then(|key| std::str::from_utf8(key).ok());
        self.formatted(record, id, kind, subject, value, || slack::plain(summary))
    }

    fn formatted(
        &self,
        record: &SinkRecord<'_>,
        id: String,
        kind: &str,
        subject: Option<&str>,
        value: &[u8],
        slack: impl FnOnce() -> Vec<u8>,
    ) -> Result<Message, String> {
        let (content_type, body) = match self.settings.format {
            WebhookFormat::Slack => (JSON, slack()),
            WebhookFormat::CloudEvents => {
                let topic = &self.topic_name;
                let attributes = Attributes { id: &id, topic, kind, time: record.timestamp, subject };
                (cloudevents::CONTENT_TYPE, cloudevents::event(&attributes, value)?)
            }
            WebhookFormat::Json | WebhookFormat::Alertmanager => (JSON, value.to_vec()),
        };
        Ok(Message { id, content_type, body })
    }
}

/// Whether an alert is one of those that are sent.
fn passes(settings: &tidegate_config::Webhook, alert: &Alert<'_>) -> bool {
    settings.phases.iter().any(|phase| phase.as_str() == alert.phase)
        && (settings.rules.is_empty() || settings.rules.iter().any(|rule| *rule == alert.rule))
}

impl Destination for Webhook {
    const ONE_BY_ONE: bool = true;

    /// Alerts have their service as key.
    fn lane(record: &SinkRecord<'_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        match record.key {
            Some(key) => key.hash(&mut hasher),
            None => record.partition.hash(&mut hasher),
        }
        hasher.finish()
    }

    async fn deliver(&mut self, batch: &Batch, records: &[usize]) -> Outcome {
        let mut refused = Vec::new();
        for (done, &index) in records.iter().enumerate() {
            match self.post(&batch.record(index)).await {
                Outcome::Refused(reason) => refused.push((index, reason)),
                // Those behind it must not overtake it.
                Outcome::Failed(failure) => {
                    return Outcome::Judged {
                        refused,
                        again: records[done..].to_vec(),
                        failure: Some(failure),
                    };
                }
                _ => {}
            }
        }
        if refused.is_empty() {
            return Outcome::Delivered;
        }
        Outcome::Judged { refused, again: Vec::new(), failure: None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use tidegate_config::{Secret, SecretSource};
    use tidegate_core::{PartitionId, TimestampMs, alert::AlertPhase};
    use tidegate_log::{Headers, push_header};

    use super::*;

    const ALERT: &str = concat!(
        r#"{"id":"r/a<b/1760000040000","rule":"r","phase":"crossed","service":"a<b","message":"51 & more","count":51,"#,
        r#""threshold":50,"window_start":1760000040000,"window_end":1760000100000,"first_event_at":1760000041200,"#,
        r#""last_event_at":1760000098700,"evidence":[]}"#,
    );

    fn settings(format: WebhookFormat) -> tidegate_config::Webhook {
        tidegate_config::Webhook {
            url: SecretSource { value: Some(Secret::new("http://localhost")), file: None },
            format,
            headers: Vec::new(),
            secret: SecretSource::default(),
            timeout: Duration::from_secs(1),
            concurrency: 1,
            phases: AlertPhase::ALL.to_vec(),
            rules: Vec::new(),
            ca: None,
        }
    }

    fn record<'a>(key: &'a [u8], value: &'a [u8], headers: &'a [u8]) -> SinkRecord<'a> {
        let (partition, timestamp) = (PartitionId(2), TimestampMs(1_760_000_099_000));
        SinkRecord {
            partition,
            offset: 7,
            timestamp,
            key: Some(key),
            value: Some(value),
            headers: Headers(headers),
        }
    }

    /// Id and body of what is posted.
    fn posted(
        settings: tidegate_config::Webhook,
        topic: Topic,
        record: &SinkRecord<'_>,
    ) -> Result<Option<(String, String)>, String> {
        let message = Webhook::new(&settings, topic, "the-topic").message(record)?;
        Ok(message.map(|message| (message.id, String::from_utf8(message.body).unwrap())))
    }

    #[test]
    fn an_alert_is_posted_as_it_is_as_a_cloud_event_or_as_a_message() {
        let body = |format| {
            let alert = record(b"a<b", ALERT.as_bytes(), b"");
            let (id, body) = posted(settings(format), Topic::Alerts, &alert).unwrap().unwrap();
            assert_eq!(id, "r/a<b/1760000040000/crossed");
            body
        };
        assert_eq!(body(WebhookFormat::Json), ALERT);
        let event = concat!(
            r#"{"specversion":"1.0","id":"r/a<b/1760000040000/crossed","source":"tidegate/the-topic","#,
            r#""type":"tidegate.alert.crossed","time":"2025-10-09T08:54:59.000Z","subject":"a<b","#,
            r#""datacontenttype":"application/json","data":"#,
        );
        assert_eq!(body(WebhookFormat::CloudEvents), format!("{event}{ALERT}}}"));
        let facts = "crossed, a&lt;b, count 51, threshold 50, 2025-10-09 08:54:00 to 08:55:00 UTC";
        let message: Value = serde_json::from_str(&body(WebhookFormat::Slack)).unwrap();
        assert_eq!(message["text"], format!("51 &amp; more ({facts})"));
        assert_eq!(message["blocks"][0]["text"]["text"], "51 &amp; more");
        assert_eq!(message["blocks"][1]["elements"][0]["text"], facts);
    }

    #[test]
    fn events_and_dead_letters_are_posted_too_whatever_their_bytes() {
        let event = record(b"user-1", b"{\"a\": 1}", b"");
        let (id, body) =
            posted(settings(WebhookFormat::CloudEvents), Topic::Processed, &event).unwrap().unwrap();
        assert_eq!(id, "the-topic-2-7");
        assert!(body.contains(r#""subject":"user-1""#) && body.ends_with(r#""data":{"a": 1}}"#), "{body}");
        let mut headers = Vec::new();
        push_header(&mut headers, b"tidegate.reason", Some(b"invalid_utf8"));
        push_header(&mut headers, b"tidegate.detail", Some(b"at <0>"));
        let dead = record(b"\xff", b"\xff", &headers);
        let (_, body) =
            posted(settings(WebhookFormat::CloudEvents), Topic::DeadLetters, &dead).unwrap().unwrap();
        assert!(body.contains(r#""value_base64":"/w==""#) && !body.contains("subject"), "{body}");
        let (_, body) = posted(settings(WebhookFormat::Slack), Topic::DeadLetters, &dead).unwrap().unwrap();
        assert_eq!(body, r#"{"text":"dead letter: invalid_utf8: at &lt;0&gt;"}"#);
    }

    #[test]
    fn alerts_of_other_phases_and_rules_are_passed_over_and_what_is_no_alert_is_refused() {
        let alert = record(b"a", ALERT.as_bytes(), b"");
        let with = |phases: &[AlertPhase], rules: &[&str]| {
            let rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
            let settings =
                tidegate_config::Webhook { phases: phases.to_vec(), rules, ..settings(WebhookFormat::Json) };
            posted(settings, Topic::Alerts, &alert).unwrap().is_some()
        };
        assert!(with(&AlertPhase::ALL, &["other", "r"]));
        assert!(!with(&AlertPhase::ALL, &["other"]));
        assert!(!with(&[AlertPhase::Closed], &[]));
        for value in ["", "null", "{}", "{\"id\":1}", "\u{0}"] {
            let bad = record(b"a", value.as_bytes(), b"");
            let told = posted(settings(WebhookFormat::Json), Topic::Alerts, &bad).unwrap_err();
            assert!(told.starts_with("it is not an alert: "), "{told}");
        }
    }

    #[test]
    fn records_of_one_key_share_a_lane() {
        let lane = |key: &[u8]| Webhook::lane(&record(key, b"", b""));
        assert_eq!(lane(b"checkout"), lane(b"checkout"));
        assert_ne!(lane(b"checkout"), lane(b"cart"));
    }
}
