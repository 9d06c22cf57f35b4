//! A broker of a test's own, which may be killed.

use std::{
    env, fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{kafka::Kafka, site::free_address, wait};

/// A private broker. It is down at first; what it stored stays when it is killed.
pub struct Broker {
    pub kafka: Kafka,
    address: SocketAddr,
    dir: TempDir,
    settings: Vec<String>,
    process: Option<Child>,
}

impl Broker {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With properties of the broker, `name=value`.
    pub fn with(settings: &[&str]) -> Self {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let address = free_address();
        let dir = tempfile::Builder::new().prefix("tidegate-kafka-").tempdir().unwrap();
        Self { kafka: Kafka::at(address.to_string()), address, dir, settings, process: None }
    }

    /// Starts it; [`Self::wait_up`] waits for it.
    pub fn start(&mut self) {
        let mut command = Command::new(xtask());
        command.args(["kafka", "--with-stdin", "--port", &self.address.port().to_string(), "--dir"]);
        command.arg(self.dir.path()).env_remove("TIDEGATE_TEST_KAFKA");
        self.settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
        // The broker ends with this process: its standard input closes.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(fs::File::create(self.log()).unwrap());
        self.process = Some(command.spawn().unwrap());
    }

    /// Waits until it takes connections.
    pub fn wait_up(&mut self) {
        wait::until_true("the broker to start", || {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "no broker: {}", fs::read_to_string(self.log()).unwrap());
            self.answers()
        });
    }

    /// Kills it with SIGKILL: it can neither write nor say anything more.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        // Who watches over the broker kills it in the same way when its starter dies.
        process.kill().unwrap();
        process.wait().unwrap();
        wait::until_true("the killed broker to be gone", || !self.answers());
    }

    /// Stops it in the middle of whatever it does, or lets it go on: `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = fs::read_to_string(self.dir.path().join("broker.pid")).unwrap();
        let in_container =
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.contains("docker"));
        let signal = format!("-{name}");
        let done = if in_container {
            let container = format!("tidegate-kafka-{}", self.address.port());
            Command::new("docker").args(["kill", "--signal", name, &container]).status()
        } else {
            Command::new("kill").args([&signal, &pid]).status()
        };
        assert!(done.unwrap().success(), "cannot send {name} to the broker, process {pid}");
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("xtask.log")
    }

    fn answers(&self) -> bool {
        TcpStream::connect(self.address).is_ok()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

/// The program that knows how to start a broker: given by `cargo xtask test`, else beside the daemon.
fn xtask() -> PathBuf {
    if let Some(path) = env::var_os("TIDEGATE_XTASK") {
        return path.into();
    }
    let path = Path::new(env!("CARGO_BIN_EXE_tidegate")).with_file_name("xtask");
    assert!(path.exists(), "there is no {}: run `cargo xtask test`", path.display());
    path
}
