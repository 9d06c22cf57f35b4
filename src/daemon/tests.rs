#![allow(clippy::unwrap_used)]

use tidegate_config::Source;
use tidegate_core::{NextOffset, alert::AlertPhase};
use tidegate_host::Clock;
use tidegate_log::embedded::{EmbeddedStore, NewRecord};
use tokio::{sync::oneshot, time::timeout};

use super::*;

/// Only so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(dir: &std::path::Path) -> Settings {
    let text = format!(
        "log = 'embedded'\nkafka.start = 'earliest'\nhttp.listen = '127.0.0.1:0'\nstate.dir = '{0}'\n\
         geo.database = '{0}/none.mmdb'\nrules = [{{ name = 'errors', event_type = 'error', threshold = 2 }}]\n",
        dir.display()
    );
    let source = Source::new("test.toml", text, Vec::new());
    tidegate_config::load(&source, &|_| None).map_err(|problems| problems.to_string()).unwrap()
}

fn errors(count: usize) -> Vec<NewRecord> {
    let value = br#"{"event_type":"error","service_name":"checkout"}"#.to_vec();
    let error = NewRecord { timestamp: Clock::start().now(), value: Some(value), ..NewRecord::default() };
    vec![error; count]
}

/// All that is in the alerts topic.
fn written(store: &EmbeddedStore, settings: &Settings) -> Vec<Box<[u8]>> {
    let topic = &settings.topics.alerts;
    let page = |partition| store.read(&topic.name, partition, NextOffset(0), 100, 1 << 20).unwrap().unwrap();
    let records = (0..topic.partitions).flat_map(|partition| page(partition).records);
    records.filter_map(|record| record.value.map(Vec::into_boxed_slice)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_held_by_its_caller_tells_of_committed_alerts_and_ends_when_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let state_dir = StateDir::open(&settings.state_dir).unwrap();
    let (log, store) = wiring::connect(&settings).unwrap();
    let store = store.unwrap();
    store.apply(&wiring::topic_specs(&settings), false).unwrap();
    store.append(&settings.topics.raw.name, errors(3)).unwrap();

    let options = Options::default();
    let mut alerts = options.alerts.subscribe();
    let opened = Opened { state_dir: Some(state_dir), log, embedded: Some(store.clone()) };
    let daemon = Daemon::start(&settings, opened, options).await.map_err(|e| e.text).unwrap();
    assert_ne!(daemon.address.port(), 0);
    let (enough, is_enough) = oneshot::channel();
    let ended = tokio::spawn(daemon.ended(async move { is_enough.await.unwrap() }));

    let alert = timeout(PATIENCE, alerts.recv()).await.unwrap().unwrap();
    assert_eq!(alert.phase, AlertPhase::Crossed);
    assert!(alert.appended_at.unwrap() <= alert.committed_at);
    // Visible to everybody by then.
    assert_eq!(written(&store, &settings), std::slice::from_ref(&alert.value));

    enough.send(()).unwrap();
    timeout(PATIENCE, ended).await.unwrap().unwrap().map_err(|failure| failure.text).unwrap();
}
