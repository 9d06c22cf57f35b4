//! The servers that can be had: which there are, how the tests find them, and how they are started.

mod alertmanager;
pub(crate) mod kafka;
mod opensearch;
mod postgres;

use std::{env, fs, path::PathBuf, thread};

use tempfile::TempDir;

use crate::{
    Error, root,
    server::{Server, Setting},
};

/// One of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Kafka,
    Postgres,
    OpenSearch,
    Alertmanager,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Kafka, Self::Postgres, Self::OpenSearch, Self::Alertmanager];

    /// Its name as a command.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
            Self::OpenSearch => "opensearch",
            Self::Alertmanager => "alertmanager",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The environment variable that tells the tests its address.
    pub(crate) fn variable(self) -> String {
        format!("TIDEGATE_TEST_{}", self.name().to_uppercase())
    }

    /// Its address, if somebody else runs one for the tests.
    pub(crate) fn given(self) -> Option<String> {
        env::var(self.variable()).ok().filter(|address| !address.is_empty())
    }

    /// Starts it and waits until it can be used. Its data is in `dir`, or in a temporary directory that goes with
    /// it.
    pub(crate) fn start(
        self,
        dir: Option<PathBuf>,
        port: Option<u16>,
        settings: &[Setting],
    ) -> Result<Server, Error> {
        let (dir, temporary) = match dir {
            Some(dir) => (dir, None),
            None => self.temporary_dir().map(|temporary| (temporary.path().to_owned(), Some(temporary)))?,
        };
        fs::create_dir_all(&dir)?;
        let dir = dir.canonicalize()?;
        let server = match self {
            Self::Kafka => kafka::Broker::start(&dir, port, settings)?.server,
            Self::Postgres => postgres::start(&dir, port, settings)?,
            Self::OpenSearch => opensearch::start(&dir, port, settings)?,
            Self::Alertmanager => alertmanager::start(&dir, port, settings)?,
        };
        Ok(server.with(temporary))
    }

    fn temporary_dir(self) -> Result<TempDir, Error> {
        // Kafka's files are large, and the others' user may have no way into the checkout.
        let parent = if self == Self::Kafka { root().join("target/kafka") } else { env::temp_dir() };
        fs::create_dir_all(&parent)?;
        Ok(tempfile::Builder::new().prefix(&format!("tidegate-{}-", self.name())).tempdir_in(parent)?)
    }

    /// Lines for the daemon's configuration: a sink that delivers to it.
    pub(crate) fn sink(self, server: &Server) -> String {
        let address = &server.address;
        let (name, topic, keys) = match self {
            Self::Kafka => return format!("[kafka]\nbootstrap_servers = \"{address}\"\n"),
            Self::Postgres => {
                let ca = postgres::ca(&server.dir);
                let url = format!("url = \"{address}?sslmode=verify-full\"\nca = \"{}\"", ca.display());
                ("warehouse", "processed", format!("type = \"postgres\"\n{url}"))
            }
            Self::OpenSearch => {
                let index = "index = \"processed-{yyyy}.{MM}.{dd}\"";
                ("search", "processed", format!("type = \"elasticsearch\"\nurl = \"{address}\"\n{index}"))
            }
            Self::Alertmanager => {
                let url = format!("url = \"{address}/api/v2/alerts\"");
                ("pager", "alerts", format!("type = \"webhook\"\nformat = \"alertmanager\"\n{url}"))
            }
        };
        format!("[[sinks]]\nname = \"{name}\"\ntopic = \"{topic}\"\n{keys}\n")
    }
}

/// Starts servers side by side; an outcome for each.
pub(crate) fn start_all(kinds: &[Kind]) -> Vec<Result<Server, String>> {
    thread::scope(|scope| {
        let start = |kind: Kind| kind.start(None, None, &[]).map_err(|error| error.to_string());
        let threads: Vec<_> = kinds.iter().map(|kind| scope.spawn(move || start(*kind))).collect();
        let outcomes = threads.into_iter().map(|thread| thread.join());
        outcomes.map(|outcome| outcome.unwrap_or_else(|_| Err("xtask panicked".to_owned()))).collect()
    })
}

/// The variables that tell the tests of a server that was started for them, or why there is none.
pub(crate) fn variables(kind: Kind, outcome: &Result<Server, String>) -> Vec<(String, String)> {
    let variable = kind.variable();
    match outcome {
        Err(reason) => vec![(format!("{variable}_MISSING"), reason.clone())],
        Ok(server) if kind == Kind::Postgres => {
            let ca = postgres::ca(&server.dir).display().to_string();
            vec![(format!("{variable}_CA"), ca), (variable, server.address.clone())]
        }
        Ok(server) => vec![(variable, server.address.clone())],
    }
}
