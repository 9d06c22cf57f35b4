//! Places to work: topics, a group, a configuration and a state directory for each run, and the one input.

use std::{
    fs,
    fs::File,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use serde_json::json;
use tidegate_traffic::mmdb_writer::sample_city_database;

use crate::Error;

/// The input of all sites that are not given one.
pub(super) const RAW_TOPIC: &str = "raw-events";
/// The roles of the topics in the configuration; the first one is the input.
const ROLES: [&str; 5] = ["raw", "processed", "alerts", "dead_letters", "state"];
/// The geo database, in the workshop.
pub(super) const GEO: &str = "geo.mmdb";
/// When the geo database says it was built: any time will do.
const BUILT_AT_S: u64 = 1_760_000_000;

/// What all runs share.
pub(super) struct Workshop {
    pub(super) tidegate: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) kafka: String,
}

/// The input topic of a site.
pub(super) struct Input {
    pub(super) topic: String,
    pub(super) partitions: u32,
}

impl Default for Input {
    fn default() -> Self {
        Self { topic: RAW_TOPIC.to_owned(), partitions: 12 }
    }
}

/// What one run has for itself.
pub(super) struct Site {
    /// Unique; the group, the transactional id, and the beginning of all names of topics.
    pub(super) name: String,
    /// The input topic.
    pub(super) input: String,
    pub(super) config: PathBuf,
    /// What the program writes to its standard streams.
    pub(super) log: PathBuf,
    /// Address of the HTTP server.
    pub(super) http: String,
}

impl Site {
    /// The name of the topic of this role.
    pub(super) fn topic(&self, role: &str) -> String {
        format!("{}.{role}", self.name)
    }

    /// Adds to the configuration.
    pub(super) fn configure(&self, toml: &str) -> Result<(), Error> {
        Ok(File::options().append(true).open(&self.config)?.write_all(toml.as_bytes())?)
    }
}

impl Workshop {
    pub(super) fn open(dir: &Path, kafka: &str, tidegate: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        fs::write(dir.join(GEO), sample_city_database(BUILT_AT_S))?;
        Ok(Self { tidegate: tidegate.canonicalize()?, dir, kafka: kafka.to_owned() })
    }

    /// Writes the input.
    pub(super) fn load(&self, events: u64) -> Result<(), Error> {
        self.load_into(&Input::default(), events)
    }

    /// Writes another one.
    pub(super) fn load_into(&self, input: &Input, events: u64) -> Result<(), Error> {
        let site = self.site_with_input(&format!("load-{}", input.topic), input)?;
        let mut generate = self.tidegate(&["generate", "--seed", "1"], &site);
        generate.arg("--events").arg(events.to_string());
        finish(&mut generate, &site)?;
        self.remove(&site)
    }

    /// A new site with new topics.
    pub(super) fn site(&self, name: &str) -> Result<Site, Error> {
        self.site_with_input(name, &Input::default())
    }

    /// The same with an input that others do not have.
    pub(super) fn site_with_input(&self, name: &str, input: &Input) -> Result<Site, Error> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        let http = free_address()?.to_string();
        let site = Site {
            name: name.to_owned(),
            input: input.topic.clone(),
            config: dir.join("tidegate.toml"),
            log: dir.join("log"),
            http,
        };
        fs::write(&site.config, self.config(&site, &dir, input))?;
        finish(&mut self.tidegate(&["topics", "apply"], &site), &site)?;
        Ok(site)
    }

    /// The default configuration but for names, places and replicas.
    fn config(&self, site: &Site, dir: &Path, input: &Input) -> String {
        // JSON's strings are TOML's.
        let path = |path: PathBuf| json!(path.display().to_string());
        let (name, kafka, http) = (json!(site.name), json!(self.kafka), json!(site.http));
        let (geo, state) = (path(self.dir.join(GEO)), path(dir.join("state")));
        let mut text = format!(
            "[kafka]\nbootstrap_servers = {kafka}\ngroup_id = {name}\ntransactional_id = {name}\n\
             start = \"earliest\"\n\n[geo]\ndatabase = {geo}\n\n[state]\ndir = {state}\n\n\
             [http]\nlisten = {http}\n\n[topics]\n"
        );
        let Input { topic, partitions } = input;
        text += &format!("raw = {{ name = {topic:?}, partitions = {partitions}, replication_factor = 1 }}\n");
        for role in &ROLES[1..] {
            let topic = site.topic(role);
            text += &format!("{role} = {{ name = {topic:?}, replication_factor = 1 }}\n");
        }
        text
    }

    /// A command of the product with the site's configuration.
    pub(super) fn tidegate(&self, args: &[&str], site: &Site) -> Command {
        let mut command = Command::new(&self.tidegate);
        command.args(args).arg("--config").arg(&site.config);
        command
    }

    /// Deletes the topics; the next run should not pay for the disk of this one.
    pub(super) fn remove(&self, site: &Site) -> Result<(), Error> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.kafka).create()?;
        let topics: Vec<String> = ROLES[1..].iter().map(|role| site.topic(role)).collect();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        for deleted in runtime.block_on(admin.delete_topics(&names, &AdminOptions::new()))? {
            deleted.map_err(|(topic, code)| format!("deleting {topic}: {code}"))?;
        }
        Ok(())
    }
}

/// An address on loopback for a server. It is freed again before that takes it: nobody else starts servers here
/// meanwhile.
pub(super) fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// Sends what a command writes to the site's log.
pub(super) fn log_into(command: &mut Command, site: &Site) -> Result<(), Error> {
    let log = File::options().create(true).append(true).open(&site.log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(())
}

/// Runs a command to its end, which has to be a good one.
pub(super) fn finish(command: &mut Command, site: &Site) -> Result<(), Error> {
    log_into(command, site)?;
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{command:?} ended with {status}; see {}", site.log.display()).into())
}
