//! Elasticsearch and OpenSearch, by the API that both have: bulk requests and index templates.
//!
//! Effectively once: a document's id is its record's position (of an alert: its id and phase), and it is created, so one that
//! is there already stays as it is. Ids are unique within an index only: into a data stream a record that is delivered
//! again after the stream's rollover comes twice.

mod bulk;
mod cluster;
mod document;
mod index;
mod setup;
mod template;

use hyper::{Method, StatusCode};
pub use index::check_index;
pub use setup::Finding;
use tidegate_core::{event::FieldPaths, record::Topic};
use tokio::task::spawn_blocking;

use self::{
    bulk::{Bulk, Judgement, gzip, judge},
    cluster::{Cluster, Content},
    document::Documents,
    index::IndexName,
    setup::Wanted,
};
use crate::{Batch, Destination, Failure, Outcome, http::Reply};

/// An index or data stream that documents are created in.
#[derive(Debug)]
pub struct Elasticsearch {
    cluster: Cluster,
    index: IndexName,
    documents: Documents,
    is_compressed: bool,
    /// What the sink wants to be set up.
    topic: Topic,
    paths: FieldPaths,
    template_name: String,
}

impl Elasticsearch {
    /// A destination for records of `topic`, which is called `topic_name`. `paths` are where events have their fields.
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(
        settings: &tidegate_config::Elasticsearch,
        sink: &str,
        topic: Topic,
        topic_name: &str,
        paths: &FieldPaths,
    ) -> Self {
        Self {
            cluster: Cluster::new(settings),
            index: IndexName::new(&settings.index),
            documents: Documents::new(topic, topic_name, paths),
            is_compressed: settings.compress,
            topic,
            paths: paths.clone(),
            template_name: format!("tidegate-{sink}"),
        }
    }

    /// Whether the cluster answers and lets documents be created; writes nothing.
    ///
    /// # Errors
    /// In words, if it does not answer, or refuses the credentials.
    pub async fn check(&mut self) -> Result<Vec<Finding>, String> {
        setup::check(&mut self.cluster, &self.index).await
    }

    /// Whether the index template is there, and as it should be.
    ///
    /// # Errors
    /// In words, if the cluster does not tell.
    pub async fn plan(&mut self) -> Result<Vec<Finding>, String> {
        let (cluster, wanted) = self.wanted();
        setup::plan(cluster, &wanted).await
    }

    /// Creates the index template if it is missing; with `alter`, changes what differs in it.
    ///
    /// # Errors
    /// In words, if the cluster does not tell, or does not do it.
    pub async fn apply(&mut self, alter: bool) -> Result<Vec<Finding>, String> {
        let (cluster, wanted) = self.wanted();
        setup::apply(cluster, &wanted, alter).await
    }

    fn wanted(&mut self) -> (&mut Cluster, Wanted<'_>) {
        let template = template::template(self.topic, &self.index.pattern(), &self.paths);
        (&mut self.cluster, Wanted { index: &self.index, name: self.template_name.clone(), template })
    }

    async fn send(&mut self, body: Vec<u8>) -> Result<Reply, Failure> {
        let index = self.index.fixed().map_or_else(String::new, |index| format!("/{index}"));
        let path = format!("{index}/_bulk?{}", bulk::ANSWER);
        let content = if self.is_compressed {
            // It takes longer than anything else here, and others want this thread too.
            let compressed =
                spawn_blocking(move || gzip(&body)).await.map_err(|error| Failure::new(error.to_string()))?;
            Content::Compressed(compressed.map_err(|error| Failure::new(error.to_string()))?)
        } else {
            Content::Lines(body)
        };
        self.cluster.ask(Method::POST, &path, content).await
    }
}

impl Destination for Elasticsearch {
    async fn deliver(&mut self, batch: &Batch, records: &[usize]) -> Outcome {
        let Bulk { body, sent, mut refused } = Bulk::of(batch, records, &self.documents, &self.index);
        let failed =
            |refused, failure| Outcome::Judged { refused, again: sent.clone(), failure: Some(failure) };
        let mut judgement = Judgement::default();
        let mut retry_after = None;
        if !sent.is_empty() {
            let reply = match self.send(body).await {
                Ok(reply) => reply,
                Err(failure) => return failed(refused, failure),
            };
            if reply.status == StatusCode::PAYLOAD_TOO_LARGE {
                return Outcome::Refused(self.cluster.words(&reply));
            }
            if !reply.status.is_success() {
                return failed(refused, self.cluster.failure(&reply));
            }
            retry_after = reply.retry_after;
            judgement = match judge(&reply.body, &sent) {
                Ok(judgement) => judgement,
                Err(cause) => return failed(refused, Failure::new(cause)),
            };
        }
        let Judgement { refused: judged, again, cause } = judgement;
        refused.extend(judged);
        if refused.is_empty() && again.is_empty() {
            return Outcome::Delivered;
        }
        let failure = cause.map(|cause| Failure {
            cause: format!("{} of {} documents not taken: {cause}", again.len(), sent.len()),
            retry_after,
        });
        Outcome::Judged { refused, again, failure }
    }
}
