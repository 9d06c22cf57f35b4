//! A destination that is slower than the input: its lag grows, and nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    compare,
    setup::{self, await_delivered, create_tables, delivered, sink, with_sinks},
    sized,
};
use crate::support::{
    self,
    cut::{Cut, Network},
    daemon::Daemon,
    events::record,
    kafka::Input,
    postgres::Database,
    random::Random,
    receiver::{Answer, Receiver},
    server::port_of,
    wait,
};

const MIB: f64 = 1_048_576.0;
/// What two slow sinks may hold: records of 2 MiB each that are on their way, what the clients have fetched, and as much
/// again for the allocator.
const MOST_MIB: f64 = 30.0;

/// Events of a kilobyte.
fn events(from: usize, count: usize, timestamp: i64) -> Vec<Input> {
    let mut random = Random::new(timestamp.cast_unsigned());
    let mut value = |n: usize| {
        // Nothing that shrinks on the way.
        let filler: String = (0..60).map(|_| format!("{:015x}", random.next() >> 4)).collect();
        format!(
            r#"{{"event_type":"click","n":{n},"timestamp":{timestamp},"service_name":"s","filler":"{filler}"}}"#
        )
    };
    (from..from + count).map(|n| record((n % 4) as i32, &format!("user-{n}"), value(n), timestamp)).collect()
}

fn memory_mib(daemon: &Daemon) -> f64 {
    daemon.metrics().gauge("process_resident_memory_bytes").unwrap() / MIB
}

#[test]
fn destinations_ten_times_slower_than_the_input_cost_lag_and_neither_memory_nor_the_pipeline() {
    let _turn = support::heavy();
    let database = Database::create();
    create_tables(&database);
    let cut = Cut::before(port_of(&database.url));
    let url = cut.on_the_way_to(&database.url);
    let is_slow = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_slow);
    let receiver = Receiver::start(move |_, _| {
        let delay = if asked.load(Ordering::Relaxed) { Duration::from_millis(20) } else { Duration::ZERO };
        Answer { delay, ..Answer::status(200) }
    });
    let budget = "in_flight_bytes = \"2MiB\", batch_bytes = \"512KiB\"";
    let sinks = [
        sink("warehouse", "postgres", "processed", &format!("url = \"{url}\", {budget}")),
        sink(
            "hook",
            "webhook",
            "processed",
            &format!("url = \"{}\", concurrency = 8, {budget}", receiver.url),
        ),
    ];
    let site = with_sinks(setup::site("sinks-slow", 4), &sinks).create();
    let (start, count) = (wait::hours_ago(3), sized(40_000, 300_000));
    let daemon = site.run();
    // As much as later: what it holds then that it does not hold now, the slow sinks hold.
    site.write(&events(0, count, start));
    site.await_caught_up();
    for sink in ["warehouse", "hook"] {
        await_delivered(&site, sink, &site.topics.processed);
    }
    let before_mib = memory_mib(&daemon);

    is_slow.store(true, Ordering::Relaxed);
    cut.set(Network::Delays(Duration::from_millis(100)));
    let at_first = daemon.metrics();
    site.write(&events(count, count, start));
    site.await_caught_up();
    let metrics = daemon.metrics();
    for sink in ["warehouse", "hook"] {
        let meanwhile = delivered(&metrics, sink) - delivered(&at_first, sink);
        assert!(meanwhile < count as u64 / 10, "{sink} is not slow enough for this test: {meanwhile}");
        wait::until_true("the lag to show it", || {
            daemon.metrics().sum("tidegate_sink_lag_records", &[("sink", sink)]) > count as u64 * 8 / 10
        });
    }
    // What the pipeline used for so much at once is given back within seconds.
    wait::until_true("the memory to be what it was", || memory_mib(&daemon) - before_mib < MOST_MIB);
    let is_behind =
        |sink| daemon.metrics().sum("tidegate_sink_lag_records", &[("sink", sink)]) > count as u64 / 2;
    assert!(is_behind("warehouse") && is_behind("hook"), "the sinks are slow no more");

    cut.set(Network::Passes);
    compare::processed_events(&database, &await_delivered(&site, "warehouse", &site.topics.processed));
    daemon.stop();
}
