//! A Prometheus Alertmanager that tells nobody.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    Error,
    guard::Guarded,
    server::{Server, Setting, answers, free_port, output_to_log, wait_for_port},
};

/// The receiver has no way to send anything anywhere.
const CONFIG: &str = "route: {receiver: nobody, group_wait: 0s}\nreceivers: [{name: nobody}]\n";

/// Starts one with its data in `dir`; it has no settings.
pub(super) fn start(dir: &Path, port: Option<u16>, settings: &[Setting]) -> Result<Server, Error> {
    if !settings.is_empty() {
        return Err("alertmanager takes no --set".into());
    }
    // Debian's name, and its own.
    let program = ["prometheus-alertmanager", "alertmanager"].into_iter().find(|name| runs(name));
    let program = program.ok_or(
        "alertmanager is not installed (Debian: apt-get install prometheus-alertmanager). Or set \
         TIDEGATE_TEST_ALERTMANAGER to the URL of one that runs",
    )?;
    let config = dir.join("alertmanager.yml");
    fs::write(&config, CONFIG)?;
    let address = format!("127.0.0.1:{}", port.map_or_else(free_port, wait_for_port)?);
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.path={}", dir.join("data").display()));
    // Without a cluster's port.
    command.arg(format!("--web.listen-address={address}")).arg("--cluster.listen-address=");
    output_to_log(&mut command, dir, "alertmanager")?;
    let process = Guarded::spawn(&mut command, &["kill", "-TERM", "{pid}"], &["kill", "-KILL", "{pid}"])?;
    let url = format!("http://{address}");
    let ready = || Ok(answers(&format!("{url}/-/ready")).is_some());
    Server::new("alertmanager", url.clone(), dir, process, ready)
}

fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
