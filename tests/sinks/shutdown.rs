//! Ending on request.

use super::{
    compare,
    setup::{self, await_delivered, create_tables, delivered, warehouse, with_sinks},
};
use crate::support::{
    self,
    cut::{Cut, Network},
    events::Mix,
    postgres::Database,
    server::port_of,
    wait,
};

#[test]
fn sigterm_amid_deliveries_ends_in_order_and_the_next_run_delivers_the_rest_once() {
    let _turn = support::heavy();
    let database = Database::create();
    create_tables(&database);
    let cut = Cut::before(port_of(&database.url));
    let url = cut.on_the_way_to(&database.url);
    let site = with_sinks(setup::site("sinks-sigterm", 4), &[warehouse(&url)]).create();
    let mut mix = Mix::new(13, 4, wait::hours_ago(3), 600_000).pure();
    let mut cut_short = 0;
    for _ in 0..4 {
        site.write(&setup::readable(mix.take(15_000)));
        let daemon = site.run();
        wait::until_true("the first deliveries", || delivered(&daemon.metrics(), "warehouse") > 0);
        daemon.stop();
        cut_short += usize::from(setup::rows(&database) < site.dump(&site.topics.processed).len());
    }
    assert!(cut_short > 0, "it had always delivered everything");

    // What hangs is given up.
    let daemon = site.run();
    site.write(&setup::readable(mix.take(5_000)));
    cut.set(Network::Hangs);
    site.write(&setup::readable(mix.take(5_000)));
    site.await_caught_up();
    daemon.stop();

    cut.set(Network::Passes);
    let daemon = site.run();
    compare::processed_events(&database, &await_delivered(&site, "warehouse", &site.topics.processed));
    daemon.stop();
}
