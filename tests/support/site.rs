//! A place of its own for one test: topics, configuration, directory, port.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

use super::{
    daemon::Daemon,
    embedded,
    events::sentinels,
    geo,
    kafka::{CommittedWatch, Input, Kafka, Producer, Record},
    oracle::Job,
    wait::{now_ms, until_true},
};

/// Names of the five topics.
#[derive(Debug, Clone)]
pub struct Topics {
    pub raw: String,
    pub processed: String,
    pub alerts: String,
    pub dead_letters: String,
    pub state: String,
}

impl Topics {
    fn of(name: &str) -> Self {
        let topic = |role: &str| format!("{name}.{role}");
        let [raw, processed, alerts] = ["raw", "processed", "alerts"].map(topic);
        Self { raw, processed, alerts, dead_letters: topic("dead"), state: topic("state") }
    }

    /// All of them.
    pub fn all(&self) -> [&str; 5] {
        [&self.raw, &self.processed, &self.alerts, &self.dead_letters, &self.state]
    }
}

/// What a finished command left.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// See the module.
pub struct Site {
    /// Unique; also the group and the transactional id.
    pub name: String,
    pub kafka: Kafka,
    pub topics: Topics,
    pub partitions: i32,
    pub job: Job,
    pub http: SocketAddr,
    pub state_dir: PathBuf,
    dir: TempDir,
    settings: Vec<(String, String)>,
    producer: OnceLock<Producer>,
    watch: OnceLock<CommittedWatch>,
    starts: AtomicU32,
    /// A second site on the topics of another leaves them to it.
    owns_topics: bool,
    /// Its topics are in an embedded log; what writes or reads them here needs the daemon to be down.
    is_embedded: bool,
}

impl Site {
    /// A site on the tests' broker. Nothing exists yet, see [`Self::create`].
    pub fn new(name: &str, partitions: i32) -> Self {
        Self::at(Kafka::from_env(), name, partitions)
    }

    /// A site on an embedded log, without a broker. Nothing exists yet, see [`Self::create`].
    pub fn embedded(name: &str, partitions: i32) -> Self {
        let mut site = Self::at(Kafka::nowhere(), name, partitions);
        (site.is_embedded, site.owns_topics) = (true, false);
        site.set("log", r#""embedded""#)
    }

    /// A site on a cluster.
    pub fn at(kafka: Kafka, name: &str, partitions: i32) -> Self {
        static SITES: AtomicU32 = AtomicU32::new(0);
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{}-{number}", now_ms(), std::process::id());
        let dir = tempfile::Builder::new().prefix("tidegate-test-").tempdir().unwrap();
        fs::write(dir.path().join("geo.mmdb"), geo::database()).unwrap();
        let mut site = Self {
            topics: Topics::of(&name),
            name,
            kafka,
            partitions,
            job: Job::default(),
            http: free_address(),
            state_dir: dir.path().join("state"),
            dir,
            settings: Vec::new(),
            producer: OnceLock::new(),
            watch: OnceLock::new(),
            starts: AtomicU32::new(0),
            owns_topics: true,
            is_embedded: false,
        };
        site.basics();
        site
    }

    fn basics(&mut self) {
        let text = |text: &str| format!("{text:?}");
        let mut settings = vec![
            ("kafka.bootstrap_servers", text(&self.kafka.bootstrap)),
            ("kafka.group_id", text(&self.name)),
            ("kafka.transactional_id", text(&self.name)),
            ("kafka.start", text("earliest")),
            ("geo.database", text(&self.geo_path().display().to_string())),
            ("geo.reload_every", text("1s")),
            ("checkpoint.interval", text("50ms")),
            ("state.dir", text(&self.state_dir.display().to_string())),
            ("http.listen", text(&self.http.to_string())),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect::<Vec<_>>();
        let counts = [self.partitions, self.partitions, 2, 2, self.partitions];
        let roles = ["raw", "processed", "alerts", "dead_letters", "state"];
        for ((role, topic), count) in roles.into_iter().zip(self.topics.all()).zip(counts) {
            settings.push((format!("topics.{role}.name"), text(topic)));
            settings.push((format!("topics.{role}.partitions"), count.to_string()));
            settings.push((format!("topics.{role}.replication_factor"), "1".into()));
        }
        self.settings = settings;
    }

    /// Sets one key of the configuration to a TOML value.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Event time for runs whose outcome must not depend on order: nothing within 20 minutes becomes late.
    pub fn order_free(self) -> Self {
        self.set("time.max_disorder", r#""30m""#)
    }

    /// The configuration's rules and whatever else decides about records.
    pub fn job(mut self, job: Job) -> Self {
        self.job = job;
        self
    }

    /// Writes the configuration and creates the topics.
    pub fn create(self) -> Self {
        self.write_config();
        let output = self.command(&["topics", "apply"]);
        assert_eq!(output.code, Some(0), "topics apply: {output:?}");
        self
    }

    /// A second site for the same topics, group and transactional id, with a directory and port of its own.
    pub fn sibling(&self) -> Self {
        let mut sibling = Self::at(self.kafka.clone(), "sibling", self.partitions);
        sibling.owns_topics = false;
        sibling.topics = self.topics.clone();
        sibling.name.clone_from(&self.name);
        sibling.job = self.job.clone();
        let own = ["state.dir", "http.listen", "geo.database"];
        let mut settings = self.settings.clone();
        settings.retain(|(key, _)| !own.contains(&key.as_str()));
        sibling.settings.retain(|(key, _)| own.contains(&key.as_str()));
        sibling.settings.append(&mut settings);
        sibling.write_config();
        sibling
    }

    /// Writes the configuration again, as it is now.
    pub fn write_config(&self) {
        let mut text: String =
            self.settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        self.job.rules.iter().for_each(|rule| text.push_str(&rule.toml()));
        fs::write(self.config_path(), text).unwrap();
    }

    pub fn config_path(&self) -> PathBuf {
        self.path("tidegate.toml")
    }

    pub fn geo_path(&self) -> PathBuf {
        self.path("geo.mmdb")
    }

    /// A path in the site's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of the product on this site's configuration, ready to run.
    pub fn tidegate(&self, args: &[&str]) -> Command {
        let mut command = tidegate(args);
        command.arg("--config").arg(self.config_path()).current_dir(self.dir.path());
        command
    }

    /// Runs a command of the product to its end.
    pub fn command(&self, args: &[&str]) -> Output {
        output(&mut self.tidegate(args))
    }

    /// Starts the daemon and waits until it is ready.
    pub fn run(&self) -> Daemon {
        let mut daemon = self.start(&[]);
        daemon.wait_ready();
        daemon
    }

    /// Starts the daemon with failpoints and waits until it is ready.
    pub fn run_with_failpoints(&self, failpoints: &str) -> Daemon {
        let mut daemon = self.start(&[("FAILPOINTS", failpoints)]);
        daemon.wait_ready();
        daemon
    }

    /// Processes what is in the input, and ends.
    pub fn run_until_end(&self) {
        self.start_until_end(&[]).wait_exit_code(0);
    }

    /// Starts a daemon that ends by itself, with more in its environment.
    pub fn start_until_end(&self, environment: &[(&str, &str)]) -> Daemon {
        self.spawn(&["run", "--until-end"], environment)
    }

    /// Starts the daemon, with more in its environment.
    pub fn start(&self, environment: &[(&str, &str)]) -> Daemon {
        self.spawn(&["run"], environment)
    }

    /// Starts a command that runs until it is stopped, with more in its environment.
    pub fn spawn(&self, args: &[&str], environment: &[(&str, &str)]) -> Daemon {
        let log = self.path(&format!("daemon-{}.log", self.starts.fetch_add(1, Ordering::Relaxed)));
        let mut command = self.tidegate(args);
        command.envs(environment.iter().copied()).env("TIDEGATE_LOG", "info");
        Daemon::spawn(command, self.http, log)
    }

    /// Writes records into the input topic.
    pub fn write<'a>(&self, inputs: impl IntoIterator<Item = &'a Input>) {
        if self.is_embedded {
            return embedded::append(&self.log_dir(), &self.topics.raw, inputs);
        }
        self.producer.get_or_init(|| self.kafka.producer()).write(&self.topics.raw, inputs);
    }

    /// Writes an event on each partition that moves the watermark to `timestamp` − `max_disorder`.
    pub fn write_sentinels(&self, timestamp: i64) {
        self.write(&sentinels(self.partitions, timestamp));
    }

    /// Asks for the committed offsets of the input.
    pub fn committed_watch(&self) -> CommittedWatch {
        self.kafka.committed_watch(&self.name, &self.topics.raw, self.partitions)
    }

    /// Waits until all that was written is committed.
    pub fn await_caught_up(&self) {
        let ends = self.kafka.end_offsets(&self.topics.raw);
        let watch = self.watch.get_or_init(|| self.committed_watch());
        until_true("the daemon to commit the whole input", || watch.offsets().is_some_and(|now| now == ends));
    }

    /// All records of the input.
    pub fn input(&self) -> Vec<Record> {
        self.dump(&self.topics.raw)
    }

    /// All committed records of a topic, one partition after the other.
    pub fn dump(&self, topic: &str) -> Vec<Record> {
        if self.is_embedded { embedded::dump(&self.log_dir(), topic) } else { self.kafka.dump(topic) }
    }

    /// One past the last offset of each partition of the input.
    pub fn input_ends(&self) -> Vec<i64> {
        if self.is_embedded {
            embedded::ends(&self.log_dir(), &self.topics.raw)
        } else {
            self.kafka.end_offsets(&self.topics.raw)
        }
    }

    /// Where the embedded log is.
    pub fn log_dir(&self) -> PathBuf {
        self.state_dir.join("log")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A failed test leaves its topics to be looked at.
        if self.owns_topics && !std::thread::panicking() {
            self.kafka.delete_topics(&self.topics.all());
        }
    }
}

/// A command of the product without a configuration. The environment must not lead it astray.
pub fn tidegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).stdin(Stdio::null());
    command
        .env_remove("TIDEGATE_CONFIG")
        .env_remove("TIDEGATE_LOG")
        .env_remove("RUST_LOG")
        .env_remove("FAILPOINTS");
    command
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// An address of this machine that is free at the moment.
pub fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// The files below a directory.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
