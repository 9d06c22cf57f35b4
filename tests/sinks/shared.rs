//! Several processes that share a sink.

use super::{
    compare,
    setup::{self, await_delivered, create_index, create_tables, delivered, search, warehouse, with_sinks},
    sized, some_time,
};
use crate::support::{
    self,
    daemon::Daemon,
    events::{Mix, event},
    kafka::Input,
    opensearch::OpenSearch,
    postgres::Database,
    random::Random,
    site::Site,
    wait,
};

const PARTITIONS: i32 = 4;
const SINKS: [&str; 2] = ["warehouse", "search"];

/// A process that runs the sinks alone.
fn sinks(site: &Site) -> Daemon {
    let mut daemon = site.spawn(&["run", "--only", "sinks"], &[]);
    daemon.wait_ready();
    daemon
}

/// An event on every partition.
fn events(start: i64) -> Vec<Input> {
    (0..PARTITIONS).map(|partition| event(partition, "click", "shop", "user", start)).collect()
}

/// Writes events until each of the processes has delivered some to each of the sinks.
fn share(site: &Site, processes: [&Daemon; 2], start: i64) {
    let counts = || {
        processes.map(|process| {
            let metrics = process.metrics();
            SINKS.map(|sink| delivered(&metrics, sink))
        })
    };
    let before = counts();
    wait::until_true("both processes to deliver to both sinks", || {
        site.write(&events(start));
        counts().into_iter().flatten().zip(before.into_iter().flatten()).all(|(now, before)| now > before)
    });
}

fn ends_exactly(site: &Site, database: &Database, opensearch: &OpenSearch) {
    site.await_caught_up();
    compare::processed_events(database, &await_delivered(site, "warehouse", &site.topics.processed));
    assert!(compare::documents(site, opensearch).is_empty());
}

#[test]
fn a_process_that_slept_while_another_took_over_writes_nothing_wrong_when_it_wakes_up() {
    let _turn = support::heavy();
    let (database, opensearch) = (Database::create(), OpenSearch::from_env());
    create_tables(&database);
    let site = setup::site("sinks-zombie", PARTITIONS);
    let sinks_of_all = [warehouse(&database.url), search(&opensearch.url, &site.name)];
    let site = with_sinks(site, &sinks_of_all).create();
    create_index(&opensearch, &site);
    let (mut random, start) = (Random::by_chance(), wait::hours_ago(3));
    // Nothing odd: all of it can be delivered.
    let mut mix = Mix::new(9, PARTITIONS, start, 600_000).pure().few_odd();
    let mut batch = |count: usize| {
        let mut inputs = mix.take(count);
        inputs.retain(|input| input.value.as_ref().is_some_and(|value| value.starts_with(br#"{"user_id""#)));
        inputs
    };

    let mut pipeline = site.spawn(&["run", "--only", "pipeline"], &[]);
    pipeline.wait_ready();
    let (one, other) = (site.sibling(), site.sibling());
    let mut processes = [sinks(&one), sinks(&other)];
    for _ in 0..sized(2, 10) {
        share(&site, [&processes[0], &processes[1]], start);
        let [sleeper, heir] = &processes;
        let before = delivered(&sleeper.metrics(), SINKS[0]);
        site.write(&batch(10_000));
        wait::until_true("it to be at work", || delivered(&sleeper.metrics(), SINKS[0]) > before);
        some_time(&mut random, 100);
        sleeper.signal("STOP");
        site.write(&batch(3_000));
        ends_exactly(&site, &database, &opensearch);
        sleeper.signal("CONT");
        share(&site, [sleeper, heir], start);
        ends_exactly(&site, &database, &opensearch);
        processes.reverse();
    }
    processes.into_iter().for_each(Daemon::stop);
    pipeline.stop();
    ends_exactly(&site, &database, &opensearch);
}
