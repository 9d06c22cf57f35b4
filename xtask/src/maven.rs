//! Jars from the Maven registry.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use crate::Error;

/// The jars that a pom names, fetched once into `lib`; `what` and its size tell why it takes a while.
pub(crate) fn fetch(pom: &Path, version: &str, lib: PathBuf, what: &str) -> Result<PathBuf, Error> {
    // Servers start side by side, and maven's own directory is for one at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    if lib.exists() {
        return Ok(lib);
    }
    eprintln!("fetching {what} with maven, once");
    // Into a directory of our own first: a fetch that was cut off must not look like a whole one.
    let partial = lib.with_extension(std::process::id().to_string());
    // Standard output is ours: a broker's address is its first line.
    let output = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "-Dstyle.color=never", "--file"])
        .arg(pom)
        .arg(version)
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", partial.display()))
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stdout);
        return Err(format!("maven could not fetch {what} ({})\n{words}", output.status).into());
    }
    match fs::rename(&partial, &lib) {
        // Another xtask was faster.
        Err(_) if lib.exists() => fs::remove_dir_all(&partial)?,
        other => other?,
    }
    Ok(lib)
}

/// What has to be installed before jars can be fetched and run.
pub(crate) fn missing() -> Option<String> {
    let tools: Vec<&str> = ["java", "mvn"].into_iter().filter(|tool| !runs(tool)).collect();
    (!tools.is_empty()).then(|| {
        format!(
            "{} must be installed (java 17 or newer, and maven; Debian: apt-get install \
             openjdk-17-jre-headless maven)",
            tools.join(" and ")
        )
    })
}

/// Whether a tool of Java's world is there.
pub(crate) fn runs(tool: &str) -> bool {
    Command::new(tool)
        .arg("-version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}
