//! Configuration: what the user wrote, checked and resolved into what the parts need.
//!
//! A [`Source`] (a TOML file and overrides) is parsed with the place of every value, walked along the table of
//! keys in `keys.rs` and `sink_keys.rs`, and becomes [`Settings`], or [`Problems`]: all of them at once. The same
//! table of keys is printed as the default file, the JSON Schema and the reference.

mod checks;
mod document;
mod keys;
mod kind;
mod note;
mod problem;
mod properties;
mod publish;
mod secret;
mod settings;
mod show;
mod sink;
mod sink_keys;
mod source;
mod start;
mod suggest;
mod units;
mod variables;
mod walk;

pub use problem::{Problem, Problems};
pub use publish::{default_toml, json_schema, reference_markdown};
pub use secret::Secret;
pub use settings::{
    Filter, Geo, Kafka, Limits, LogFormat, LogKind, Pools, Settings, Supervision, Telemetry, Time, Topic,
    Topics,
};
pub use show::Resolved;
pub use sink::{Destination, Elasticsearch, Postgres, SecretSource, Sink, SslMode, Webhook, WebhookFormat};
pub use source::Source;
pub use start::Start;

/// Checks `source` and resolves it; `env` looks environment variables up.
///
/// # Errors
/// [`Problems`] with every problem found, if there is any; not only the first.
pub fn load(source: &Source, env: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Problems> {
    resolve(source, env).map(Resolved::into_settings)
}

/// What somebody outside this crate has against settings that are right as far as can be told here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// As [`load`], in a form that can also be shown.
///
/// # Errors
/// As [`load`].
pub fn resolve(source: &Source, env: &dyn Fn(&str) -> Option<String>) -> Result<Resolved, Problems> {
    resolve_with(source, env, &|_| Vec::new())
}

/// As [`resolve`]; settings that are right are shown to `object`, whose objections are problems like all others.
///
/// # Errors
/// As [`load`].
pub fn resolve_with(
    source: &Source,
    env: &dyn Fn(&str) -> Option<String>,
    object: &dyn Fn(&Settings) -> Vec<Objection>,
) -> Result<Resolved, Problems> {
    let mut document = document::read(source, env);
    let mut reports = std::mem::take(&mut document.reports);
    let mut secrets = std::mem::take(&mut document.secrets);
    if !document.not_toml {
        let mut walk = walk::Walk::over(&document);
        let settings = keys::read(&mut walk);
        checks::check(&settings, &mut walk);
        checks::unknown_keys(&mut walk);
        if walk.reports.is_empty() && reports.is_empty() {
            object(&settings).into_iter().for_each(|objection| walk.object(objection));
        }
        reports.append(&mut walk.reports);
        secrets.append(&mut walk.hidden);
        if reports.is_empty() {
            return Ok(Resolved::new(settings, walk.notes));
        }
    }
    let problems = reports.into_iter().map(|report| source.problem(&secrets, report));
    Err(Problems::new(problems.collect()))
}
