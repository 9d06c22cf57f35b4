//! The input topic gets more partitions while the daemon runs.

use crate::support::{
    events::event,
    site::{Site, output},
    wait,
};

#[test]
fn partitions_added_to_the_input_are_read_from_their_beginning() {
    let site = Site::new("growth", 2).create();
    let daemon = site.run();
    let now = wait::now_ms();
    site.write(&[event(0, "click", "shop", "user-1", now)]);
    site.await_caught_up();

    let apply = ["topics", "apply", "--alter", "--set", "topics.raw.partitions=3"];
    let altered = output(&mut site.tidegate(&apply));
    assert_eq!(altered.code, Some(0), "{altered:?}");
    // A producer of its own: the site's knows the topic as it was.
    site.kafka.producer().write(&site.topics.raw, &[event(2, "click", "shop", "user-2", now)]);
    wait::until_true("the new partition to be read", || site.kafka.dump(&site.topics.processed).len() == 2);
    daemon.stop();
}
