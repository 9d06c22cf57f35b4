//! What the destination of a sink has to have: looked at, and made. Nothing is ever dropped.

use tidegate_config::{Destination, Sink, WebhookFormat};
use tidegate_core::event::FieldPaths;

use crate::{
    check_url,
    elasticsearch::{self, Elasticsearch},
    postgres,
    webhook::{Alertmanager, Webhook},
};

/// A sink, as far as its destination is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// Its settings.
    pub sink: &'a Sink,
    /// The real name of the topic that it reads.
    pub topic_name: &'a str,
    /// Where the fields of events are.
    pub paths: &'a FieldPaths,
}

/// One thing about a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How it is.
    pub level: Level,
    /// In words.
    pub text: String,
    /// The statement that would mend it, if it is one of SQL.
    pub sql: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It was made so just now.
    Changed,
    /// Not as it would be created; the sink delivers all the same.
    Differs,
    /// Missing: the sink would deliver nothing, or not as it should.
    Missing,
}

impl Note {
    fn new(level: Level, text: impl ToString) -> Self {
        Self { level, text: text.to_string(), sql: None }
    }
}

impl Setup<'_> {
    /// What is there, what is missing, and what would be done about it. Changes nothing.
    ///
    /// # Errors
    /// In words, if the destination cannot be asked.
    pub async fn plan(&self) -> Result<Vec<Note>, String> {
        match &self.sink.destination {
            Destination::Postgres(settings) => {
                let planned = postgres::plan(settings, &self.sink.name, self.sink.topic).await;
                let changes = planned.map_err(|failure| failure.cause)?;
                Ok(or_ready(changes.iter().map(of_change).collect()))
            }
            Destination::Elasticsearch(settings) => {
                let findings = self.elasticsearch(settings).plan().await?;
                Ok(findings.iter().map(of_finding).collect())
            }
            Destination::Webhook(_) => Ok(nothing_to_create()),
        }
    }

    /// Creates what is missing; with `alter` changes what differs.
    ///
    /// # Errors
    /// In words, if the destination cannot be asked, or refuses.
    pub async fn apply(&self, alter: bool) -> Result<Vec<Note>, String> {
        match &self.sink.destination {
            Destination::Postgres(settings) => {
                let applied = postgres::apply(settings, &self.sink.name, self.sink.topic, alter).await;
                let (found, left) = applied.map_err(|failure| failure.cause)?;
                let done = found.iter().filter(|change| !left.contains(change));
                let done = done.map(|change| {
                    let sql = change.sql.clone();
                    Note { level: Level::Changed, text: change.finding.mended(), sql }
                });
                Ok(or_ready(done.chain(left.iter().map(of_change)).collect()))
            }
            Destination::Elasticsearch(settings) => {
                let findings = self.elasticsearch(settings).apply(alter).await?;
                Ok(findings.iter().map(of_finding).collect())
            }
            Destination::Webhook(_) => Ok(nothing_to_create()),
        }
    }

    /// Connects, and finds out whether the sink can deliver. Writes nothing.
    ///
    /// # Errors
    /// In words, if the destination cannot be reached.
    pub async fn check(&self) -> Result<Vec<Note>, String> {
        match &self.sink.destination {
            Destination::Postgres(settings) => {
                let checked = postgres::check(settings, &self.sink.name, self.sink.topic).await;
                let findings = checked.map_err(|failure| failure.cause)?;
                Ok(or_ready(findings.iter().map(of_checked).collect()))
            }
            Destination::Elasticsearch(settings) => {
                let mut destination = self.elasticsearch(settings);
                let mut findings = destination.check().await?;
                findings.extend(destination.plan().await?);
                Ok(findings.iter().map(of_finding).collect())
            }
            Destination::Webhook(settings) => {
                match settings.format {
                    WebhookFormat::Alertmanager => Alertmanager::new(settings).check().await?,
                    _ => Webhook::new(settings, self.sink.topic, self.topic_name).check().await?,
                }
                Ok(vec![Note::new(Level::Ok, "the server accepts connections; nothing was sent")])
            }
        }
    }

    /// What is wrong with the settings as far as can be told without a connection: the key, and why.
    #[must_use]
    pub fn objections(&self) -> Vec<(&'static str, String)> {
        let checked = match &self.sink.destination {
            Destination::Postgres(settings) => vec![("url", postgres::check_url(settings))],
            Destination::Elasticsearch(settings) => vec![
                ("url", check_url(&settings.url)),
                ("index", elasticsearch::check_index(&settings.index)),
            ],
            // A file may be there only where the daemon runs.
            Destination::Webhook(settings) => match &settings.url.value {
                Some(url) => vec![("url", check_url(url.expose()))],
                None => Vec::new(),
            },
        };
        checked.into_iter().filter_map(|(key, outcome)| outcome.err().map(|why| (key, why))).collect()
    }

    fn elasticsearch(&self, settings: &tidegate_config::Elasticsearch) -> Elasticsearch {
        Elasticsearch::new(settings, &self.sink.name, self.sink.topic, self.topic_name, self.paths)
    }
}

fn nothing_to_create() -> Vec<Note> {
    vec![Note::new(Level::Ok, "a webhook needs nothing to be created")]
}

fn or_ready(notes: Vec<Note>) -> Vec<Note> {
    if notes.is_empty() {
        return vec![Note::new(Level::Ok, "tables and columns are as they should be")];
    }
    notes
}

fn of_change(change: &postgres::Change) -> Note {
    let mut note = of_table(&change.finding);
    note.text += match (&change.sql, change.alters) {
        (None, _) => "; only a person can change that",
        (Some(_), false) => "; `sinks apply` creates it",
        (Some(_), true) => "; `sinks apply --alter` changes it",
    };
    note.sql.clone_from(&change.sql);
    note
}

fn of_checked(finding: &postgres::Finding) -> Note {
    let mut note = of_table(finding);
    note.text += match finding {
        postgres::Finding::NoTable { .. } => "; create it with `tidegate sinks apply`",
        postgres::Finding::NoColumn { .. } => "; add it with `tidegate sinks apply --alter`",
        _ => "",
    };
    note
}

fn of_table(finding: &postgres::Finding) -> Note {
    let level = if finding.stops_delivery() { Level::Missing } else { Level::Differs };
    Note::new(level, finding)
}

fn of_finding(finding: &elasticsearch::Finding) -> Note {
    use elasticsearch::Finding;
    let level = match finding {
        Finding::TemplateCreated(_) | Finding::TemplateAltered(_) => Level::Changed,
        Finding::TemplateDiffers(..) | Finding::CannotTell | Finding::IndexIsThere(_) => Level::Differs,
        finding if finding.is_problem() => Level::Missing,
        _ => Level::Ok,
    };
    Note::new(level, finding)
}
