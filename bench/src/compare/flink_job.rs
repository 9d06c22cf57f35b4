//! The processes of the job on Apache Flink.

use std::{fs, process::Command, thread::available_parallelism};

use super::site::{GEO, Site, Workshop, free_address};
use crate::Error;

/// As often as Flink's users dare; the product's interval is a quarter of it.
const CHECKPOINT_MS: &str = "1000";
/// The memory of Flink's default configuration, 1,600 and 1,728 MiB a process, divided as its start scripts do it.
const JOB_MANAGER_MEMORY: [&str; 3] = ["-Xms1024m", "-Xmx1024m", "-XX:MaxMetaspaceSize=256m"];
const TASK_MANAGER_MEMORY: [&str; 4] =
    ["-Xms512m", "-Xmx512m", "-XX:MaxDirectMemorySize=256m", "-XX:MaxMetaspaceSize=256m"];
const MEMORY: &str = "\
jobmanager.memory.process.size: 1600m
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.task.heap.size: 384m
taskmanager.memory.task.off-heap.size: 0m
taskmanager.memory.network.min: 128m
taskmanager.memory.network.max: 128m
taskmanager.memory.managed.size: 512m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
";
const JOB_MANAGER: &str = "tidegate.flink.JobManager";
const TASK_MANAGER: &str = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner";
/// What of the JDK Flink's serialisers reach into.
const OPENED: [&str; 8] = ["lang", "lang.reflect", "net", "nio", "text", "time", "util", "util.concurrent"];
/// The bots' patterns, in the workshop.
pub(super) const BOTS: &str = "bots.txt";
/// The jars and the compiled job, in the workshop.
pub(super) const JARS: &str = "flink";

/// How the job is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Best,
    Tutorial,
}

/// A JobManager and a TaskManager that do the job on the site's input: to its end, when the first of them ends, or
/// as far as it goes and then for ever.
pub(super) fn commands(
    form: Form,
    site: &Site,
    workshop: &Workshop,
    bounded: bool,
) -> Result<Vec<Command>, Error> {
    let slots = available_parallelism()?.to_string();
    let dir = site.config.with_file_name("flink");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("config.yaml"), configuration(&slots)?)?;
    let java = |memory: &[&str], class: &str| {
        let jars = workshop.dir.join(JARS);
        let mut java = Command::new("java");
        java.args(memory).arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
        java.arg(format!("-Djava.io.tmpdir={}", dir.display()));
        if form == Form::Best {
            java.arg("-XX:+UseParallelGC");
        }
        java.args(OPENED.map(|package| format!("--add-opens=java.base/java.{package}=ALL-UNNAMED")));
        java.arg("-cp").arg(format!("{0}/classes:{0}/lib/*", jars.display())).arg(class);
        java
    };
    let mut job_manager = java(&JOB_MANAGER_MEMORY, JOB_MANAGER);
    job_manager.arg(&dir);
    let path = |name: &str| workshop.dir.join(name).display().to_string();
    for (name, value) in [
        ("--form", if form == Form::Best { "best" } else { "tutorial" }.to_owned()),
        ("--kafka", workshop.kafka.clone()),
        ("--input", site.input.clone()),
        ("--processed", site.topic("processed")),
        ("--alerts", site.topic("alerts")),
        ("--group", site.name.clone()),
        ("--geo", path(GEO)),
        ("--bots", path(BOTS)),
        ("--parallelism", slots),
        ("--checkpoint-ms", CHECKPOINT_MS.to_owned()),
        ("--bounded", bounded.to_string()),
    ] {
        job_manager.args([name, &value]);
    }
    let mut task_manager = java(&TASK_MANAGER_MEMORY, TASK_MANAGER);
    task_manager.arg("--configDir").arg(&dir);
    Ok(vec![job_manager, task_manager])
}

/// Flink's `config.yaml`: its defaults, on loopback, at ports that are free now. Both processes start at once, and a
/// TaskManager that is there first would ask again only after 10 s.
fn configuration(slots: &str) -> std::io::Result<String> {
    let (rpc, rest) = (free_address()?.port(), free_address()?.port());
    Ok(format!(
        "jobmanager.rpc.address: localhost\njobmanager.bind-host: localhost\njobmanager.rpc.port: {rpc}\n\
         taskmanager.host: localhost\ntaskmanager.bind-host: localhost\n\
         cluster.registration.error-delay: 100ms\n\
         rest.address: localhost\nrest.bind-address: localhost\nrest.port: {rest}\n\
         taskmanager.numberOfTaskSlots: {slots}\ntaskmanager.cpu.cores: {slots}\n{MEMORY}"
    ))
}
