//! A destination that is away is nobody else's trouble.

use super::{
    compare,
    setup::{self, await_delivered, create_index, create_tables, pager, search, warehouse, with_sinks},
    sized,
};
use crate::support::{
    self,
    cut::{Cut, Network},
    daemon::Daemon,
    events::Mix,
    opensearch::OpenSearch,
    postgres::Database,
    receiver::{Answer, Receiver},
    server::port_of,
    site::Site,
    wait,
};

fn lag(daemon: &Daemon) -> u64 {
    daemon.metrics().sum("tidegate_sink_lag_records", &[("sink", "warehouse")])
}

fn is_up(daemon: &Daemon, sink: &str) -> bool {
    daemon.metrics().sum("tidegate_sink_up", &[("sink", sink)]) == 1
}

/// The pipeline and the other sinks have done all that there is, while the warehouse is away.
fn others_go_on(site: &Site, daemon: &Daemon, opensearch: &OpenSearch, receiver: &Receiver) {
    site.await_caught_up();
    compare::documents(site, opensearch);
    compare::requests(site, || receiver.requests());
    assert!(!is_up(daemon, "warehouse") && is_up(daemon, "search") && is_up(daemon, "pager"));
    assert!(daemon.is_ready());
}

#[test]
fn while_one_destination_refuses_or_hangs_all_others_keep_up_and_later_it_gets_everything() {
    let _turn = support::heavy();
    let (database, opensearch) = (Database::create(), OpenSearch::from_env());
    let receiver = Receiver::start(|_, _| Answer::status(200));
    create_tables(&database);
    let cut = Cut::before(port_of(&database.url));
    let url = cut.on_the_way_to(&database.url);
    let site = setup::site("sinks-away", 4);
    let sinks = [warehouse(&url), search(&opensearch.url, &site.name), pager(&receiver.url)];
    let site = with_sinks(site, &sinks).create();
    create_index(&opensearch, &site);
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(11, 4, start, 600_000).pure();
    let mut write = |count| site.write(&setup::readable(mix.take(count)));
    let daemon = site.run();
    write(5_000);
    site.await_caught_up();
    await_delivered(&site, "warehouse", &site.topics.processed);
    assert!(is_up(&daemon, "warehouse"));

    cut.set(Network::Refuses);
    write(sized(15_000, 100_000));
    wait::until_true("the sink to be down", || !is_up(&daemon, "warehouse"));
    others_go_on(&site, &daemon, &opensearch, &receiver);
    let behind = (site.dump(&site.topics.processed).len() - setup::rows(&database)) as u64;
    wait::until_true("all that is missing to be its lag", || lag(&daemon) >= behind);

    cut.set(Network::Hangs);
    let before = lag(&daemon);
    write(sized(5_000, 30_000));
    others_go_on(&site, &daemon, &opensearch, &receiver);
    wait::until_true("the lag to grow", || lag(&daemon) > before + 3_000);

    cut.set(Network::Passes);
    compare::processed_events(&database, &await_delivered(&site, "warehouse", &site.topics.processed));
    wait::until_true("the sink to be up, and its lag gone", || {
        is_up(&daemon, "warehouse") && lag(&daemon) == 0
    });
    daemon.stop();
}
