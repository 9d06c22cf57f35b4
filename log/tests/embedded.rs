//! What only the embedded log does: it lives in a directory, forgets what is old, and knows when it is damaged.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileExt,
    path::Path,
};

use support::{DEADLINE, Embedded, Harness, PARTITIONS, Seen, batch, commit, dump, owner, progress};
use tidegate_core::{NextOffset, TimestampMs};
use tidegate_log::{
    Drift, LogError, Topic,
    embedded::{EmbeddedStore, NewRecord, Place},
};

const NOW: TimestampMs = TimestampMs(1_760_000_000_000);
const HOUR: i64 = 3_600_000;

fn record(partition: u32, timestamp: i64, value: &str) -> NewRecord {
    NewRecord {
        partition: Some(partition),
        timestamp: TimestampMs(timestamp),
        value: Some(value.into()),
        ..NewRecord::default()
    }
}

fn values(store: &EmbeddedStore, topic: &str, partition: u32) -> Vec<String> {
    let begin = store.ranges(topic).unwrap()[partition as usize].begin;
    let page = store.read(topic, partition, begin, usize::MAX, usize::MAX).unwrap().unwrap();
    page.records
        .into_iter()
        .map(|record| String::from_utf8(record.value.unwrap_or_default()).unwrap())
        .collect()
}

#[test]
fn all_that_was_committed_is_there_when_it_is_opened_again() {
    let embedded = Embedded::new();
    {
        let log = embedded.log();
        let mut writer = owner(log.as_ref());
        writer.append(&batch(Topic::Processed, &[Seen::new(1, "kept")])).unwrap();
        commit(writer.as_mut(), &progress(&[4, 5, 6], "mark"));
        writer.append(&batch(Topic::Processed, &[Seen::new(1, "never committed")])).unwrap();
    }
    let places = embedded.store.append("raw", vec![record(2, 1, "a"), record(0, 1, "b"), record(2, 1, "c")]);
    let place = |partition, offset| Place { partition, offset };
    assert_eq!(places.unwrap(), [place(2, 0), place(0, 0), place(2, 1)]);
    let Embedded { store, dir } = embedded;
    let locked = EmbeddedStore::open(dir.path().join("log"), 1 << 30).err().unwrap();
    assert!(
        matches!(&locked, LogError::Unavailable { .. }) && locked.to_string().contains("in use"),
        "{locked}"
    );
    drop(store);

    let store = EmbeddedStore::open(dir.path().join("log"), 1 << 30).unwrap();
    let embedded = Embedded { store, dir };
    assert_eq!(dump(&embedded, Topic::Processed).values(1), ["kept"]);
    assert_eq!(values(&embedded.store, "raw", 2), ["a", "c"]);
    let log = embedded.log();
    let committed = owner(log.as_ref()).committed(PARTITIONS).unwrap();
    assert_eq!(committed[2].committed, Some((NextOffset(6), "mark".to_owned())));
}

#[test]
fn appends_from_many_threads_each_get_places_of_their_own() {
    let embedded = Embedded::new();
    let places: Vec<Place> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|thread| {
                let store = &embedded.store;
                scope.spawn(move || {
                    let append = |n: i64| {
                        let mut record = record(0, n, &format!("{thread}-{n}"));
                        (record.partition, record.key) = (None, Some(format!("{thread}-{n}").into_bytes()));
                        store.append("raw", vec![record]).unwrap()[0]
                    };
                    (0..50).map(append).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let unique: BTreeSet<_> = places.iter().map(|place| (place.partition, place.offset)).collect();
    let written: usize = (0..3).map(|partition| values(&embedded.store, "raw", partition).len()).sum();
    assert_eq!((unique.len(), written), (800, 800));
}

#[test]
fn what_is_older_than_its_retention_goes_but_never_what_a_group_has_not_read() {
    let embedded = Embedded::new();
    let mut specs = embedded.specs();
    specs[0].retention_ms = Some(HOUR);
    assert_eq!(embedded.store.plan(&specs).unwrap()[0].1, [Drift::Retention { want_ms: HOUR, have_ms: -1 }]);
    assert!(embedded.store.apply(&specs, true).unwrap()[0].remaining.is_empty());
    let old = |n: i64| record(0, NOW.0 - 2 * HOUR, &format!("old-{n}"));
    for n in 0..10 {
        embedded.store.append("raw", vec![old(n)]).unwrap();
    }
    embedded.store.append("raw", vec![record(0, NOW.0, "young")]).unwrap();
    let log = embedded.log();
    let mut writer = owner(log.as_ref());
    commit(writer.as_mut(), &progress(&[7, 0, 0], ""));
    embedded.store.clean(NOW).unwrap();
    assert_eq!(values(&embedded.store, "raw", 0), ["old-7", "old-8", "old-9", "young"]);
    commit(writer.as_mut(), &progress(&[11, 0, 0], ""));
    embedded.store.clean(NOW).unwrap();
    assert_eq!(values(&embedded.store, "raw", 0), ["young"]);
    let gone = embedded.store.read("raw", 0, NextOffset(3), 1, 1).unwrap_err();
    assert!(matches!(gone, LogError::OffsetOutOfRange { offset: 3, .. }), "{gone}");
}

#[test]
fn a_topic_keeps_to_its_size_and_takes_no_more_than_is_processed() {
    let limit = 1 << 20;
    let embedded = Embedded::keeping(limit);
    let text = "x".repeat(1000);
    let fill = |count: i64| -> Result<(), LogError> {
        (0..count).try_for_each(|n| {
            let records = (0..100).map(|_| record((n % 3) as u32, NOW.0, &text)).collect();
            embedded.store.append("raw", records).map(drop)
        })
    };
    // Nobody reads it: the oldest go.
    fill(50).unwrap();
    let size =
        |store: &EmbeddedStore| -> usize { (0..3).map(|p| values(store, "raw", p).len() * 1000).sum() };
    assert!(
        (size(&embedded.store) as u64) < limit + 110_000 && size(&embedded.store) > 700_000,
        "{}",
        size(&embedded.store)
    );
    // A group that stands still keeps them all.
    let log = embedded.log();
    let mut writer = owner(log.as_ref());
    let begins: Vec<i64> = embedded.store.ranges("raw").unwrap().iter().map(|range| range.begin.0).collect();
    commit(writer.as_mut(), &progress(&begins, ""));
    let refused = fill(50).unwrap_err();
    assert!(matches!(refused, LogError::Backlog(_)), "{refused}");
    let ends: Vec<i64> = embedded.store.ranges("raw").unwrap().iter().map(|range| range.end.0).collect();
    commit(writer.as_mut(), &progress(&ends, ""));
    fill(5).unwrap();
}

#[test]
fn compaction_keeps_the_last_value_of_each_key_and_its_offset() {
    let embedded = Embedded::new();
    let log = embedded.log();
    let mut writer = owner(log.as_ref());
    let filler = "y".repeat(300);
    let mut expected: BTreeMap<String, (i64, Option<String>)> = BTreeMap::new();
    for round in 0..100i64 {
        let mut entries = Vec::new();
        for n in 0..100i64 {
            let offset = round * 100 + n;
            let key = format!("key-{}", offset * 7 % 1000);
            let value = (offset % 11 != 0).then(|| format!("{offset} {filler}"));
            // Deletions of the first half are old enough to be forgotten.
            let timestamp = if round < 50 { NOW.0 - 48 * HOUR } else { NOW.0 };
            entries.push(Seen {
                timestamp,
                key: Some(key.clone().into_bytes()),
                value: value.clone().map(String::into_bytes),
                ..Seen::new(1, "")
            });
            expected.insert(key, (offset, value));
        }
        writer.append(&batch(Topic::State, &entries)).unwrap();
        commit(writer.as_mut(), &[]);
        if round == 60 {
            embedded.store.clean(NOW).unwrap();
        }
    }
    let read = || {
        let mut found = BTreeMap::new();
        let mut records = 0;
        log.read_changelog(&[], false, DEADLINE, &mut |record| {
            records += 1;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.insert(text(record.key), (record.offset, record.value.map(text)));
        })
        .unwrap();
        (records, found)
    };
    let (before, found) = read();
    assert!(found == expected);
    embedded.store.clean(NOW).unwrap();
    let (after, found) = read();
    expected.retain(|_, (offset, value)| value.is_some() || *offset >= 5000);
    assert!(found == expected);
    assert!(before > 2 * after, "{before} records before, {after} after");
}

/// Damage may be harmless, and is an error otherwise; what it never does is to be taken for the truth.
#[test]
fn a_damaged_file_is_told_and_never_read_as_something_else() {
    let embedded = Embedded::new();
    let value = |n: i64| format!("{n}-{}", "z".repeat(200));
    for n in 0..200 {
        let records = (0..20).map(|k| record(0, 1, &value(n * 20 + k))).collect();
        embedded.store.append("raw", records).unwrap();
    }
    let Embedded { store, dir } = embedded;
    drop(store);
    let expected: Vec<String> = (0..4000).map(value).collect();
    let (mut told, mut harmless) = (0, 0);
    for round in 0..24u64 {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&dir.path().join("log"), copy.path());
        spoil(&copy.path().join("db"), round);
        let outcome = EmbeddedStore::open(copy.path(), 1 << 30).and_then(|store| {
            let page = store.read("raw", 0, NextOffset(0), usize::MAX, usize::MAX)?;
            Ok(page.map(|page| page.records))
        });
        match outcome {
            Err(LogError::Damaged { .. }) => told += 1,
            Err(error) => panic!("round {round}: {error}"),
            Ok(records) => {
                let read = records.unwrap_or_default().into_iter();
                let read: Vec<_> =
                    read.map(|record| String::from_utf8(record.value.unwrap()).unwrap()).collect();
                assert!(read == expected, "round {round}: {} of {} records", read.len(), expected.len());
                harmless += 1;
            }
        }
    }
    assert!(told > 0, "told {told}, harmless {harmless}");
}

/// Flips a bit, or cuts the file.
fn spoil(path: &Path, round: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let at = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) % size;
    if round % 4 == 3 {
        return file.set_len(at).unwrap();
    }
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn topics_are_created_compared_and_grown_but_never_shrunk() {
    let embedded = Embedded::empty();
    let mut specs = embedded.specs();
    assert!(embedded.store.plan(&specs).unwrap().iter().all(|(_, drifts)| *drifts == [Drift::Missing]));
    assert!(embedded.store.apply(&specs, false).unwrap().iter().all(|topic| topic.done == [Drift::Missing]));
    assert!(embedded.store.plan(&specs).unwrap().iter().all(|(_, drifts)| drifts.is_empty()));
    specs[0].partitions = 5;
    specs[1].partitions = 2;
    specs[4].partitions = 9;
    let applied = embedded.store.apply(&specs, false).unwrap();
    assert_eq!(applied[0].remaining, [Drift::Partitions { want: 5, have: 3 }]);
    let applied = embedded.store.apply(&specs, true).unwrap();
    let remaining: Vec<_> = applied.iter().map(|topic| topic.remaining.len()).collect();
    assert_eq!(
        remaining,
        [0, 1, 0, 0, 1],
        "fewer partitions, or more of a compacted topic, are not possible"
    );
    embedded.store.append("raw", vec![record(4, 1, "in the new partition")]).unwrap();
    assert_eq!(values(&embedded.store, "raw", 4), ["in the new partition"]);
}
