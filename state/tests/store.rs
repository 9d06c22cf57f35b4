//! What is stored is found again.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::{
    apply_epoch, assert_right, delete, image_after, key, open_at, open_missing, positions, put, state,
    windows_after, windows_of,
};
use tidegate_core::{Epoch, TimestampMs};
use tidegate_state::{
    Base, MemoryImage, OWNER_KEY, Opened, OwnerRecord, StateDir, StateError, Store, encode_owner,
};

#[test]
fn a_history_of_epochs_is_found_again_at_its_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_missing(dir.path());
    for epoch in 1..=21 {
        apply_epoch(&mut store, epoch);
    }
    let expected = windows_after(21);
    assert!(expected.len() > 1000, "the history is long enough to need several pages");
    assert!(windows_of(&store) == expected);
    assert!(store.size_on_disk() > 0);
    drop(store);

    let store = open_at(dir.path());
    let rows = expected.len() as u64;
    assert_eq!(store.base(), Some(&Base { epoch: Epoch(21), reaches: Epoch(21), positions: vec![], rows }));
    assert!(windows_of(&store) == expected);
}

#[test]
fn the_last_change_of_a_window_in_an_epoch_counts_and_positions_stay_until_new_ones_come() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_missing(dir.path());
    let epoch = Epoch(4);
    let twice = [put(epoch, &key(1), &state(1)), put(epoch, &key(2), &state(2)), delete(&key(2))];
    let again = [delete(&key(1)), put(epoch, &key(1), &state(9))];
    store.apply(epoch, &[twice.as_slice(), &again].concat(), Some(&positions(&[7, 8]))).unwrap();
    store.apply(Epoch(6), &[], None).unwrap();
    assert_eq!(windows_of(&store), [(key(1), state(9))].into());
    drop(store);

    let mut store = open_at(dir.path());
    let base = store.base().unwrap();
    assert_eq!((base.epoch, base.rows, &base.positions), (Epoch(6), 1, &positions(&[7, 8])));
    store.apply(Epoch(7), &[delete(&key(1)), delete(&key(5))], Some(&positions(&[9, 9]))).unwrap();
    drop(store);
    let store = open_at(dir.path());
    assert_eq!((store.base().unwrap().rows, &store.base().unwrap().positions), (0, &positions(&[9, 9])));
}

#[test]
fn a_store_that_is_behind_is_caught_up_by_records_that_it_has_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_missing(dir.path());
    (1..=12).for_each(|epoch| apply_epoch(&mut store, epoch));

    // The changelog is read from epoch 9 on, although epochs up to 12 are included.
    let mut image = store.image().unwrap();
    for (key, value) in (9..=31).flat_map(support::encoded_changes_of) {
        image.apply(&key, value.as_deref()).unwrap();
    }
    store.fill(Epoch(31), &positions(&[5]), &image).unwrap();
    drop(store);
    assert_eq!(assert_right(&mut open_at(dir.path())), 31);
}

#[test]
fn a_store_is_rebuilt_from_the_changelog_and_an_unfinished_one_counts_as_none() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_missing(dir.path()));
    let mut store = open_missing(dir.path());
    store.fill(Epoch(30), &positions(&[1, 2, 3]), &image_after(30)).unwrap();
    drop(store);
    let store = open_at(dir.path());
    assert_eq!(store.base().unwrap().positions, positions(&[1, 2, 3]));
    assert!(windows_of(&store) == windows_after(30));
    drop(store);

    fs::remove_file(dir.path().join("windows/in-use")).unwrap();
    assert!(windows_of(&open_missing(dir.path())).is_empty());
}

#[test]
fn an_image_keeps_the_owner_and_the_highest_epoch_and_shows_windows_only() {
    let mut image = MemoryImage::default();
    let owner = OwnerRecord { epoch: Epoch(5), nonce: 77, started_at_ms: TimestampMs(1) };
    let mut value = Vec::new();
    encode_owner(&owner, &mut value);
    image.apply(OWNER_KEY, Some(&value)).unwrap();
    let (window, state_of_window) = put(Epoch(8), &key(1), &state(1));
    image.apply(&window, state_of_window.as_deref()).unwrap();
    image.apply(&window, None).unwrap();
    let (window, state_of_window) = put(Epoch(7), &key(2), &state(2));
    image.apply(&window, state_of_window.as_deref()).unwrap();

    assert_eq!((image.owner(), image.highest_epoch(), image.len()), (Some(owner), Some(Epoch(8)), 2));
    let windows: Vec<_> = image.windows().map(Result::unwrap).collect();
    assert_eq!(windows, [(key(2), state(2))]);

    assert!(image.apply(b"foreign", Some(b"record")).is_err());
    assert!(image.apply(b"foreign", None).is_err());
    assert_eq!(image.len(), 2);

    let dir = tempfile::tempdir().unwrap();
    let mut store = open_missing(dir.path());
    store.fill(Epoch(8), &[], &image).unwrap();
    assert_eq!((store.image().unwrap().owner(), store.scan(|_, _| {}).unwrap()), (Some(owner), 1));
}

#[test]
fn what_is_no_state_record_or_too_old_is_refused_and_nothing_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_missing(dir.path());
    apply_epoch(&mut store, 3);
    let base = store.base().cloned();
    let foreign = [put(Epoch(4), &key(1), &state(1)), (b"\0base".to_vec(), None)];
    assert!(matches!(store.apply(Epoch(4), &foreign, None), Err(StateError::Record(_))));
    let garbage = [(put(Epoch(4), &key(1), &state(1)).0, Some(vec![1, 2, 3]))];
    assert!(matches!(store.apply(Epoch(4), &garbage, None), Err(StateError::Record(_))));
    assert!(matches!(store.apply(Epoch(2), &[], None), Err(StateError::Ahead { .. })));
    assert_eq!(store.base(), base.as_ref());
    apply_epoch(&mut store, 4);
}

#[test]
fn a_store_keeps_its_directory_locked_and_can_be_opened_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_missing(dir.path());
    for epoch in 1..=30 {
        apply_epoch(&mut store, epoch);
        assert!(matches!(StateDir::open(dir.path()), Err(StateError::Locked { .. })));
        drop(store);
        store = open_at(dir.path());
    }
    assert!(windows_of(&store) == windows_after(30));
}

#[test]
fn a_store_that_is_alive_is_not_taken_for_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_missing(dir.path());
    apply_epoch(&mut store, 1);
    drop(store);
    let held = StateDir::open(dir.path()).unwrap();
    let Opened::At(mut alive) = Store::open(&held).unwrap() else { panic!("it was sound") };
    assert!(matches!(Store::open(&held), Err(StateError::Io { .. })));
    apply_epoch(&mut alive, 2);
    assert_eq!(assert_right(&mut alive), 2);
}

#[test]
fn a_damaged_store_is_put_aside_and_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_missing(dir.path());
    (1..=12).for_each(|epoch| apply_epoch(&mut store, epoch));
    drop(store);
    let database = dir.path().join("windows/db");
    let bytes = fs::read(&database).unwrap();
    fs::write(&database, vec![0; bytes.len()]).unwrap();

    let held = StateDir::open(dir.path()).unwrap();
    assert!(matches!(Store::open(&held).unwrap(), Opened::Damaged { .. }));
    assert!(Store::put_aside(&held).unwrap().ends_with("windows.damaged-1"));
    let Opened::Missing(mut store) = Store::open(&held).unwrap() else { panic!("it was put aside") };
    store.fill(Epoch(12), &[], &image_after(12)).unwrap();
    drop((store, held));
    assert_eq!(assert_right(&mut open_at(dir.path())), 12);
}
