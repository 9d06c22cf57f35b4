//! Committed offsets that are missing or point to nowhere: refused with clear words, never reset.

use crate::support::{
    events::{Mix, event},
    kafka::Input,
    site::Site,
    verify, wait,
};

/// A site whose daemon has worked and ended.
fn site_with_history(name: &str) -> Site {
    let site = Site::new(name, 2).order_free().create();
    let mut mix = Mix::new(9, 2, wait::hours_ago(3), 600_000);
    site.write(&mix.take(2000));
    let daemon = site.run();
    site.await_caught_up();
    daemon.stop();
    site
}

/// The daemon refuses to start, twice the same, and names what is wrong; outputs stay as they are.
fn refuses(site: &Site, words: &[&str]) {
    let before = site.kafka.end_offsets(&site.topics.processed);
    for _ in 0..2 {
        let log = site.start(&[]).wait_exit_code(1);
        for word in words {
            assert!(log.contains(word), "{word:?} is missing in:\n{log}");
        }
    }
    assert_eq!(site.kafka.end_offsets(&site.topics.processed), before, "something was written");
}

#[test]
fn deleted_offsets_are_refused_while_the_state_knows_an_epoch() {
    let site = site_with_history("deleted");
    site.kafka.delete_group(&site.name);
    refuses(&site, &["no offset is committed", "epoch"]);
    // The topic alone knows it, too.
    std::fs::remove_dir_all(&site.state_dir).unwrap();
    refuses(&site, &["no offset is committed", "epoch"]);
}

#[test]
fn deleted_offsets_are_put_back_from_the_state_topic_and_nothing_is_lost_or_twice() {
    let site = site_with_history("restored");
    let before = site.kafka.committed(&site.name, &site.topics.raw, 2);
    let refused = site.command(&["offsets", "restore"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("has committed offsets"), "{refused:?}");
    site.kafka.delete_group(&site.name);
    let restored = site.command(&["offsets", "restore"]);
    assert!(restored.stdout.contains("are committed again; 0 records were skipped"), "{restored:?}");
    let after = site.kafka.committed(&site.name, &site.topics.raw, 2);
    let offsets = |committed: Vec<Option<(i64, String)>>| -> Vec<i64> {
        committed.into_iter().map(|committed| committed.unwrap().0).collect()
    };
    assert_eq!(offsets(after), offsets(before));
    let daemon = site.run();
    site.write_sentinels(wait::now_ms());
    site.await_caught_up();
    daemon.stop();
    verify::outputs(&site, &[]);
}

#[test]
fn offsets_beyond_the_end_are_refused() {
    let site = site_with_history("beyond");
    let committed = site.kafka.committed(&site.name, &site.topics.raw, 2);
    let (offset, metadata) = committed[1].clone().unwrap();
    let far = offset + 1000;
    site.kafka.set_committed(&site.name, &site.topics.raw, &[(1, far, metadata.clone())]);
    refuses(&site, &[&far.to_string(), &offset.to_string()]);
    // An operator who puts them back finds everything as it was.
    site.kafka.set_committed(&site.name, &site.topics.raw, &[(1, offset, metadata)]);
    let daemon = site.run();
    site.write_sentinels(wait::now_ms());
    site.await_caught_up();
    daemon.stop();
    verify::outputs(&site, &[]);
}

#[test]
fn offsets_that_retention_has_overtaken_are_refused() {
    let site = site_with_history("overtaken");
    let (offset, _) = site.kafka.committed(&site.name, &site.topics.raw, 2)[0].clone().unwrap();
    let now = wait::now_ms();
    site.write(&(0..50).map(|_| event(0, "click", "shop", "user", now)).collect::<Vec<_>>());
    site.kafka.delete_records(&site.topics.raw, 0, offset + 20);
    refuses(&site, &[&offset.to_string(), &(offset + 20).to_string()]);
}

#[test]
fn latest_means_the_first_start_and_nothing_later() {
    let site = Site::new("latest", 2).set("kafka.start", r#""latest""#).create();
    let users = |name: &str| -> Vec<Input> {
        let now = wait::now_ms();
        (0..100).map(|n| event(n % 2, "click", "shop", &format!("{name}-{n}"), now)).collect()
    };
    site.write(&users("before"));
    // It reads nothing in its first life, but the place where it stood is kept.
    let first = site.run();
    let watch = site.committed_watch();
    wait::until_true("the first epoch", || watch.offsets().is_some_and(|now| now == [50, 50]));
    first.kill();
    site.write(&users("meanwhile"));
    let second = site.run();
    site.await_caught_up();
    second.stop();
    let processed = site.kafka.dump(&site.topics.processed);
    let keys =
        processed.iter().map(|record| String::from_utf8_lossy(record.key.as_ref().unwrap()).into_owned());
    assert!(
        processed.len() == 100 && keys.clone().all(|key| key.starts_with("meanwhile")),
        "{:?}",
        keys.max()
    );
}
