//! Crashes: of the daemon, of the servers, of connections.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{
    compare,
    setup::{self, all_sinks, create_index, create_tables, readable},
    sized, some_time,
};
use crate::support::{
    self,
    cut::Cut,
    daemon::Daemon,
    events::Mix,
    opensearch::OpenSearch,
    postgres::Database,
    random::Random,
    receiver::{Answer, Receiver},
    server::{Server, port_of},
    site::Site,
    wait,
};

const SPAN_MS: u64 = 10 * 60_000;

fn mix(site: &Site, start: i64) -> Mix {
    Mix::new(7, site.partitions, start, SPAN_MS).few_odd()
}

/// Says that it is over, also when it fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn delivers(daemon: &mut Daemon) {
    wait::until_true("the first deliveries", || {
        daemon.assert_running();
        daemon.metrics().sum("tidegate_sink_delivered_total", &[]) > 0
    });
}

/// Lets a last daemon deliver the rest, and compares everything.
fn ends_exactly(
    site: &Site,
    daemon: Daemon,
    database: &Database,
    opensearch: &OpenSearch,
    receiver: &Receiver,
) {
    site.await_caught_up();
    // What it refuses is among the dead letters that the tables hold.
    let refused = compare::documents(site, opensearch);
    assert!(!refused.is_empty(), "there were documents that OpenSearch cannot take");
    compare::tables(site, database);
    compare::requests(site, || receiver.requests());
    daemon.stop();
}

#[test]
fn kills_of_the_daemon_at_random_moments_leave_no_trace_at_any_destination() {
    let _turn = support::heavy();
    let (kills, events) = (sized(6, 20), 5000);
    let (mut random, start) = (Random::by_chance(), wait::hours_ago(3));
    let (database, opensearch) = (Database::create(), OpenSearch::from_env());
    let receiver = Receiver::start(|_, _| Answer::status(200));
    create_tables(&database);
    let site = setup::site("sinks-crash", 4);
    let site = all_sinks(site, &database.url, &opensearch.url, &receiver.url).create();
    create_index(&opensearch, &site);

    let mut mix = mix(&site, start);
    let mut cut_short = 0;
    for kill in 0..kills {
        site.write(&readable(mix.take(events)));
        let mut daemon = site.start(&[]);
        // Every third one dies at some moment of its start, the others at work.
        if kill % 3 == 2 {
            some_time(&mut random, 800);
        } else {
            delivers(&mut daemon);
            some_time(&mut random, 150);
        }
        daemon.kill();
        let rows = setup::rows(&database);
        cut_short += usize::from(rows > 0 && rows < site.dump(&site.topics.processed).len());
    }
    eprintln!("{cut_short} of {kills} kills left something undelivered");
    assert!(cut_short > 0, "no kill came before all was delivered");
    site.write_sentinels(start + 60 * 60_000);
    let daemon = site.run();
    ends_exactly(&site, daemon, &database, &opensearch, &receiver);
}

#[test]
fn kills_of_the_servers_and_resets_of_connections_leave_no_trace_either() {
    let _turn = support::heavy();
    let (kills, events) = (sized(2, 5), sized(300, 400));
    let (mut random, start) = (Random::by_chance(), wait::hours_ago(3));
    let mut postgres = Server::new("postgres", None, &["synchronous_commit=on"]);
    let mut search = Server::new("opensearch", None, &[]);
    postgres.start();
    search.start();
    let database = Database::create_at(postgres.wait_up());
    let opensearch = OpenSearch::at(search.wait_up());
    let receiver = Receiver::start(|_, _| Answer::status(200));
    create_tables(&database);
    let cuts = [&database.url, &opensearch.url, &receiver.url].map(|url| Cut::before(port_of(url)));
    let site = setup::site("sinks-servers", 4);
    let site = all_sinks(
        site,
        &cuts[0].on_the_way_to(&database.url),
        &cuts[1].on_the_way_to(&opensearch.url),
        &cuts[2].on_the_way_to(&receiver.url),
    );
    let site = site.create();
    create_index(&opensearch, &site);

    let mut mix = mix(&site, start);
    let daemon = site.run();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                site.write(&readable(mix.take(events)));
                thread::sleep(Duration::from_millis(100));
            }
        });
        scope.spawn(|| {
            let mut random = Random::by_chance();
            while !is_over.load(Ordering::Relaxed) {
                some_time(&mut random, 1000);
                random.pick(&cuts).reset();
            }
        });
        let _over = Over(&is_over);
        for _ in 0..kills {
            some_time(&mut random, 2000);
            postgres.kill();
            search.kill();
            some_time(&mut random, 1000);
            postgres.start();
            search.start();
            postgres.wait_up();
            search.wait_up();
        }
    });
    site.write_sentinels(start + 60 * 60_000);
    assert!(daemon.metrics().sum("tidegate_sink_retries_total", &[]) > 0);
    assert!(daemon.is_ready());
    ends_exactly(&site, daemon, &database, &opensearch, &receiver);
}
