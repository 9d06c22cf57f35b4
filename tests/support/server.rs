//! A server of a test's own, which may be killed.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::wait;

/// It is down at first; what it stored stays when it is killed.
pub struct Server {
    name: &'static str,
    dir: TempDir,
    settings: Vec<String>,
    /// Always the same once it is known.
    port: Option<u16>,
    address: String,
    process: Option<Child>,
}

impl Server {
    /// One that `cargo xtask NAME` runs. Without a port it chooses one at its first start.
    pub fn new(name: &'static str, port: Option<u16>, settings: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix(&format!("tidegate-{name}-")).tempdir().unwrap();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Self { name, dir, settings, port, address: String::new(), process: None }
    }

    /// Where its data is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it; [`Self::wait_up`] waits for it.
    pub fn start(&mut self) {
        let mut command = Command::new(xtask());
        command.args([self.name, "--with-stdin", "--dir"]).arg(self.dir.path());
        self.port.iter().for_each(|port| _ = command.args(["--port", &port.to_string()]));
        self.settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
        // The server ends with this process: its standard input closes.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(self.log()).unwrap());
        self.process = Some(command.spawn().unwrap());
    }

    /// Waits until it can be used; returns its address.
    pub fn wait_up(&mut self) -> &str {
        if let Some(output) = self.process.as_mut().unwrap().stdout.take() {
            let mut line = String::new();
            // Who starts it gives up after a while, and closes its output.
            BufReader::new(output).read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "no {}: {}", self.name, fs::read_to_string(self.log()).unwrap());
            line.trim().clone_into(&mut self.address);
            self.port = Some(port_of(&self.address));
        }
        &self.address
    }

    /// Kills it with SIGKILL: it can neither write nor say anything more.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        // Who watches over the server kills it in the same way when its starter dies.
        process.kill().unwrap();
        process.wait().unwrap();
        let port = self.port.unwrap();
        wait::until_true("the killed server to be gone", || TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("xtask.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

/// The address of a server that `cargo xtask test` runs for all tests.
///
/// # Panics
/// Says what is missing, if it does not run.
pub fn address(name: &str) -> String {
    let variable = format!("TIDEGATE_TEST_{}", name.to_uppercase());
    let value = |variable: &str| env::var(variable).ok().filter(|value| !value.is_empty());
    value(&variable).unwrap_or_else(|| match value(&format!("{variable}_MISSING")) {
        Some(reason) => panic!("{reason}"),
        None => panic!("{variable} is not set: run `cargo xtask test`"),
    })
}

/// The number after the last colon of `host:port` or of a URL.
pub fn port_of(address: &str) -> u16 {
    let end = address.rsplit(':').next().unwrap();
    end.split('/').next().unwrap().parse().unwrap()
}

/// The program that knows how to start a server: given by `cargo xtask test`, else beside the daemon.
fn xtask() -> PathBuf {
    if let Some(path) = env::var_os("TIDEGATE_XTASK") {
        return path.into();
    }
    let path = Path::new(env!("CARGO_BIN_EXE_tidegate")).with_file_name("xtask");
    assert!(path.exists(), "there is no {}: run `cargo xtask test`", path.display());
    path
}
