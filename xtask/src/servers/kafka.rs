//! An Apache Kafka of one node: from Docker, or from maven and java.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    Error,
    guard::Guarded,
    maven, root,
    server::{Server, Setting, free_port, output_to_log, wait_for_port},
};

pub(crate) const VERSION: &str = "4.3.1";
/// Any 16 bytes will do as the cluster's id, but a directory keeps the one it was formatted with.
const CLUSTER_ID: &str = "dGlkZWdhdGUta2Fma2EtMQ";

/// A running broker; dropping it stops it.
pub(crate) struct Broker {
    pub(crate) server: Server,
    in_docker: bool,
}

impl Broker {
    /// Starts a broker with its data in `dir` and waits until it answers. `settings` are broker properties that
    /// are added to the usual ones, or replace them.
    pub(crate) fn start(dir: &Path, port: Option<u16>, settings: &[Setting]) -> Result<Self, Error> {
        fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let port = port.map_or_else(free_port, wait_for_port)?;
        let in_docker = docker_answers();
        let process =
            if in_docker { in_container(&dir, port, settings)? } else { in_java(&dir, port, settings)? };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        // The port opens when the broker has registered, recovered its logs and serves requests.
        let ready = || Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok());
        Ok(Self { server: Server::new("broker", address.to_string(), &dir, process, ready)?, in_docker })
    }

    /// The process of the broker itself, which a container hides.
    pub(crate) fn java_id(&self) -> Option<u32> {
        (!self.in_docker).then(|| self.server.id())
    }
}

/// What makes a single node work, and keeps it small; all else is Kafka's default, or as `settings` say.
fn properties(
    listen: &str,
    port: u16,
    controller_port: u16,
    data: &Path,
    settings: &[Setting],
) -> BTreeMap<String, String> {
    let usual = [
        ("process.roles", "broker,controller".into()),
        ("node.id", "1".into()),
        ("controller.quorum.voters", format!("1@127.0.0.1:{controller_port}")),
        ("listeners", format!("PLAINTEXT://{listen}:{port},CONTROLLER://127.0.0.1:{controller_port}")),
        ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
        ("controller.listener.names", "CONTROLLER".into()),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".into()),
        ("log.dirs", data.display().to_string()),
        ("offsets.topic.replication.factor", "1".into()),
        ("offsets.topic.num.partitions", "4".into()),
        ("transaction.state.log.replication.factor", "1".into()),
        ("transaction.state.log.min.isr", "1".into()),
        ("transaction.state.log.num.partitions", "4".into()),
        ("share.coordinator.state.topic.replication.factor", "1".into()),
        ("share.coordinator.state.topic.min.isr", "1".into()),
        ("group.initial.rebalance.delay.ms", "0".into()),
        // Who kills members of groups need not wait for Kafka's 6 s until they are missed.
        ("group.min.session.timeout.ms", "1000".into()),
        ("auto.create.topics.enable", "false".into()),
    ];
    let usual = usual.map(|(name, value): (&str, String)| (name.to_owned(), value));
    usual.into_iter().chain(settings.iter().cloned()).collect()
}

fn docker_answers() -> bool {
    Command::new("docker")
        .arg("info")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

fn in_container(dir: &Path, port: u16, settings: &[Setting]) -> Result<Guarded, Error> {
    let name = format!("tidegate-kafka-{port}");
    let data = dir.join("data");
    fs::create_dir_all(&data)?;
    let owner = fs::metadata(&data)?;
    let mut command = Command::new("docker");
    command.args(["run", "--rm", "--name", &name]);
    // With settings of its own it may be one of several brokers, which must reach each other.
    let (listen, network) = if settings.is_empty() {
        ("0.0.0.0", ["--publish".to_owned(), format!("127.0.0.1:{port}:{port}")])
    } else {
        ("127.0.0.1", ["--network".to_owned(), "host".to_owned()])
    };
    command.args(network);
    command.args(["--volume", &format!("{}:/data", data.display())]);
    command.args(["--user", &format!("{}:{}", owner.uid(), owner.gid())]);
    command.args(["--env", "KAFKA_HEAP_OPTS=-Xms512m -Xmx1g", "--env", &format!("CLUSTER_ID={CLUSTER_ID}")]);
    // The image takes its configuration as variables: the property's name in capitals, dots as underscores.
    // port 0 never reaches the controller: inside the container any port is free.
    let controller_port = if port == 9093 { 9094 } else { 9093 };
    for (key, value) in properties(listen, port, controller_port, Path::new("/data"), settings) {
        command.args(["--env", &format!("KAFKA_{}={value}", key.to_uppercase().replace('.', "_"))]);
    }
    output_to_log(command.arg(format!("apache/kafka:{VERSION}")), dir, "broker")?;
    // The container is the engine's child, not ours: killing the client would leave it behind.
    Guarded::spawn(&mut command, &["docker", "stop", &name], &["docker", "kill", &name])
}

fn in_java(dir: &Path, port: u16, settings: &[Setting]) -> Result<Guarded, Error> {
    let class_path = format!("{}/*", jars()?.display());
    let config = dir.join("server.properties");
    let data = dir.join("data");
    let lines: Vec<String> = properties("127.0.0.1", port, free_port()?, &data, settings)
        .into_iter()
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect();
    fs::write(&config, lines.concat())?;
    let java = |heap: [&str; 2], class: &str| -> Result<Command, Error> {
        let mut command = Command::new("java");
        command.args(heap).arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn").args([
            "-cp",
            &class_path,
            class,
        ]);
        output_to_log(&mut command, dir, "broker")?;
        Ok(command)
    };
    if !data.join("meta.properties").exists() {
        let mut format = java(["-Xms64m", "-Xmx256m"], "kafka.tools.StorageTool")?;
        format.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&config);
        let status = format.status()?;
        if !status.success() {
            return Err(
                format!("formatting {} failed ({status}), see broker.log there", dir.display()).into()
            );
        }
    }
    let mut broker = java(["-Xms512m", "-Xmx1g"], "kafka.Kafka")?;
    Guarded::spawn(broker.arg(&config), &["kill", "-TERM", "{pid}"], &["kill", "-KILL", "{pid}"])
}

/// Kafka's jars, fetched once by maven into the target directory.
fn jars() -> Result<PathBuf, Error> {
    if let Some(missing) = maven::missing() {
        return Err(format!(
            "no broker for the tests: no Docker engine answers, and without one {missing}. Or set \
             TIDEGATE_TEST_KAFKA=HOST:PORT to a broker that runs"
        )
        .into());
    }
    let lib = root().join("target/kafka").join(format!("lib-{VERSION}"));
    let version = format!("-Dkafka.version={VERSION}");
    maven::fetch(
        &root().join("xtask/kafka/pom.xml"),
        &version,
        lib,
        &format!("Apache Kafka {VERSION} (44 MB)"),
    )
}
