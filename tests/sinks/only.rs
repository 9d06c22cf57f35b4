//! Parts that run alone.

use super::{
    compare,
    setup::{self, await_delivered, create_tables, delivered, group, warehouse, with_sinks},
};
use crate::support::{events::Mix, postgres::Database, site::Site, wait};

#[test]
fn the_pipeline_alone_delivers_nothing_and_the_sinks_beside_it_do() {
    let database = Database::create();
    create_tables(&database);
    let site = with_sinks(setup::site("sinks-only", 4), &[warehouse(&database.url)]).create();
    let mut mix = Mix::new(15, 4, wait::hours_ago(3), 600_000).pure();
    let mut pipeline = site.spawn(&["run", "--only", "pipeline"], &[]);
    pipeline.wait_ready();
    site.write(&setup::readable(mix.take(5_000)));
    site.await_caught_up();
    let topic = &site.topics.processed;
    let positions = || site.kafka.committed(&group(&site, "warehouse"), topic, site.partitions);
    assert!(positions().iter().all(Option::is_none), "nobody has joined the sink's group");

    let beside = site.sibling();
    let mut sinks = beside.spawn(&["run", "--only", "sinks"], &[]);
    sinks.wait_ready();
    assert!(sinks.get("/readyz").is_some_and(|answer| answer.status == 200));
    site.write(&setup::readable(mix.take(5_000)));
    site.await_caught_up();
    let records = await_delivered(&site, "warehouse", topic);
    compare::processed_events(&database, &records);
    assert_eq!(delivered(&sinks.metrics(), "warehouse"), records.len() as u64);
    assert_eq!(delivered(&pipeline.metrics(), "warehouse"), 0);
    assert_eq!(sinks.metrics().sum("tidegate_source_records_total", &[]), 0);
    assert!(!beside.state_dir.exists(), "sinks keep no state");
    sinks.stop();
    pipeline.stop();
}

#[test]
fn sinks_alone_cannot_read_an_embedded_log_and_say_so() {
    let site = Site::embedded("sinks-alone", 2);
    let site = with_sinks(site, &[warehouse("postgres://user@127.0.0.1:1/none")]);
    site.write_config();
    let output = site.command(&["run", "--only", "sinks"]);
    assert_eq!(output.code, Some(64), "{output:?}");
    let said = output.stdout + &output.stderr;
    assert!(said.contains("an embedded log belongs to one process"), "{said}");
}

#[test]
fn sinks_alone_are_nothing_where_none_are_configured() {
    let site = Site::new("no-sinks", 2);
    site.write_config();
    let output = site.command(&["run", "--only", "sinks"]);
    assert_eq!(output.code, Some(64), "{output:?}");
    let said = output.stdout + &output.stderr;
    assert!(said.contains("no sinks are configured"), "{said}");
}
