//! A broker of a test's own, which may be killed.

use std::{fs, process::Command};

use super::{
    kafka::Kafka,
    server::{Server, port_of},
    site::free_address,
};

/// A private broker. It is down at first; what it stored stays when it is killed.
pub struct Broker {
    pub kafka: Kafka,
    server: Server,
}

impl Broker {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With properties of the broker, `name=value`.
    pub fn with(settings: &[&str]) -> Self {
        let address = free_address();
        let server = Server::new("kafka", Some(address.port()), settings);
        Self { kafka: Kafka::at(address.to_string()), server }
    }

    /// Starts it; [`Self::wait_up`] waits for it.
    pub fn start(&mut self) {
        self.server.start();
    }

    /// Waits until it takes connections.
    pub fn wait_up(&mut self) {
        self.server.wait_up();
    }

    /// Kills it with SIGKILL: it can neither write nor say anything more.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Stops it in the middle of whatever it does, or lets it go on: `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = fs::read_to_string(self.server.dir().join("broker.pid")).unwrap();
        let in_container =
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.contains("docker"));
        let signal = format!("-{name}");
        let done = if in_container {
            let container = format!("tidegate-kafka-{}", port_of(&self.kafka.bootstrap));
            Command::new("docker").args(["kill", "--signal", name, &container]).status()
        } else {
            Command::new("kill").args([&signal, &pid]).status()
        };
        assert!(done.unwrap().success(), "cannot send {name} to the broker, process {pid}");
    }
}
