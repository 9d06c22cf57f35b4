//! What is refused, and what is only a failure.

use tidegate_config::{Postgres, Secret, SecretSource};
use tidegate_core::record::Topic;
use tidegate_sinks::{Destination, Outcome};

use crate::support::{Database, P0, all, batch, deliver, event, events, from, sink};

#[tokio::test]
async fn of_a_batch_with_records_that_the_server_or_the_column_refuses_all_others_are_delivered() {
    let mut database = Database::new().await;
    database.settings.columns =
        ["count", "label"].map(|name| (name.to_owned(), vec![name.to_owned()])).to_vec();
    database
        .run("create table processed_events (count int, label varchar(3) not null default '' check (label <> 'no'))")
        .await;
    database.run("alter table processed_events alter label drop not null").await;
    database.apply_all(Topic::Processed).await;
    let deep = format!(r#"{{"event_type":"e","x":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let poison = [
        (7, r#"{"event_type":"e","count":"many"}"#, "column count: no integer of this size: many"),
        (8, r#"{"event_type":"e","count":3000000000}"#, "column count: no integer of this size: 3000000000"),
        (20, "no json", "at byte 0"),
        (21, r#"{"event_type":"e","x":"\u0000"}"#, "22P05"),
        (40, r#"{"event_type":"e","label":"long"}"#, "22001"),
        (41, r#"{"event_type":"e","label":"no"}"#, "23514"),
        (60, r#"{"event_type":"e","x":"\ud800"}"#, "22P02"),
        (61, r#"{"event_type":"\u0000"}"#, "22021"),
        (80, r#"{"event_type":"e","x":1e200000}"#, "22003"),
        (99, &deep, "54001"),
    ];
    let value = |offset: i64| {
        let poison = poison.iter().find(|(other, ..)| *other == offset);
        poison.map_or_else(|| event(offset), |(_, value, _)| (*value).to_owned())
    };
    let mut sink = database.sink(Topic::Processed);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    let refused = deliver(&mut sink, &batch((0..100).map(|offset| (P0, offset, value(offset))))).await;
    assert_eq!(refused.len(), poison.len(), "{refused:?}");
    for ((index, why), (offset, _, expected)) in refused.iter().zip(&poison) {
        assert!(*index as i64 == *offset && why.contains(expected), "{index}: {why}");
    }
    assert_eq!(database.rows().await.len(), 90);
    // The last one moved no position: that is kept when it is taken care of.
    assert_eq!(database.position(P0).await, 99);
    assert_eq!(sink.keep(&[(P0, tidegate_core::NextOffset(100))]).await, Outcome::Delivered);
    assert_eq!(database.position(P0).await, 100);
}

#[tokio::test]
async fn no_position_passes_a_refused_record_before_it_was_handed_back() {
    let database = Database::with_tables(Topic::Processed).await;
    let mut sink = database.sink(Topic::Processed);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    let bad = batch([(P0, 0, event(0)), (P0, 1, "?".to_owned()), (P0, 2, "?".to_owned()), (P0, 3, event(3))]);
    let Outcome::Judged { refused, again, failure: None } = sink.deliver(&bad, &all(&bad)).await else {
        panic!("two records are no JSON")
    };
    assert_eq!((refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), again), (vec![1, 2], vec![3]));
    assert_eq!(database.position(P0).await, 1);
}

#[tokio::test]
async fn a_value_that_must_be_unique_and_is_there_is_refused_but_a_record_that_comes_again_is_not() {
    let database = Database::with_tables(Topic::Processed).await;
    database.run("create unique index on processed_events (user_id)").await;
    let mut sink = database.sink(Topic::Processed);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    assert_eq!(deliver(&mut sink, &events(P0, 0..4)).await, []);
    let repeated = batch([(P0, 4, event(4)), (P0, 5, event(2)), (P0, 6, event(6))]);
    let refused = deliver(&mut sink, &repeated).await;
    assert!(matches!(&refused[..], [(1, why)] if why.contains("23505")), "{refused:?}");
    assert_eq!(database.rows().await.len(), 6);
}

#[tokio::test]
async fn a_table_that_changes_under_the_sink_is_no_reason_to_refuse_records() {
    let database = Database::with_tables(Topic::Processed).await;
    let mut sink = database.sink(Topic::Processed);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    assert_eq!(deliver(&mut sink, &events(P0, 0..2)).await, []);
    database.run("alter table processed_events alter lat type numeric").await;
    let next = events(P0, 2..4);
    assert!(matches!(sink.deliver(&next, &all(&next)).await, Outcome::Failed(_)));
    assert_eq!(deliver(&mut sink, &next).await, []);
    database.run("alter table processed_events drop column city").await;
    let next = events(P0, 4..6);
    let Outcome::Failed(failure) = sink.deliver(&next, &all(&next)).await else { panic!("a column is gone") };
    assert!(failure.cause.contains("tidegate sinks apply --alter"), "{failure:?}");
}

#[tokio::test]
async fn a_failure_says_what_to_do_and_never_the_password() {
    let database = Database::new().await;
    let mut sink = database.sink(Topic::Processed);
    let failure = sink.take_over(&[from(P0, 0)]).await.unwrap_err();
    assert!(failure.cause.contains("tidegate sinks apply"), "{failure:?}");

    database.apply(Topic::Processed).await;
    let role = format!("reader_{}", database.settings.database);
    database.run(&format!("create role {role} login password 'hunter2'")).await;
    let secret = |text: &str| SecretSource { value: Some(Secret::new(text)), file: None };
    let unprivileged =
        Postgres { user: role.clone(), password: secret("hunter2"), ..database.settings.clone() };
    let away = Postgres { port: 1, password: secret("hunter2"), ..database.settings.clone() };
    let url =
        format!("postgres://{role}:hunter2@{}:{}/nowhere", database.settings.host, database.settings.port);
    let elsewhere = Postgres { url: secret(&url), ..database.settings.clone() };
    for (settings, expected) in
        [(unprivileged, "grant"), (away, "refused"), (elsewhere, "the sink's database")]
    {
        let mut sink = self::sink(&settings, Topic::Processed);
        let failure = sink.take_over(&[from(P0, 0)]).await.unwrap_err();
        assert!(failure.cause.contains(expected) && !failure.cause.contains("hunter2"), "{failure:?}");
    }
    database.run(&format!("drop role {role}")).await;
}
