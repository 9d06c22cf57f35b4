//! The job for Apache Flink that `cargo xtask bench --flink` compares with.

use std::{fs, path::PathBuf, process::Command};

use crate::{Error, maven, root};

const VERSION: &str = "2.2.1";

/// Fetches Flink and compiles the job; returns the directory of both.
pub(crate) fn build() -> Result<PathBuf, Error> {
    let missing: Vec<&str> = ["java", "javac", "mvn"].into_iter().filter(|tool| !maven::runs(tool)).collect();
    if !missing.is_empty() {
        return Err(format!(
            "flink needs {}: install a JDK of 17 or newer, and maven",
            missing.join(" and ")
        )
        .into());
    }
    let (source, target) = (root().join("bench/flink"), root().join("target/flink"));
    let version = format!("-Dflink.version={VERSION}");
    let what = format!("Apache Flink {VERSION} (83 MB)");
    let lib = maven::fetch(&source.join("pom.xml"), &version, target.join("lib"), &what)?;
    let mut javac = Command::new("javac");
    javac.args(["--release", "17", "-nowarn", "-cp"]).arg(format!("{}/*", lib.display()));
    javac.arg("-d").arg(target.join("classes"));
    for file in fs::read_dir(source.join("src/main/java/tidegate/flink"))? {
        javac.arg(file?.path());
    }
    let output = javac.output()?;
    if !output.status.success() {
        return Err(format!("the job does not compile\n{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(target)
}
