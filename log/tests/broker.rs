//! A broker that stops, dies and comes back. It is a private one.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::{
    Broker, Collected, Harness, Kafka, Seen, batch, commit, dump, owner, positions, progress, retry,
};
use tidegate_log::{CommitOutcome, EpochWriter, Health, LogError, RecordReader, Topic};

/// A broker that was killed waits for its own old session before it opens its port again.
const PATIENCE: Duration = Duration::from_secs(120);

fn wait_for(reader: &mut dyn RecordReader, what: &str, is_it: fn(&Health) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_it(&reader.health()) {
        assert!(Instant::now() < deadline, "not {what} in time but {:?}", reader.health());
        reader.poll(Duration::from_millis(100), 1_000, &mut Collected::default()).unwrap();
    }
}

#[test]
fn a_broker_that_stops_is_down_until_it_goes_on_and_an_epoch_that_its_death_interrupts_is_lost_whole() {
    // Asks for the whole test setup before it starts a broker of its own.
    support::address();
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), None, &[]);
    let kafka = Kafka::names("broker", broker.address.clone());
    kafka.create_topics();
    let log = kafka.log();
    let mut reader = log.reader(Topic::Raw).unwrap();
    reader.assign(&positions(&[0; 3])).unwrap();
    wait_for(reader.as_mut(), "up", |health| *health == Health::Up);

    Broker::signal(dir.path(), "-STOP");
    wait_for(reader.as_mut(), "down", |health| matches!(health, Health::Down(_)));
    assert!(matches!(log.health(), Health::Down(_)));
    Broker::signal(dir.path(), "-CONT");
    wait_for(reader.as_mut(), "up", |health| *health == Health::Up);

    let mut writer = owner(log.as_ref());
    writer.append(&batch(Topic::Processed, &[Seen::new(0, "kept")])).unwrap();
    commit(writer.as_mut(), &progress(&[1; 3], "1"));
    // Stable offsets are asked for, so this waits for the transaction's markers: a broker that dies between a
    // commit's answer and its markers may keep the group's offsets pending for ever (seen with Kafka 4.3.1)
    retry(|| writer.committed(3));
    writer.append(&batch(Topic::Processed, &[Seen::new(0, "lost")])).unwrap();
    Broker::signal(dir.path(), "-KILL");
    wait_for(reader.as_mut(), "down", |health| matches!(health, Health::Down(_)));
    let outcome = writer.commit(&progress(&[2; 3], "2"), Duration::from_secs(2));
    assert!(matches!(outcome, CommitOutcome::NotCommitted(LogError::Unavailable { .. })), "{outcome:?}");
    assert!(!writer.is_clean());

    let port = broker.address.rsplit(':').next().unwrap().to_owned();
    drop(broker);
    let _broker = Broker::start(dir.path(), Some(&port), &[]);
    wait_for(reader.as_mut(), "up", |health| *health == Health::Up);
    recover(writer.as_mut());
    assert_eq!(dump(&kafka, Topic::Processed).values(0), ["kept", "after"]);
}

/// The same writer becomes the owner again.
fn recover(writer: &mut dyn EpochWriter) {
    retry(|| writer.fence());
    let committed = retry(|| writer.committed(3));
    assert!(committed.iter().all(|input| input.committed.as_ref().is_some_and(|(_, epoch)| epoch == "1")));
    writer.append(&batch(Topic::Processed, &[Seen::new(0, "after")])).unwrap();
    commit(writer, &progress(&[3; 3], "3"));
}
