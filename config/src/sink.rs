//! `[[sinks]]`: what a sink reads, and where it delivers.

use std::{fs, io, path::PathBuf, time::Duration};

use tidegate_core::{alert::AlertPhase, delivery::BatchLimits, event::FieldPath, record::Topic};

use crate::{secret::Secret, start::Start};

/// Types of sinks, as configured.
pub(crate) const POSTGRES: &str = "postgres";
pub(crate) const ELASTICSEARCH: &str = "elasticsearch";
pub(crate) const WEBHOOK: &str = "webhook";

/// One sink.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Unique; part of its consumer group's name, and the label `sink` of metrics.
    pub name: String,
    /// What it reads: processed events, alerts or dead letters.
    pub topic: Topic,
    /// Where to begin when it has no position yet.
    pub start: Start,
    /// When a batch is sent.
    pub limits: BatchLimits,
    /// Bytes of records read and not yet delivered; beyond it reading waits.
    pub in_flight_bytes: usize,
    /// How long a record is tried before it becomes a dead letter; `None` for ever.
    pub give_up_after: Option<Duration>,
    /// Where it delivers.
    pub destination: Destination,
}

/// Where a sink delivers.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A table of PostgreSQL.
    Postgres(Postgres),
    /// An index or data stream of Elasticsearch or OpenSearch.
    Elasticsearch(Elasticsearch),
    /// HTTP requests.
    Webhook(Webhook),
}

impl Destination {
    /// Its `type`, as configured.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => POSTGRES,
            Self::Elasticsearch(_) => ELASTICSEARCH,
            Self::Webhook(_) => WEBHOOK,
        }
    }
}

/// A value that must not be seen, given as it is or as a file that holds it.
#[derive(Debug, Clone, Default)]
pub struct SecretSource {
    /// As it is.
    pub value: Option<Secret>,
    /// A file; a line break at its end is not part of the secret.
    pub file: Option<PathBuf>,
}

impl SecretSource {
    /// The secret as it is now; `None` if none is configured.
    ///
    /// # Errors
    /// [`io::Error`] if the file cannot be read or is not UTF-8; its text names the file.
    pub fn read(&self) -> io::Result<Option<Secret>> {
        let Some(path) = &self.file else { return Ok(self.value.clone()) };
        let text = fs::read_to_string(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
    }
}

/// A PostgreSQL server and a table there.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database?sslmode=...`; what it says goes before the other keys.
    pub url: SecretSource,
    /// Host name, address, or the directory of a Unix socket; empty if only `url` says it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: SecretSource,
    /// How TLS is used.
    pub sslmode: SslMode,
    /// Certificates (PEM) that the server's is checked against, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The table, with its schema if it is not in the search path.
    pub table: String,
    /// Additional columns of processed events, each with the path of its value in the event; in the order of their names.
    pub columns: Vec<(String, FieldPath)>,
}

/// How TLS is used, as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server has it; its certificate is not looked at.
    Prefer,
    /// Always; the server's certificate is not looked at.
    Require,
    /// Always, with a certificate that is signed by one of [`Postgres::ca`].
    VerifyCa,
    /// As before, and the certificate is the host's.
    VerifyFull,
}

/// An Elasticsearch or OpenSearch cluster and an index there.
#[derive(Debug, Clone)]
pub struct Elasticsearch {
    /// `http://host:9200` or `https://...`, with a path if there is a proxy; a name and password in it are refused.
    pub url: String,
    /// Name of the index or data stream, in lower case; may hold `{yyyy}`, `{MM}` and `{dd}` of the event's time (UTC).
    pub index: String,
    /// User of basic authentication.
    pub username: Option<String>,
    /// Their password.
    pub password: SecretSource,
    /// API key, in the encoded form.
    pub api_key: SecretSource,
    /// Whether requests are compressed with gzip.
    pub compress: bool,
    /// How long a request may take.
    pub timeout: Duration,
    /// Certificates (PEM) that the server's is checked against, instead of the system's.
    pub ca: Option<PathBuf>,
}

/// Where HTTP requests go, and what is in them.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where requests go; a secret, because those of chat services hold a token.
    pub url: SecretSource,
    /// What is in them.
    pub format: WebhookFormat,
    /// Headers of every request; none that the sink decides, such as `content-type`.
    pub headers: Vec<(String, Secret)>,
    /// Signs requests, by the scheme of Standard Webhooks: `whsec_` and base64, or any text.
    pub secret: SecretSource,
    /// How long a request may take.
    pub timeout: Duration,
    /// Requests at a time; those of one service follow each other.
    pub concurrency: usize,
    /// Alerts of these phases are sent.
    pub phases: Vec<AlertPhase>,
    /// Alerts of these rules are sent; empty: of all.
    pub rules: Vec<String>,
    /// Certificates (PEM) that the server's is checked against, instead of the system's.
    pub ca: Option<PathBuf>,
}

/// What a webhook's requests hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFormat {
    /// The record's value as it is.
    Json,
    /// CloudEvents 1.0, structured mode.
    CloudEvents,
    /// Prometheus Alertmanager, `/api/v2/alerts`.
    Alertmanager,
    /// A message for an incoming webhook of Slack, or of what speaks the same.
    Slack,
}
