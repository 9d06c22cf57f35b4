//! A server of one's own, to stop and start.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// Whose the server is when root runs the tests: the server refuses root.
const NOBODY: u32 = 65_534;

/// A server on a port of its own; dropped, it is stopped.
pub struct Server {
    dir: TempDir,
    pub port: u16,
    options: String,
}

impl Server {
    /// Starts one whose user `postgres` has the password `right`; `options` are the server's, and `files` are copied to where
    /// it runs.
    pub fn start(options: &str, files: &[&Path]) -> Self {
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { dir, port, options: options.to_owned() };
        own(server.dir.path());
        fs::write(server.path("password"), "right").unwrap();
        own(&server.path("password"));
        server.run(
            "initdb",
            &["-D", "data", "-U", "postgres", "-A", "scram-sha-256", "--pwfile", "password", "--no-sync"],
        );
        for file in files {
            let copy = server.path("data").join(file.file_name().unwrap());
            fs::copy(file, &copy).unwrap();
            own(&copy);
        }
        server.begin();
        server
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres:right@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops it as a power cut would, and starts it again.
    pub fn restart(&self) {
        self.run("pg_ctl", &["-D", "data", "-w", "-m", "immediate", "stop"]);
        self.begin();
    }

    fn begin(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= {}",
            self.port, self.options
        );
        self.run("pg_ctl", &["-D", "data", "-w", "-l", "log", "-o", &options, "start"]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.dir.path()).stdout(std::process::Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let status = command.status().unwrap_or_else(|error| {
            panic!("{program}: {error}; the programs of a PostgreSQL server must be on the PATH")
        });
        assert!(status.success(), "{program} {arguments:?}: {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-D", "data", "-m", "immediate", "stop"]);
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|of_process| std::os::unix::fs::MetadataExt::uid(&of_process) == 0)
}

fn own(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}
