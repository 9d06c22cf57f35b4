//! An OpenSearch of one node, from maven and java.

use std::{fs, net::TcpListener, path::Path, process::Command};

use crate::{
    Error,
    guard::Guarded,
    maven, root,
    server::{Server, Setting, answers, output_to_log, wait_for_port},
};

/// The last one that runs with Java 17.
const VERSION: &str = "2.19.1";
/// The class that starts it takes no other ports.
const PORTS: std::ops::RangeInclusive<u16> = 9210..=9299;
/// It forms no cluster with others on this machine, and takes documents also when the disk is nearly full.
const SETTINGS: [(&str, &str); 4] = [
    ("network.host", "127.0.0.1"),
    ("transport.port", "0"),
    ("discovery.type", "single-node"),
    ("cluster.routing.allocation.disk.threshold_enabled", "false"),
];

/// Starts one with its data in `dir`; `settings` are of the kind that opensearch.yml holds.
pub(super) fn start(dir: &Path, port: Option<u16>, settings: &[Setting]) -> Result<Server, Error> {
    if let Some(port) = port.filter(|port| !PORTS.contains(port)) {
        return Err(format!("opensearch cannot listen at {port}, only at one of {PORTS:?}").into());
    }
    if let Some(missing) = maven::missing() {
        return Err(format!(
            "no OpenSearch: {missing}. Or set TIDEGATE_TEST_OPENSEARCH to the URL of one that runs"
        )
        .into());
    }
    let lib = maven::fetch(
        &root().join("xtask/opensearch/pom.xml"),
        &format!("-Dopensearch.version={VERSION}.0"),
        root().join(format!("target/opensearch/lib-{VERSION}")),
        &format!("OpenSearch {VERSION} (53 MB)"),
    )?;
    let config = dir.join("node_1/config");
    fs::create_dir_all(&config)?;
    let usual = SETTINGS.iter().map(|(name, value)| format!("{name}: {value}\n"));
    let own = settings.iter().map(|(name, value)| format!("{name}: {value}\n"));
    fs::write(config.join("opensearch.yml"), usual.chain(own).collect::<String>())?;
    let port = port.map_or_else(free_port, wait_for_port)?;
    // So that nobody else who answers at this port is taken for it.
    let name = format!("tidegate-{}-{port}", std::process::id());
    let mut java = Command::new("java");
    // What makes a short life cheap: only the quick compiler, one thread that collects garbage, no shared memory.
    java.args([
        "-Xms256m",
        "-Xmx512m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "-cp",
    ]);
    java.arg(format!("{}/*", lib.display())).arg("org.codelibs.opensearch.runner.OpenSearchRunner");
    // It listens at the port after its base.
    java.args(["-numOfNode", "1", "-clusterName", &name, "-baseHttpPort", &(port - 1).to_string()]);
    output_to_log(java.arg("-basePath").arg(dir), dir, "opensearch")?;
    let process = Guarded::spawn(&mut java, &["kill", "-TERM", "{pid}"], &["kill", "-KILL", "{pid}"])?;
    let url = format!("http://127.0.0.1:{port}");
    // Once what it had stored can be found again.
    let health = format!("{url}/_cluster/health?wait_for_status=yellow&timeout=1s");
    let ready = || match answers(&health) {
        Some(text) if !text.contains(&name) => Err(format!("somebody else was faster at {url}").into()),
        answer => Ok(answer.is_some()),
    };
    Server::new("opensearch", url.clone(), dir, process, ready)
}

/// Beginning somewhere: two that start at the same time should not ask for the same one.
fn free_port() -> Result<u16, Error> {
    let count = PORTS.len();
    let start = std::process::id() as usize * 7 % count;
    let mut ports = PORTS.cycle().skip(start).take(count);
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.ok_or_else(|| format!("all ports of {PORTS:?} are taken").into())
}
