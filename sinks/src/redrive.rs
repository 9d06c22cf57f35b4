//! Delivering records again that a sink's destination refused, outside of the sink: by a command.

use std::time::{Duration, Instant};

use tidegate_config::{Destination as Kind, WebhookFormat};
use tidegate_core::delivery::{AfterFailure, Retry, Undelivered};

use crate::{
    Batch, Destination, Outcome, Setup,
    destination::delivered_of,
    elasticsearch::Elasticsearch,
    postgres::PostgresSink,
    webhook::{Alertmanager, Webhook},
};

/// How long a destination that does not answer is tried.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of records that were delivered again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redelivered {
    /// Indices of those that are delivered now.
    pub delivered: Vec<usize>,
    /// Those that were refused again, with the reason.
    pub refused: Vec<(usize, String)>,
    /// Why the others are not delivered, if there are any.
    pub failure: Option<String>,
}

/// Delivers all records of a batch to the sink's destination. Each counts as delivered if it is there already.
pub async fn redeliver(setup: Setup<'_>, batch: &Batch) -> Redelivered {
    let Setup { sink, topic_name, paths } = setup;
    match &sink.destination {
        Kind::Postgres(settings) => {
            let destination = PostgresSink::new(settings, &sink.name, sink.topic, topic_name, paths);
            deliver(destination, batch).await
        }
        Kind::Elasticsearch(settings) => {
            let destination = Elasticsearch::new(settings, &sink.name, sink.topic, topic_name, paths);
            deliver(destination, batch).await
        }
        Kind::Webhook(settings) if settings.format == WebhookFormat::Alertmanager => {
            deliver(Alertmanager::new(settings), batch).await
        }
        Kind::Webhook(settings) => deliver(Webhook::new(settings, sink.topic, topic_name), batch).await,
    }
}

async fn deliver(mut destination: impl Destination, batch: &Batch) -> Redelivered {
    let mut undelivered = Undelivered::new((0..batch.len()).collect());
    let mut found = Redelivered::default();
    let began = Instant::now();
    let mut retry = Retry::new(Some(PATIENCE), Duration::ZERO);
    while let Some(records) = undelivered.next() {
        let failure = match destination.redeliver(batch, records).await {
            Outcome::Delivered => {
                found.delivered.extend_from_slice(records);
                undelivered.settled();
                None
            }
            Outcome::Refused(why) => {
                found.refused.extend(undelivered.refused().map(|record| (record, why)));
                None
            }
            Outcome::Judged { refused, again, failure } => {
                found.delivered.extend(delivered_of(records, &refused, &again));
                found.refused.extend(refused);
                undelivered.again(again);
                failure
            }
            Outcome::Failed(failure) => Some(failure),
            // Nobody asked for positions.
            Outcome::Replaced(_) => {
                found.failure = Some("the destination asks for positions".into());
                return found;
            }
        };
        if let Some(failure) = failure {
            match retry.failed(began.elapsed(), 0.5, failure.retry_after) {
                AfterFailure::At(at) if at < PATIENCE => {
                    tokio::time::sleep(at.saturating_sub(began.elapsed())).await;
                }
                _ => {
                    found.failure = Some(failure.cause);
                    return found;
                }
            }
        }
    }
    found
}
