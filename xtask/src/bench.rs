//! `cargo xtask bench`: builds, brings up a broker, and has the programs measured.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
    thread::sleep,
    time::Duration,
};

use crate::{
    Error, flink,
    guard::Guarded,
    root,
    servers::kafka::{Broker, VERSION},
    signals,
};

/// What can be measured beside the comparison, which is measured when none of these is named.
const KINDS: [&str; 5] = ["latency", "checkpoint", "growth", "recovery", "telemetry"];

/// Also compares with Apache Flink, which has to be built before.
const FLINK: &str = "--flink";

/// Leaves everything to the benchmark's own binary, which knows Kafka; `args` are its own.
pub(crate) fn run(args: &[String]) -> Result<ExitCode, Error> {
    signals::catch_signals()?;
    let (kind, args) = match args.split_first() {
        Some((kind, rest)) if KINDS.contains(&kind.as_str()) => (kind.as_str(), rest),
        _ => ("compare", args),
    };
    if kind == "recovery" {
        build(&["--features", "tidegate/failpoints"])?;
        // The next build puts the real one in its place.
        fs::copy(dist("tidegate"), dist("tidegate-failpoints"))?;
    }
    build(&[])?;
    let flink = args.iter().any(|arg| arg == FLINK).then(flink::build).transpose()?;
    let dir = root().join(format!("target/kafka/bench-{}", std::process::id()));
    let mut broker = Broker::start(&dir, None, &[])?;
    eprintln!("kafka at {}, log in {}", broker.server.address, broker.server.log().display());

    let mut bench = Command::new(dist("tidegate-bench"));
    bench.args([kind, "--kafka", &broker.server.address, "--kafka-name", &format!("Apache Kafka {VERSION}")]);
    if let Some(pid) = broker.java_id() {
        bench.args(["--kafka-pid", &pid.to_string()]);
    }
    bench.arg("--tidegate").arg(dist("tidegate")).arg("--dir").arg(broker.server.dir.join("runs"));
    if kind == "recovery" {
        bench.arg("--tidegate-failpoints").arg(dist("tidegate-failpoints"));
    }
    bench.arg("--docs").arg(root().join("docs")).args(args.iter().filter(|arg| *arg != FLINK));
    if let Some(dir) = flink {
        bench.arg(FLINK).arg(dir);
    }
    // With the group ends whatever it is measuring.
    let group = "-{pid}";
    let kill = |signal| ["kill", signal, "--", group];
    let mut bench = Guarded::spawn(&mut bench, &kill("-TERM"), &kill("-KILL"))?;
    let status = loop {
        if let Some(status) = bench.exited()? {
            break status;
        }
        if signals::interrupted() {
            return Err("interrupted".into());
        }
        broker.server.check()?;
        sleep(Duration::from_millis(100));
    };
    drop(broker);
    if status.success() {
        fs::remove_dir_all(dir)?;
    }
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn build(args: &[&str]) -> Result<(), Error> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .current_dir(root())
        .args(["build", "--profile", "dist", "--locked", "-p", "tidegate", "-p", "tidegate-bench"])
        .args(args);
    if build.status()?.success() { Ok(()) } else { Err("the build failed".into()) }
}

fn dist(binary: &str) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("dist").join(binary)
}
