//! Topics that are not what they were: deleted, created anew, never created by a client.

use crate::support::{
    broker::Broker,
    events::event,
    kafka::Input,
    site::{Site, output},
    wait,
};

fn clicks(count: i32) -> Vec<Input> {
    let now = wait::now_ms();
    (0..count).map(|n| event(n % 2, "click", "shop", &format!("user-{n}"), now)).collect()
}

fn create_anew(site: &Site, topic: &str) {
    site.kafka.delete_topics(&[topic]);
    wait::until_true("the topic to be gone", || !site.kafka.has_topic(topic));
    let applied = output(&mut site.tidegate(&["topics", "apply"]));
    assert_eq!(applied.code, Some(0), "{applied:?}");
}

#[test]
fn an_input_that_is_created_anew_under_a_running_daemon_is_refused_and_so_at_the_next_start() {
    let site = Site::new("anew", 2).create();
    let daemon = site.run();
    site.write(&clicks(10));
    site.await_caught_up();
    let before = site.kafka.dump(&site.topics.processed).len();
    create_anew(&site, &site.topics.raw);
    site.kafka.producer().write(&site.topics.raw, &clicks(30));
    let log = daemon.wait_exit_code(1);
    // What it meets first: no topic, another one, or an offset that is not there.
    let words = ["created anew", "missing topics", "cannot be read from offset"];
    assert!(words.iter().any(|words| log.contains(words)), "{log}");
    let log = site.start(&[]).wait_exit_code(1);
    // A broker forgets the offsets of a topic that is deleted.
    let words = ["the input topic was deleted and created anew", "no offset is committed"];
    assert!(words.iter().any(|words| log.contains(words)), "{log}");
    let restore = site.command(&["offsets", "restore"]);
    assert!(restore.code == Some(1) && restore.stderr.contains("anew"), "{restore:?}");
    assert_eq!(
        site.kafka.dump(&site.topics.processed).len(),
        before,
        "records of the new topic were taken for others"
    );
}

#[test]
fn an_input_that_is_deleted_while_nothing_comes_ends_the_daemon_with_a_word() {
    let site = Site::new("deleted-idle", 2).create();
    let daemon = site.run();
    site.write(&clicks(10));
    site.await_caught_up();
    site.kafka.delete_topics(&[&site.topics.raw]);
    let log = daemon.wait_exit_code(1);
    assert!(log.contains("missing topics") && log.contains(&site.topics.raw), "{log}");
}

#[test]
fn the_committed_offset_reaches_the_end_where_the_input_ends_in_what_was_rolled_back() {
    let site = Site::new("markers", 2).create();
    let daemon = site.run();
    site.write(&clicks(10));
    site.await_caught_up();
    site.kafka.write_rolled_back(&site.topics.raw, &clicks(4));
    let watch = site.committed_watch();
    let ends = site.input_ends();
    wait::until_true("the lag to be none", || watch.offsets().is_some_and(|offsets| offsets == ends));
    daemon.stop();
}

#[test]
fn two_daemons_of_one_group_with_different_ids_do_not_both_go_on() {
    let site = Site::new("two-ids", 2).create();
    let first = site.run();
    site.write(&clicks(10));
    site.await_caught_up();
    let other = site.sibling().set("kafka.transactional_id", &format!("\"{}-other\"", site.name));
    other.write_config();
    let second = other.run();
    site.write(&clicks(10));
    let log = first.wait_exit_code(1);
    assert!(log.contains("kafka.group_id"), "{log}");
    site.await_caught_up();
    second.stop();
}

#[test]
fn on_a_broker_that_creates_topics_by_itself_no_client_of_ours_does() {
    let mut broker = Broker::with(&["auto.create.topics.enable=true"]);
    broker.start();
    broker.wait_up();
    let site = Site::at(broker.kafka.clone(), "auto-create", 2);
    site.write_config();
    // Nothing is there: the names of all five are told, and none appears.
    let log = site.start(&[]).wait_exit_code(69);
    assert!(log.contains("topics apply"), "{log}");
    let check = output(&mut site.tidegate(&["check"]));
    assert_ne!(check.code, Some(0), "{check:?}");
    assert!(site.topics.all().iter().all(|topic| !site.kafka.has_topic(topic)), "a topic was created");
    let site = site.create();
    let daemon = site.run();
    site.write(&clicks(10));
    site.await_caught_up();
    site.kafka.delete_topics(&[&site.topics.processed]);
    wait::until_true("the topic to be gone", || !site.kafka.has_topic(&site.topics.processed));
    // The test's own producer writes to the input only.
    site.write(&clicks(10));
    daemon.wait_exit_code(1);
    assert!(!site.kafka.has_topic(&site.topics.processed), "a deleted topic is back");
}
