//! The daemon as a process.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use super::{http, metrics::Metrics, wait};

/// A running daemon; dropping it kills it.
pub struct Daemon {
    child: Child,
    http: SocketAddr,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command`, whose output goes to `log`.
    pub fn spawn(mut command: Command, http: SocketAddr, log: PathBuf) -> Self {
        if !cfg!(feature = "failpoints") {
            panic!("build with `--features failpoints`, as `cargo xtask test` does");
        }
        let file = File::create(&log).unwrap();
        command.stdout(Stdio::from(file.try_clone().unwrap())).stderr(Stdio::from(file));
        Self { child: command.spawn().unwrap(), http, log }
    }

    /// Status and text of a page.
    pub fn get(&self, path: &str) -> Option<http::Answer> {
        http::get(self.http, path)
    }

    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|answer| answer.status == 200)
    }

    /// Waits until the pipeline runs.
    pub fn wait_ready(&mut self) {
        wait::until_true("the daemon to be ready", || {
            self.assert_running();
            self.is_ready()
        });
    }

    /// Waits until it says that it is not ready, and returns the reason.
    pub fn wait_not_ready(&mut self) -> String {
        wait::until("the daemon to be unready", || {
            self.assert_running();
            self.get("/readyz").filter(|answer| answer.status == 503).map(|answer| answer.body)
        })
    }

    /// The process has not ended.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the daemon ended with {status}");
        }
    }

    pub fn metrics(&self) -> Metrics {
        let answer = wait::until("the metrics", || self.get("/metrics"));
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics::parse(&answer.body)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Any signal, by its name.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for the process to end.
    pub fn wait_exit(&mut self) -> ExitStatus {
        wait::until("the daemon to end", || self.child.try_wait().unwrap())
    }

    /// Waits for the process to end with an exit code, and returns what it wrote.
    pub fn wait_exit_code(mut self, code: i32) -> String {
        let status = self.wait_exit();
        assert_eq!(status.code(), Some(code), "{status}");
        self.log()
    }

    /// SIGTERM, and the end has to be an orderly one.
    pub fn stop(self) {
        self.terminate();
        self.wait_exit_code(0);
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the end of {} ---", self.log.display());
            lines[lines.len().saturating_sub(60)..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}
