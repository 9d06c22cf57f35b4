//! The directory of a demo: its configuration, geo database and log.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tidegate_config::{Resolved, Settings, Source};
use tidegate_host::Clock;
use tidegate_state::StateDir;
use tidegate_traffic::mmdb_writer::sample_city_database;

use crate::{daemon::Failure, exit, traffic::Plan};

/// See the module.
pub(super) struct Home {
    path: PathBuf,
    /// Deleted at the end, unless the directory was given.
    temporary: Option<TempDir>,
    /// There was a demo in it before.
    is_known: bool,
}

impl Home {
    /// Makes the directory, if need be, and what a daemon needs in it.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, Failure> {
        let cannot =
            |error: io::Error| Failure::failed(format_args!("cannot make the demo's directory: {error}"));
        let temporary = match dir {
            Some(dir) => {
                fs::create_dir_all(dir).map_err(cannot)?;
                None
            }
            None => Some(tempfile::Builder::new().prefix("tidegate-demo-").tempdir().map_err(cannot)?),
        };
        let path = temporary.as_ref().map_or(dir.unwrap_or(Path::new(".")), TempDir::path);
        let path = fs::canonicalize(path).map_err(cannot)?;
        let home = Self { is_known: path.join("tidegate.toml").exists(), path, temporary };
        if !home.is_known {
            home.furnish().map_err(cannot)?;
        }
        Ok(home)
    }

    fn furnish(&self) -> io::Result<()> {
        let now_s = u64::try_from(Clock::start().now().0 / 1000).unwrap_or_default();
        fs::write(self.path.join("geo.mmdb"), sample_city_database(now_s))?;
        // JSON's strings are TOML's.
        let quoted = |path: PathBuf| serde_json::to_string(&path.display().to_string());
        let text = format!(
            r#"# Written by `tidegate demo`.
log = "embedded"

[kafka]
start = "earliest"

[topics]
raw.partitions = 4
processed.partitions = 4
alerts.partitions = 1
state.partitions = 4

[geo]
database = {}

[[rules]]
name = "high-error-rate"
threshold = 50

[[rules]]
name = "error-burst"
window = "10s"
threshold = 100

[state]
dir = {}
"#,
            quoted(self.path.join("geo.mmdb"))?,
            quoted(self.path.join("data"))?,
        );
        fs::write(self.config(), text)
    }

    fn config(&self) -> PathBuf {
        self.path.join("tidegate.toml")
    }

    /// The configuration in the directory, with `overrides`.
    pub(super) fn resolve(&self, overrides: Vec<String>) -> Result<Resolved, Failure> {
        let no_variables = |_: &str| None;
        Source::read(&self.config(), overrides)
            .and_then(|source| tidegate_config::resolve(&source, &no_variables))
            .map_err(|problems| Failure::new(exit::CONFIGURATION, problems))
    }

    /// Takes the state directory.
    pub(super) fn lock(&self, settings: &Settings) -> Result<StateDir, Failure> {
        StateDir::open(&settings.state_dir).map_err(Failure::failed)
    }

    /// What a newcomer sees first.
    pub(super) fn introduction(&self, address: SocketAddr, plan: Plan) -> Vec<String> {
        let (dir, config) = (self.path.display(), self.config());
        let rate = match plan {
            Plan::Paced { rate, .. } => format!("{rate} events/s"),
            Plan::AtOnce { events } => format!("{events} events at once"),
        };
        let begun = if self.is_known { "going on in" } else { "in" };
        let kill = std::process::id();
        let errors = r#"for i in $(seq 60); do echo '{"event_type":"error","service_name":"mine"}'; done"#;
        [
            format!("tidegate demo: {rate} of made-up traffic, {begun} {dir}"),
            String::new(),
            format!("  http://{address}/          dashboard"),
            "  raise an alert of your own:".to_owned(),
            format!("    {errors} |"),
            format!("      curl --data-binary @- http://{address}/api/v1/events"),
            "  read alerts back:".to_owned(),
            format!("    curl 'http://{address}/api/v1/topics/alerts/records?limit=3'"),
            "  kill it and start again: nothing is lost, nothing is counted twice".to_owned(),
            format!("    kill -9 {kill}; {} demo --dir {dir}", program()),
            format!("  its configuration is {}; ctrl-C ends it", config.display()),
            String::new(),
        ]
        .into()
    }

    /// What is said at the end.
    pub(super) fn farewell(&self) -> String {
        match self.temporary {
            Some(_) => "its directory is deleted; `--dir DIR` keeps one".to_owned(),
            None => format!("go on with: {} demo --dir {}", program(), self.path.display()),
        }
    }
}

/// How this program was called, so that it can be called again.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "tidegate".to_owned())
}
