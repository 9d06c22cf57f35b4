//! What a cluster has to have before documents go to it: looked at, and made.

use std::fmt;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, Content},
    index::IndexName,
    template::{differences, merged},
};

/// What was found in a cluster, or done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// It answers; with its name and version, if the credentials may ask for them.
    Connected(Option<String>),
    /// The credentials may create documents in these indices.
    MayCreate(String),
    /// They may not.
    MayNotCreate(String),
    /// The server cannot be asked whether they may.
    CannotTell,
    /// The target is a data stream, which has a template already: that is its owner's.
    DataStream(String),
    /// The index is there already, and keeps the mapping that it has: a template counts when an index is created.
    IndexIsThere(String),
    /// There is no template of this name.
    TemplateMissing(String),
    /// The template of this name is not as it should be; where, as dotted paths.
    TemplateDiffers(String, Vec<String>),
    /// The template of this name is as it should be.
    TemplateReady(String),
    /// The template of this name was created.
    TemplateCreated(String),
    /// The template of this name was changed to what it should be; what else is in it was kept.
    TemplateAltered(String),
}

impl Finding {
    /// Whether somebody has to do something about it.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        matches!(self, Self::MayNotCreate(_) | Self::TemplateMissing(_) | Self::TemplateDiffers(..))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(Some(version)) => write!(f, "connected to {version}"),
            Self::Connected(None) => f.write_str("connected; these credentials may not ask for the version"),
            Self::MayCreate(index) => write!(f, "may create documents in {index}"),
            Self::MayNotCreate(index) => write!(
                f,
                "may not create documents in {index}: the user or the key needs the privilege `create_doc` there"
            ),
            Self::CannotTell => f.write_str(
                "whether documents may be created cannot be asked here: the first one will show it",
            ),
            Self::DataStream(name) => write!(f, "{name} is a data stream, with a template of its own"),
            Self::IndexIsThere(name) => {
                write!(
                    f,
                    "index {name} is there and keeps the mapping that it has; the template is for new ones"
                )
            }
            Self::TemplateMissing(name) => {
                write!(f, "index template {name} is missing: `sinks apply` creates it")
            }
            Self::TemplateDiffers(name, paths) => write!(
                f,
                "index template {name} differs in {}: `sinks apply --alter` changes that, for new indices",
                paths.join(", ")
            ),
            Self::TemplateReady(name) => write!(f, "index template {name} is as it should be"),
            Self::TemplateCreated(name) => write!(f, "index template {name} created"),
            Self::TemplateAltered(name) => write!(f, "index template {name} changed"),
        }
    }
}

/// What a sink wants of a cluster.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) index: &'a IndexName,
    /// Name of the template.
    pub(super) name: String,
    pub(super) template: Value,
}

#[derive(Deserialize)]
struct Root {
    cluster_name: String,
    version: Version,
}

#[derive(Deserialize)]
struct Version {
    number: String,
    distribution: Option<String>,
}

/// Whether the cluster answers, and lets documents be created.
pub(super) async fn check(cluster: &mut Cluster, index: &IndexName) -> Result<Vec<Finding>, String> {
    let root = ask(cluster, Method::GET, "/", Content::Nothing, &[StatusCode::FORBIDDEN]).await?;
    let root = root.map(|body| serde_json::from_slice::<Root>(&body)).transpose();
    let root = root.map_err(|_| "what answers is neither Elasticsearch nor OpenSearch; look at `url`")?;
    let connected = root.map(|Root { cluster_name, version: Version { number, distribution } }| {
        format!("{} {number}, cluster {cluster_name}", distribution.as_deref().unwrap_or("elasticsearch"))
    });
    Ok(vec![Finding::Connected(connected), may_create(cluster, index.pattern()).await?])
}

/// Elasticsearch can be asked; OpenSearch, or a server without security, knows no such question.
async fn may_create(cluster: &mut Cluster, index: String) -> Result<Finding, String> {
    let question = json!({"index": [{"names": [index], "privileges": ["create_doc"]}]});
    let content = Content::Json(question.to_string().into_bytes());
    let path = "/_security/user/_has_privileges";
    let reply = cluster.ask(Method::POST, path, content).await.map_err(|failure| failure.cause)?;
    Ok(match read(&reply.body)["has_all_requested"].as_bool() {
        Some(true) => Finding::MayCreate(index),
        Some(false) => Finding::MayNotCreate(index),
        None if reply.status == StatusCode::UNAUTHORIZED => return Err(cluster.failure(&reply).cause),
        None => Finding::CannotTell,
    })
}

/// What is there and what is not.
pub(super) async fn plan(cluster: &mut Cluster, wanted: &Wanted<'_>) -> Result<Vec<Finding>, String> {
    look(cluster, wanted).await.map(|(findings, _)| findings)
}

/// Creates what is missing; with `alter`, changes what differs.
pub(super) async fn apply(
    cluster: &mut Cluster,
    wanted: &Wanted<'_>,
    alter: bool,
) -> Result<Vec<Finding>, String> {
    let (mut findings, real) = look(cluster, wanted).await?;
    for finding in &mut findings {
        let (template, done) = match finding {
            Finding::TemplateMissing(name) => {
                (wanted.template.clone(), Finding::TemplateCreated(name.clone()))
            }
            Finding::TemplateDiffers(name, _) if alter => {
                (merged(&wanted.template, real.clone()), Finding::TemplateAltered(name.clone()))
            }
            _ => continue,
        };
        let path = format!("/_index_template/{}", wanted.name);
        ask(cluster, Method::PUT, &path, Content::Json(template.to_string().into_bytes()), &[]).await?;
        *finding = done;
    }
    Ok(findings)
}

/// What is found, and the template as it is.
async fn look(cluster: &mut Cluster, wanted: &Wanted<'_>) -> Result<(Vec<Finding>, Value), String> {
    let mut findings = Vec::new();
    if let Some(name) = wanted.index.fixed() {
        let not_there = [StatusCode::NOT_FOUND];
        let streams =
            ask(cluster, Method::GET, &format!("/_data_stream/{name}"), Content::Nothing, &not_there).await?;
        // Of an index that is no data stream there is an empty list.
        if streams.is_some_and(|body| !read(&body)["data_streams"][0].is_null()) {
            return Ok((vec![Finding::DataStream(name.into())], Value::Null));
        }
        if ask(cluster, Method::HEAD, &format!("/{name}"), Content::Nothing, &not_there).await?.is_some() {
            findings.push(Finding::IndexIsThere(name.into()));
        }
    }
    let (name, path) = (wanted.name.clone(), format!("/_index_template/{}", wanted.name));
    let Some(body) = ask(cluster, Method::GET, &path, Content::Nothing, &[StatusCode::NOT_FOUND]).await?
    else {
        findings.push(Finding::TemplateMissing(name));
        return Ok((findings, Value::Null));
    };
    let real = read(&body)["index_templates"][0]["index_template"].take();
    let differences = differences(&wanted.template, &real);
    findings.push(if differences.is_empty() {
        Finding::TemplateReady(name)
    } else {
        Finding::TemplateDiffers(name, differences)
    });
    Ok((findings, real))
}

/// An answer; of one that cannot be read nothing is known.
fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

/// The body of a success; `None` if the answer is one of those that are expected as well.
async fn ask(
    cluster: &mut Cluster,
    method: Method,
    path: &str,
    content: Content,
    expected: &[StatusCode],
) -> Result<Option<Vec<u8>>, String> {
    let reply = cluster.ask(method, path, content).await.map_err(|failure| failure.cause)?;
    if reply.status.is_success() {
        return Ok(Some(reply.body));
    }
    if expected.contains(&reply.status) { Ok(None) } else { Err(cluster.failure(&reply).cause) }
}
