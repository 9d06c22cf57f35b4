//! How a sink is started, and asked to end.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorRef, SpawnErr};
use tidegate_config::{Destination as Kind, Sink as Settings, WebhookFormat};
use tidegate_core::{SinkId, event::FieldPaths};
use tidegate_log::Log;
use tidegate_telemetry::{Journal, Metrics};

use crate::{
    Destination,
    elasticsearch::Elasticsearch,
    postgres::PostgresSink,
    reader::Reading,
    sink::{Sink, SinkArgs, SinkMsg},
    webhook::{Alertmanager, Webhook},
};

/// What a sink is made of.
#[derive(Clone)]
pub struct SinkParts {
    /// Its place in the configuration.
    pub id: SinkId,
    /// Its settings.
    pub settings: Settings,
    /// The log that it reads.
    pub log: Arc<dyn Log>,
    /// The real name of the topic that it reads.
    pub topic_name: String,
    /// The pipeline's consumer group, which its own is named after.
    pub group_id: String,
    /// Where the fields of events are.
    pub paths: FieldPaths,
    /// Metrics.
    pub metrics: Metrics,
    /// Where people see what it rejects.
    pub journal: Journal,
}

/// The consumer group of a sink.
#[must_use]
pub fn group_of(group_id: &str, sink: &str) -> String {
    format!("{group_id}.sink.{sink}")
}

/// Starts a sink as a child of `supervisor`. It connects, and connects again, by itself.
///
/// # Errors
/// [`SpawnErr`] if an actor or a thread cannot be started.
pub async fn start(parts: SinkParts, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
    let SinkParts { settings, topic_name, paths, .. } = parts.clone();
    let topic = settings.topic;
    match &settings.destination {
        Kind::Postgres(postgres) => {
            let destination = PostgresSink::new(postgres, &settings.name, topic, &topic_name, &paths);
            start_with(parts, vec![destination], supervisor).await
        }
        Kind::Elasticsearch(elasticsearch) => {
            let destination = Elasticsearch::new(elasticsearch, &settings.name, topic, &topic_name, &paths);
            start_with(parts, vec![destination], supervisor).await
        }
        Kind::Webhook(webhook) if webhook.format == WebhookFormat::Alertmanager => {
            start_with(parts, vec![Alertmanager::new(webhook)], supervisor).await
        }
        Kind::Webhook(webhook) => {
            let destination = || Webhook::new(webhook, topic, &topic_name);
            let destinations = (0..webhook.concurrency).map(|_| destination()).collect();
            start_with(parts, destinations, supervisor).await
        }
    }
}

/// Asks a sink to deliver what is on its way, keep its positions and end.
pub fn shut_down(sink: &ActorCell) {
    // If it is gone, it has ended.
    let _ = ActorRef::<SinkMsg>::from(sink.clone()).cast(SinkMsg::ShutDown);
}

pub(crate) async fn start_with<D: Destination>(
    parts: SinkParts,
    destinations: Vec<D>,
    supervisor: ActorCell,
) -> Result<ActorCell, SpawnErr> {
    let SinkParts { id, settings, log, group_id, metrics, journal, .. } = parts;
    let Settings { name, topic, start, limits, in_flight_bytes, give_up_after, .. } = settings;
    let group = group_of(&group_id, &name);
    let reading = Reading { topic, group, start, limits, in_flight_bytes };
    let args = SinkArgs { id, name, log, reading, give_up_after, destinations, metrics, journal };
    let (sink, _) = Actor::spawn_linked(None, Sink::default(), args, supervisor).await?;
    Ok(sink.get_cell())
}
