//! Rows and positions, whatever happens between the sink and its server.

use tidegate_core::{NextOffset, record::Topic};
use tidegate_sinks::{Destination, Outcome};

use crate::{
    proxy::{Commit, Proxy},
    server::Server,
    support::{Database, P0, P1, all, batch, deliver, event, events, from, sink},
};

fn lines(partition: u32, offsets: std::ops::Range<i64>) -> Vec<String> {
    offsets.map(|offset| format!("{partition}|{offset}")).collect()
}

#[tokio::test]
async fn each_record_is_a_row_once_and_positions_stand_behind_the_last() {
    let database = Database::with_tables(Topic::Processed).await;
    let mut sink = database.sink(Topic::Processed);
    let taken = sink.take_over(&[from(P0, 10), from(P1, 0)]).await.unwrap();
    assert_eq!(taken, [(P0, NextOffset(10)), (P1, NextOffset(0))]);
    let both = batch([(P1, 0, event(0)), (P0, 12, event(1)), (P1, 3, event(2)), (P0, 15, event(3))]);
    assert_eq!(deliver(&mut sink, &both).await, []);
    // All of it again, and one more.
    let again = batch([(P0, 12, event(1)), (P0, 15, event(3)), (P0, 16, event(4))]);
    assert_eq!(deliver(&mut sink, &again).await, []);
    assert_eq!(database.rows().await, ["0|12", "0|15", "0|16", "1|0", "1|3"]);
    assert_eq!((database.position(P0).await, database.position(P1).await), (17, 4));
    assert_eq!(sink.keep(&[(P0, NextOffset(20)), (P1, NextOffset(2))]).await, Outcome::Delivered);
    assert_eq!((database.position(P0).await, database.position(P1).await), (20, 4));
    // What the server keeps goes before what the group has committed.
    let mut next = database.sink(Topic::Processed);
    assert_eq!(next.take_over(&[from(P0, 3)]).await.unwrap(), [(P0, NextOffset(20))]);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_neither_doubled_nor_lost() {
    for (commit, is_there) in [(Commit::LoseAnswer, true), (Commit::Lose, false)] {
        let database = Database::with_tables(Topic::Processed).await;
        let proxy = Proxy::to(&database.settings).await;
        let mut sink = sink(&proxy.settings, Topic::Processed);
        sink.take_over(&[from(P0, 0)]).await.unwrap();
        proxy.on_commit(commit);
        let first = events(P0, 0..100);
        assert!(matches!(sink.deliver(&first, &all(&first)).await, Outcome::Failed(_)), "{commit:?}");
        assert_eq!(database.rows().await.len(), if is_there { 100 } else { 0 }, "{commit:?}");
        // Another cut of the same records, as after a restart of the loop.
        assert_eq!(deliver(&mut sink, &events(P0, 0..150)).await, [], "{commit:?}");
        assert_eq!(database.rows().await, lines(0, 0..150), "{commit:?}");
        assert_eq!(database.position(P0).await, 150);
    }
}

#[tokio::test]
async fn a_delivery_that_is_given_up_half_way_leaves_the_sink_usable() {
    let database = Database::with_tables(Topic::Processed).await;
    let proxy = Proxy::to(&database.settings).await;
    let mut sink = sink(&proxy.settings, Topic::Processed);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    proxy.on_commit(Commit::Hold);
    let first = events(P0, 0..100);
    let records = all(&first);
    tokio::select! {
        outcome = sink.deliver(&first, &records) => panic!("{outcome:?}"),
        () = proxy.met.notified() => {}
    }
    assert_eq!(deliver(&mut sink, &first).await, []);
    assert_eq!(database.rows().await, lines(0, 0..100));
}

#[tokio::test]
async fn a_sink_that_was_replaced_is_told_so_and_has_written_nothing() {
    let database = Database::with_tables(Topic::Processed).await;
    let (mut old, mut new) = (database.sink(Topic::Processed), database.sink(Topic::Processed));
    old.take_over(&[from(P0, 0), from(P1, 0)]).await.unwrap();
    assert_eq!(deliver(&mut old, &events(P0, 0..10)).await, []);
    assert_eq!(new.take_over(&[from(P0, 0)]).await.unwrap(), [(P0, NextOffset(10))]);

    let both = batch([(P0, 10, event(0)), (P1, 0, event(1))]);
    assert_eq!(old.deliver(&both, &all(&both)).await, Outcome::Replaced(vec![P0]));
    assert_eq!(database.rows().await, lines(0, 0..10));
    // What is left to it goes on.
    assert_eq!(deliver(&mut old, &both).await, []);
    assert_eq!(deliver(&mut new, &events(P0, 10..12)).await, []);
    assert_eq!(database.rows().await, [lines(0, 0..12), lines(1, 0..1)].concat());
    assert_eq!(old.keep(&[(P0, NextOffset(100))]).await, Outcome::Delivered);
    assert_eq!(database.position(P0).await, 12);
}

#[tokio::test]
async fn a_sink_that_stands_still_in_a_delivery_does_not_keep_its_partitions() {
    let mut database = Database::with_tables(Topic::Processed).await;
    let mut old = database.sink(Topic::Processed);
    old.take_over(&[from(P0, 0)]).await.unwrap();
    let stopped = database.admin.transaction().await.unwrap();
    stopped.execute("select 1 from tidegate_sink_offsets for update", &[]).await.unwrap();
    let settings = database.settings.clone();
    let mut new = sink(&settings, Topic::Processed);
    assert_eq!(new.take_over(&[from(P0, 0)]).await.unwrap(), [(P0, NextOffset(0))]);
    assert!(stopped.commit().await.is_err(), "its session was ended");
}

#[tokio::test]
async fn positions_that_were_set_back_or_are_gone_are_read_again_and_rows_are_not_doubled() {
    for loss in ["update tidegate_sink_offsets set next_offset = 5", "delete from tidegate_sink_offsets"] {
        let database = Database::with_tables(Topic::Processed).await;
        let mut sink = database.sink(Topic::Processed);
        sink.take_over(&[from(P0, 0)]).await.unwrap();
        assert_eq!(deliver(&mut sink, &events(P0, 0..10)).await, []);
        database.run(loss).await;
        let next = events(P0, 10..12);
        assert_eq!(sink.deliver(&next, &all(&next)).await, Outcome::Replaced(vec![P0]), "{loss}");
        let [(_, NextOffset(again))] = sink.take_over(&[from(P0, 0)]).await.unwrap()[..] else {
            panic!("{loss}")
        };
        assert!(again < 10, "{loss}");
        for end in [8, 15, 20] {
            assert_eq!(deliver(&mut sink, &events(P0, again..end)).await, [], "{loss}");
        }
        assert_eq!(database.rows().await, lines(0, 0..20), "{loss}");
        assert_eq!(database.position(P0).await, 20);
    }
}

#[tokio::test]
async fn a_server_that_is_restarted_is_found_again() {
    let server = Server::start("", &[]);
    let mut database = Database::on(&server.url()).await;
    database.apply(Topic::Processed).await;
    let mut sink = database.sink(Topic::Processed);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    assert_eq!(deliver(&mut sink, &events(P0, 0..10)).await, []);
    server.restart();
    let next = events(P0, 10..20);
    // At the latest the second try is on a new connection.
    if let Outcome::Failed(failure) = sink.deliver(&next, &all(&next)).await {
        assert!(!failure.cause.contains("right"), "{failure:?}");
    }
    assert_eq!(deliver(&mut sink, &next).await, []);
    database.reconnect().await;
    assert_eq!(database.rows().await, lines(0, 0..20));
}
