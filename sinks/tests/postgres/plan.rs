//! `tidegate sinks plan` and `apply`, and `tidegate check`.

use tidegate_config::{Postgres, Secret, SecretSource};
use tidegate_core::record::Topic;
use tidegate_sinks::postgres::{Finding, apply, check, plan};

use crate::support::{Database, NAME, table};

fn words(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_is_missing_is_planned_then_created_and_then_nothing_is_left() {
    for topic in [Topic::Processed, Topic::Alerts, Topic::DeadLetters] {
        let mut database = Database::new().await;
        database.settings.table = table(topic).to_owned();
        let planned = plan(&database.settings, NAME, topic).await.unwrap();
        assert_eq!(planned.len(), 2, "{planned:?}");
        assert!(check(&database.settings, NAME, topic).await.unwrap().iter().all(Finding::stops_delivery));
        let (found, left) = apply(&database.settings, NAME, topic, false).await.unwrap();
        assert_eq!((found, left), (planned, vec![]));
        assert_eq!(check(&database.settings, NAME, topic).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_table_that_is_there_is_altered_only_if_asked_and_types_are_left_alone() {
    let mut database = Database::new().await;
    database.settings.columns = vec![("region".to_owned(), vec!["region".to_owned()])];
    database
        .run("create table processed_events (partition int, \"offset\" bigint, event_time date, lat numeric)")
        .await;
    let (_, left) = apply(&database.settings, NAME, Topic::Processed, false).await.unwrap();
    assert!(left.iter().all(|change| change.alters) && left.len() == 11, "{left:?}");
    let (_, left) = apply(&database.settings, NAME, Topic::Processed, true).await.unwrap();
    let left: Vec<Finding> = left.into_iter().map(|change| change.finding).collect();
    assert_eq!(
        words(&left),
        [
            "column event_time of \"processed_events\" has the type date, not timestamp with time zone: values that do not \
             fit are refused",
            "column lat of \"processed_events\" has the type numeric, not double precision: values that do not fit are \
             refused",
        ]
    );
    let findings = check(&database.settings, NAME, Topic::Processed).await.unwrap();
    let stopping: Vec<Finding> = findings.into_iter().filter(Finding::stops_delivery).collect();
    assert!(
        matches!(&words(&stopping)[..], [why] if why.starts_with("column event_time of \"processed_events\" has the type date;")),
        "{stopping:?}"
    );
}

#[tokio::test]
async fn a_user_who_may_not_write_is_told_what_is_lacking() {
    let database = Database::with_tables(Topic::Processed).await;
    let role = format!("writer_{}", database.settings.database);
    database
        .run(&format!("create role {role} login password 'pass'; grant insert on processed_events to {role}"))
        .await;
    let password = SecretSource { value: Some(Secret::new("pass")), file: None };
    let settings = Postgres { user: role.clone(), password, ..database.settings.clone() };
    let findings = check(&settings, NAME, Topic::Processed).await.unwrap();
    assert_eq!(
        words(&findings),
        [
            "the sink's user lacks select on \"processed_events\": grant select on \"processed_events\" to it",
            "the sink's user lacks select, insert, update on \"tidegate_sink_offsets\": grant select, insert, update on \
             \"tidegate_sink_offsets\" to it",
        ]
    );
    database.run(&format!("drop owned by {role}; drop role {role}")).await;
}
