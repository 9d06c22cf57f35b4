//! A broker of a test's own, started by `cargo xtask kafka`.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

pub struct Broker {
    child: Child,
    pub address: String,
}

impl Broker {
    /// Starts a broker with its data in `dir`, and properties of its own.
    pub fn start(dir: &Path, port: Option<&str>, settings: &[String]) -> Self {
        let mut command = match std::env::var_os("TIDEGATE_XTASK") {
            Some(xtask) => Command::new(xtask),
            None => {
                let mut cargo = Command::new(env!("CARGO"));
                cargo.args(["run", "--quiet", "--locked", "--package", "xtask", "--"]);
                cargo
            }
        };
        command.args(["kafka", "--with-stdin", "--dir"]).arg(dir);
        if let Some(port) = port {
            command.args(["--port", port]);
        }
        settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.starts_with("127.0.0.1:"), "xtask could not start a broker");
        Self { child, address: address.trim().to_owned() }
    }

    /// Sends a signal to the broker that has its data in `dir`.
    pub fn signal(dir: &Path, signal: &str) {
        let pid = fs::read_to_string(dir.join("broker.pid")).unwrap();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The end of its standard input stops it, and the broker with it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
