//! Prometheus Alertmanager: whole batches of alerts, and those that fire again and again.

use std::{collections::BTreeSet, time::Duration};

use tidegate_core::PartitionId;

use super::{
    firing::{Firing, Post},
    passes,
    target::Target,
};
use crate::{Batch, Destination, Failure, Outcome, alert::Alert, iso::now};

/// Where alerts are posted, if the URL has no path.
const PATH: &str = "/api/v2/alerts";

/// A destination that tells Alertmanager which alerts fire. One courier only: what fires is known to it alone.
#[derive(Debug)]
pub struct Alertmanager {
    settings: tidegate_config::Webhook,
    target: Target,
    firing: Firing,
}

impl Alertmanager {
    /// A destination for records of the alerts. Nothing is connected yet.
    #[must_use]
    pub fn new(settings: &tidegate_config::Webhook) -> Self {
        let firing = Firing::new(&settings.phases);
        Self { settings: settings.clone(), target: Target::new(settings, PATH), firing }
    }

    /// Resolves and connects to the server, with TLS if the URL says so, and sends nothing.
    ///
    /// # Errors
    /// In words, if that fails or something that requests need is not there.
    pub async fn check(&mut self) -> Result<(), String> {
        self.target.check().await
    }

    /// Posts alerts, if there are any.
    async fn post(&mut self, id: &str, alerts: &[Post]) -> Outcome {
        if alerts.is_empty() {
            return Outcome::Delivered;
        }
        match serde_json::to_vec(alerts) {
            Ok(body) => self.target.post(id, "application/json", body).await,
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }
}

impl Destination for Alertmanager {
    /// As Prometheus does.
    const TICK: Option<Duration> = Some(Duration::from_secs(60));

    async fn deliver(&mut self, batch: &Batch, records: &[usize]) -> Outcome {
        let now = now();
        // What is not known to be told will be heard again.
        let mut firing = self.firing.clone();
        let (mut heard, mut id) = (BTreeSet::new(), None);
        let (mut good, mut refused) = (Vec::new(), Vec::new());
        for &index in records {
            let record = batch.record(index);
            match Alert::parse(record.value) {
                Err(reason) => refused.push((index, reason)),
                Ok(alert) => {
                    good.push(index);
                    if passes(&self.settings, &alert) {
                        heard.insert(firing.hear(&alert, record.partition, now));
                        id.get_or_insert_with(|| alert.unique_id());
                    }
                }
            }
        }
        let posts: Vec<Post> = heard.iter().filter_map(|labels| firing.post(labels, now)).collect();
        match self.post(&id.unwrap_or_default(), &posts).await {
            Outcome::Delivered => {
                firing.told();
                self.firing = firing;
            }
            Outcome::Failed(failure) => {
                return Outcome::Judged { refused, again: good, failure: Some(failure) };
            }
            other => return other,
        }
        if refused.is_empty() {
            return Outcome::Delivered;
        }
        Outcome::Judged { refused, again: Vec::new(), failure: None }
    }

    async fn tick(&mut self, assigned: &[PartitionId]) -> Result<(), Failure> {
        let posts = self.firing.again(assigned, now());
        match self.post("again", &posts).await {
            Outcome::Failed(failure) => Err(failure),
            Outcome::Refused(cause) => Err(Failure::new(cause)),
            _ => Ok(()),
        }
    }
}
