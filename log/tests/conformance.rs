//! What every log must keep, whatever is behind it. Each rule is a function over a [`Harness`]; the tests at the
//! end run them all on Apache Kafka and on the embedded log.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod support;

use std::time::{Duration, Instant};

use support::{
    Collected, DEADLINE, Embedded, Harness, Kafka, PARTITIONS, Seen, batch, commit, dump, owner, poll_until,
    positions, progress, retry, wait_for_ends,
};
use tidegate_core::{NextOffset, PartitionId};
use tidegate_log::{CommitOutcome, LogError, Mark, Topic};

fn committed_records_arrive_as_they_were_written(harness: &dyn Harness) {
    let everything = Seen {
        partition: 2,
        timestamp: 1_760_000_000_123,
        key: Some(b"key".to_vec()),
        value: Some(b"{\"a\":1}".to_vec()),
        headers: vec![
            (b"trace".to_vec(), Some(b"1".to_vec())),
            (b"null".to_vec(), None),
            (b"empty".to_vec(), Some(Vec::new())),
            (b"\xff\xfe".to_vec(), Some(b"\x00\x01".to_vec())),
            (b"trace".to_vec(), Some(b"2".to_vec())),
        ],
    };
    let nothing = Seen { partition: 0, timestamp: 1, ..Seen::default() };
    let empty = Seen {
        partition: 1,
        timestamp: 2,
        key: Some(Vec::new()),
        value: Some(Vec::new()),
        headers: Vec::new(),
    };
    let mut written = vec![nothing, empty, everything];
    let log = harness.log();
    let mut writer = owner(log.as_ref());
    writer.append(&batch(Topic::Processed, &written)).unwrap();
    writer.append(&batch(Topic::Alerts, &[Seen::new(1, "alert")])).unwrap();
    commit(writer.as_mut(), &progress(&[0; 3], "1"));
    let mut read: Vec<Seen> =
        dump(harness, Topic::Processed).records.into_iter().map(|(_, seen)| seen).collect();
    read.sort_by_key(|seen| seen.partition);
    written.sort_by_key(|seen| seen.partition);
    assert_eq!(read, written);
    assert_eq!(dump(harness, Topic::Alerts).values(1), ["alert"]);
}

fn what_is_appended_is_there_whatever_becomes_of_an_open_epoch(harness: &dyn Harness) {
    let log = harness.log();
    let mut writer = owner(log.as_ref());
    writer.append(&batch(Topic::DeadLetters, &[Seen::new(0, "aborted")])).unwrap();
    let mut appender = log.appender().unwrap();
    let header = (b"why".to_vec(), Some(b"because".to_vec()));
    let appended = Seen { headers: vec![header], ..Seen::new(1, "appended") };
    appender.append(&batch(Topic::DeadLetters, &[appended.clone(), Seen::new(2, "too")])).unwrap();
    appender.append(&batch(Topic::Alerts, &[Seen::new(0, "elsewhere")])).unwrap();
    writer.abort(DEADLINE).unwrap();
    let seen = dump(harness, Topic::DeadLetters);
    assert_eq!((seen.values(0), seen.values(2)), (vec![], vec!["too".to_owned()]));
    assert_eq!(seen.records.iter().find(|(_, seen)| seen.partition == 1).unwrap().1, appended);
    assert_eq!(dump(harness, Topic::Alerts).values(0), ["elsewhere"]);
}

fn records_and_marks_are_written_together_and_the_marks_are_found_again(harness: &dyn Harness) {
    let log = harness.log();
    let topics = log.topics(DEADLINE).unwrap();
    let id = support::unique("marks");
    let writer = || log.marked_writer(Topic::DeadLetters, &id, &topics).unwrap();
    let mark = |group: &str, partition, text: &str| Mark {
        group: format!("{id}.{group}"),
        partition: PartitionId(partition),
        text: text.to_owned(),
    };
    let mut first = writer();
    first.take_over().unwrap();
    assert_eq!(first.marks(&format!("{id}.a"), PARTITIONS).unwrap(), vec![None; PARTITIONS as usize]);
    first.write(&batch(Topic::Raw, &[Seen::new(1, "one")]), &[mark("a", 1, "1"), mark("b", 0, "2")]).unwrap();
    first.write(&batch(Topic::Raw, &[]), &[mark("a", 1, "11")]).unwrap();
    let mut second = writer();
    second.take_over().unwrap();
    let found = second.marks(&format!("{id}.a"), PARTITIONS).unwrap();
    assert_eq!(found, [None, Some("11".to_owned()), None]);
    assert_eq!(second.marks(&format!("{id}.b"), 1).unwrap(), [Some("2".to_owned())]);
    second.write(&batch(Topic::Raw, &[Seen::new(1, "two")]), &[]).unwrap();
    assert_eq!(dump(harness, Topic::Raw).values(1), ["one", "two"]);
}

fn an_aborted_epoch_is_never_seen_and_the_writer_goes_on(harness: &dyn Harness) {
    let log = harness.log();
    let mut writer = owner(log.as_ref());
    writer.append(&batch(Topic::Processed, &[Seen::new(0, "aborted")])).unwrap();
    assert!(writer.is_clean());
    writer.abort(DEADLINE).unwrap();
    writer.abort(DEADLINE).unwrap();
    writer.append(&batch(Topic::Processed, &[Seen::new(0, "kept")])).unwrap();
    commit(writer.as_mut(), &progress(&[5; 3], "2"));
    // An epoch without a record still moves the offsets.
    commit(writer.as_mut(), &progress(&[6; 3], "3"));
    assert_eq!(dump(harness, Topic::Processed).values(0), ["kept"]);
    let next: Vec<_> =
        writer.committed(PARTITIONS).unwrap().into_iter().map(|input| input.committed.unwrap()).collect();
    assert_eq!(next, vec![(NextOffset(6), "3".to_owned()); 3]);
}

fn a_second_writer_fences_the_first_and_nothing_is_torn(harness: &dyn Harness) {
    let (log, other) = (harness.log(), harness.log());
    let mut first = owner(log.as_ref());
    first.append(&batch(Topic::Processed, &[Seen::new(0, "committed")])).unwrap();
    commit(first.as_mut(), &progress(&[1; 3], "1"));
    first.append(&batch(Topic::Processed, &[Seen::new(0, "lost"), Seen::new(1, "lost")])).unwrap();
    let mut second = owner(other.as_ref());
    second.append(&batch(Topic::Processed, &[Seen::new(0, "second")])).unwrap();
    commit(second.as_mut(), &progress(&[2; 3], "2"));
    // The loser may hear of it at any call up to the commit.
    let appended = first.append(&batch(Topic::Processed, &[Seen::new(2, "lost")]));
    let heard = match appended {
        Err(error) => error,
        Ok(()) => match first.commit(&progress(&[9; 3], "9"), DEADLINE) {
            CommitOutcome::NotCommitted(error) | CommitOutcome::Unknown(error) => error,
            CommitOutcome::Committed(_) => panic!("the fenced writer committed"),
        },
    };
    assert!(matches!(heard, LogError::Fenced(_)), "{heard:?}");
    assert!(!first.is_clean());
    let seen = dump(harness, Topic::Processed);
    assert_eq!((seen.values(0), seen.records.len()), (vec!["committed".to_owned(), "second".to_owned()], 2));
    assert_eq!(second.committed(PARTITIONS).unwrap()[2].committed, Some((NextOffset(2), "2".to_owned())));
}

fn offsets_and_their_metadata_come_back(harness: &dyn Harness) {
    let log = harness.log();
    let mut writer = owner(log.as_ref());
    assert!(writer.committed(PARTITIONS).unwrap().iter().all(|input| input.committed.is_none()));
    let metadata = format!("{{\"epoch\":1,\"x\":\"{}\"}}", "ü".repeat(1_000));
    commit(writer.as_mut(), &progress(&[7, 0, 1 << 40], &metadata));
    let committed = writer.committed(PARTITIONS).unwrap();
    assert_eq!(committed.iter().map(|input| input.partition.0).collect::<Vec<_>>(), [0, 1, 2]);
    let kept: Vec<_> = committed.into_iter().map(|input| input.committed.unwrap()).collect();
    assert_eq!(kept, [7, 0, 1 << 40].map(|next| (NextOffset(next), metadata.clone())));
    // Sent to the broker, this would cost the connection.
    let outcome = writer.commit(&progress(&[8; 3], &"x".repeat(40_000)), DEADLINE);
    assert!(matches!(outcome, CommitOutcome::NotCommitted(LogError::Misconfigured(_))), "{outcome:?}");
}

fn what_a_dead_writer_left_open_is_decided_by_fencing(harness: &dyn Harness) {
    let log = harness.log();
    let mut dead = owner(log.as_ref());
    commit(dead.as_mut(), &progress(&[3; 3], "3"));
    dead.append(&batch(Topic::Processed, &[Seen::new(0, "open"), Seen::new(1, "open")])).unwrap();
    drop(dead);
    let mut heir = owner(log.as_ref());
    assert_eq!(heir.committed(PARTITIONS).unwrap()[0].committed, Some((NextOffset(3), "3".to_owned())));
    heir.append(&batch(Topic::Processed, &[Seen::new(0, "heir")])).unwrap();
    commit(heir.as_mut(), &progress(&[4; 3], "4"));
    let seen = dump(harness, Topic::Processed);
    assert_eq!((seen.values(0), seen.values(1)), (vec!["heir".to_owned()], Vec::new()));
}

/// Ten records in each partition of the input, with an aborted one and a transaction's end before every record.
fn fill_input(harness: &dyn Harness) {
    // The input seen as an output: its own log has it in the place of the processed events.
    let log = harness.seen_from(Topic::Processed);
    let mut writer = owner(log.as_ref());
    for number in 0..10 {
        let records = |what: &str| -> Vec<Seen> {
            (0..PARTITIONS).map(|partition| Seen::new(partition, format!("{what}{number}"))).collect()
        };
        writer.append(&batch(Topic::Processed, &records("aborted"))).unwrap();
        writer.abort(DEADLINE).unwrap();
        writer.append(&batch(Topic::Processed, &records("v"))).unwrap();
        commit(writer.as_mut(), &[]);
    }
    wait_for_ends(harness.log().as_ref(), Topic::Raw, &[harness.layout().before(10); 3]);
}

fn reading_starts_where_it_is_told_and_ends_past_control_records(harness: &dyn Harness) {
    fill_input(harness);
    let log = harness.log();
    let mut reader = log.reader(Topic::Raw).unwrap();
    let layout = harness.layout();
    let end = layout.before(10);
    reader.assign(&positions(&[0, layout.before(5), layout.last_marker(10)])).unwrap();
    let at_end = |seen: &Collected| (0..3).all(|partition| seen.ends.get(&partition) == Some(&end));
    let seen = poll_until(reader.as_mut(), at_end);
    let values = |from: usize| (from..10).map(|number| format!("v{number}")).collect::<Vec<_>>();
    assert_eq!([seen.values(0), seen.values(1), seen.values(2)], [values(0), values(5), values(10)]);
    assert_eq!(reader.end_offset(PartitionId(0)), Some(NextOffset(end)));
    let (offset, record) = seen.records.iter().find(|(_, record)| record.partition == 1).unwrap();
    assert_eq!((*offset, record.value.as_deref()), (layout.at(5), Some(&b"v5"[..])));
}

fn assigning_again_forgets_what_was_fetched(harness: &dyn Harness) {
    fill_input(harness);
    let log = harness.log();
    let mut reader = log.reader(Topic::Raw).unwrap();
    reader.assign(&positions(&[0; 3])).unwrap();
    let layout = harness.layout();
    let (last, end) = (layout.at(9), layout.before(10));
    let at_end = |seen: &Collected| (0..3).all(|partition| seen.ends.get(&partition) == Some(&end));
    for round in 0..20 {
        // One record is taken and the rest is left in the client's queue, so that it would show.
        let deadline = Instant::now() + DEADLINE;
        let mut first = Collected::default();
        while first.records.is_empty() {
            assert!(Instant::now() < deadline);
            reader.poll(Duration::from_millis(100), 1, &mut first).unwrap();
        }
        let from = if round % 2 == 0 { [last; 3] } else { [0; 3] };
        reader.assign(&positions(&from)).unwrap();
        let seen = poll_until(reader.as_mut(), at_end);
        let expected = if round % 2 == 0 { 1 } else { 10 };
        for partition in 0..3 {
            assert_eq!(seen.values(partition).len(), expected, "round {round}: {:?}", seen.values(partition));
        }
        reader.assign(&positions(&[0; 3])).unwrap();
    }
    // Other partitions than before.
    reader.assign(&[(PartitionId(1), NextOffset(last))]).unwrap();
    let seen = poll_until(reader.as_mut(), |seen| seen.ends.contains_key(&1));
    assert_eq!((seen.values(1), seen.records.len()), (vec!["v9".to_owned()], 1));
}

fn the_changelog_is_read_to_the_high_watermark(harness: &dyn Harness) {
    // Whether each of the epochs below is committed.
    const HISTORY: [bool; 7] = [true, false, true, false, true, true, false];
    let log = harness.log();
    let mut writer = owner(log.as_ref());
    let entry = |number: i64| Seen {
        key: Some(format!("k{number}").into_bytes()),
        ..Seen::new(1, format!("v{number}"))
    };
    for number in 0..5 {
        writer.append(&batch(Topic::State, &[entry(number)])).unwrap();
        if number % 2 == 0 {
            commit(writer.as_mut(), &[]);
        } else {
            writer.abort(DEADLINE).unwrap();
        }
    }
    writer.append(&batch(Topic::State, &[Seen { value: None, ..entry(0) }])).unwrap();
    commit(writer.as_mut(), &[]);
    // Aborted at the end: the last committed record stands before the end.
    writer.append(&batch(Topic::State, &[entry(6)])).unwrap();
    writer.abort(DEADLINE).unwrap();
    let layout = harness.layout();
    wait_for_ends(log.as_ref(), Topic::State, &[0, layout.end(&HISTORY), 0]);
    let read = |from: &[NextOffset]| {
        let mut entries = Vec::new();
        let reached = log.read_changelog(from, false, DEADLINE, &mut |record| {
            let value = record.value.map(|value| String::from_utf8_lossy(value).into_owned());
            entries.push((
                record.partition,
                record.offset,
                String::from_utf8_lossy(record.key).into_owned(),
                value,
            ));
        });
        (entries, reached.unwrap())
    };
    let owned =
        |offset: i64, key: &str, value: Option<&str>| (1, offset, key.to_owned(), value.map(str::to_owned));
    let (entries, reached) = read(&[NextOffset(0); 3]);
    let at = |number: usize| layout.end(&HISTORY[..number]);
    let all = [
        owned(at(0), "k0", Some("v0")),
        owned(at(2), "k2", Some("v2")),
        owned(at(4), "k4", Some("v4")),
        owned(at(5), "k0", None),
    ];
    assert_eq!(entries, all);
    assert_eq!(reached, [NextOffset(0), NextOffset(at(7)), NextOffset(0)]);
    assert_eq!(read(&[NextOffset(0), NextOffset(at(2) + 1), NextOffset(0)]).0, all[2..]);
    assert_eq!(read(&reached), (Vec::new(), reached));
}

fn a_record_of_a_mebibyte_passes(harness: &dyn Harness) {
    let log = harness.log();
    let limit = log.topics(DEADLINE).unwrap()[Topic::Processed as usize].max_message_bytes;
    assert!(limit > 1 << 20, "{limit}");
    let large: Vec<u8> =
        (0..(1u32 << 20) - 1_000).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut writer = owner(log.as_ref());
    writer.append(&batch(Topic::Processed, &[Seen::new(0, large.clone()), Seen::new(0, "small")])).unwrap();
    commit(writer.as_mut(), &progress(&[0; 3], ""));
    let seen = dump(harness, Topic::Processed);
    assert_eq!(seen.records.len(), 2);
    assert!(seen.records[0].1.value.as_deref() == Some(&large[..]));
}

fn an_epoch_larger_than_the_clients_queue_is_whole_and_in_order(harness: &dyn Harness) {
    const RECORDS: usize = 130_000;
    let log = harness.log();
    let mut writer = owner(log.as_ref());
    let records: Vec<Seen> =
        (0..RECORDS).map(|number| Seen::new((number % 3) as u32, number.to_string())).collect();
    writer.append(&batch(Topic::Processed, &records)).unwrap();
    commit(writer.as_mut(), &progress(&[0; 3], ""));
    let seen = dump(harness, Topic::Processed);
    for partition in 0..3 {
        let expected: Vec<String> =
            (0..RECORDS).filter(|number| number % 3 == partition).map(|number| number.to_string()).collect();
        assert!(seen.values(partition as u32) == expected, "partition {partition}");
    }
}

fn an_offset_that_is_not_there_is_an_error(harness: &dyn Harness) {
    fill_input(harness);
    let log = harness.log();
    let mut reader = log.reader(Topic::Raw).unwrap();
    reader.assign(&positions(&[0, 1_000, 0])).unwrap();
    let deadline = Instant::now() + DEADLINE;
    let error = loop {
        assert!(Instant::now() < deadline);
        if let Err(error) = reader.poll(Duration::from_millis(100), 1_000, &mut Collected::default()) {
            break error;
        }
    };
    assert!(matches!(error, LogError::OffsetOutOfRange { partition: 1, .. }), "{error:?}");
    // Told again after a new assignment, and gone with one that can be read.
    reader.assign(&positions(&[0, harness.layout().before(10), 0])).unwrap();
    let seen = poll_until(reader.as_mut(), |seen| seen.ends.len() == 3);
    assert_eq!(seen.records.len(), 20);
}

on_all_logs!(
    committed_records_arrive_as_they_were_written,
    what_is_appended_is_there_whatever_becomes_of_an_open_epoch,
    records_and_marks_are_written_together_and_the_marks_are_found_again,
    an_aborted_epoch_is_never_seen_and_the_writer_goes_on,
    a_second_writer_fences_the_first_and_nothing_is_torn,
    offsets_and_their_metadata_come_back,
    what_a_dead_writer_left_open_is_decided_by_fencing,
    reading_starts_where_it_is_told_and_ends_past_control_records,
    assigning_again_forgets_what_was_fetched,
    the_changelog_is_read_to_the_high_watermark,
    a_record_of_a_mebibyte_passes,
    an_epoch_larger_than_the_clients_queue_is_whole_and_in_order,
    an_offset_that_is_not_there_is_an_error,
);

#[test]
fn missing_topics_of_an_embedded_log_are_told_all_at_once() {
    let embedded = Embedded::empty();
    let mut specs = embedded.specs();
    specs.remove(Topic::Alerts as usize);
    specs.remove(0);
    embedded.store.apply(&specs, false).unwrap();
    let Err(LogError::TopicsMissing(names)) = embedded.log().topics(DEADLINE) else { panic!() };
    assert_eq!(names, ["raw", "alerts"]);
}

#[test]
fn missing_topics_are_told_all_at_once() {
    let kafka = Kafka::names("missing", support::address());
    let mut specs = kafka.specs();
    specs.remove(Topic::Alerts as usize);
    specs.remove(0);
    for topic in tidegate_log::kafka::apply(&kafka.config, &specs, false, DEADLINE).unwrap() {
        assert!(topic.remaining.is_empty(), "{topic:?}");
    }
    let log = kafka.log();
    let error = retry(|| match log.topics(DEADLINE) {
        Err(LogError::TopicsMissing(names)) => Ok(names),
        Err(error) => Err(error),
        Ok(topics) => panic!("{topics:?}"),
    });
    assert_eq!(error, [kafka.config.topics[0].clone(), kafka.config.topics[2].clone()]);
}
