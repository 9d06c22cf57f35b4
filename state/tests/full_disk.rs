//! A full disk stops the store, not the process, and leaves what was there.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{ErrorKind, Write},
    path::Path,
};

use support::{
    Changes, apply_epoch, child, child_path, encoded_changes_of, key, open_at, open_missing, put, state,
    windows_after, windows_of,
};
use tidegate_core::Epoch;
use tidegate_state::{Opened, StateDir, StateError, Store};

/// The last epoch before the disk is full.
const ROOMY: u64 = 9;

/// What [`on_a_full_disk`] runs in a mount namespace of its own.
#[test]
fn in_a_small_file_system() {
    let Some(path) = child_path() else { return };
    let ballast = path.join("ballast");
    let mut store = open_missing(&path);
    (1..=ROOMY).for_each(|epoch| apply_epoch(&mut store, epoch));
    fill_disk(&ballast);

    // sled writes in the background and uses its file's free room first: the error comes some epochs later.
    let mut grow = |epoch| Some((epoch, store.apply(Epoch(epoch), &growth_of(epoch), None).err()?));
    let (failed_at, error) = (ROOMY + 1..ROOMY + 100).find_map(&mut grow).expect("the disk never got full");
    assert!(matches!(&error, StateError::Broken(why) if why.contains("No space left")), "{error}");
    assert!(matches!(store.apply(Epoch(failed_at), &[], None), Err(StateError::Broken(_))));
    assert!(matches!(store.scan(|_, _| {}), Err(StateError::Broken(_))));
    drop(store);

    match Store::open(&StateDir::open(&path).unwrap()) {
        Ok(Opened::At(store)) => assert_whole(&store, failed_at),
        Err(StateError::Io { source, .. }) => assert_eq!(source.kind(), ErrorKind::StorageFull),
        found => panic!("a full disk is no damage: {found:?}"),
    }

    // With room again, what had reached the disk is there, and the rest is caught up.
    fs::remove_file(ballast).unwrap();
    let mut store = open_at(&path);
    assert_whole(&store, failed_at);
    for epoch in store.base().unwrap().epoch.0 + 1..=failed_at {
        let changes = if epoch <= ROOMY { encoded_changes_of(epoch) } else { growth_of(epoch) };
        store.apply(Epoch(epoch), &changes, None).unwrap();
    }
    drop(store);
    assert_whole(&open_at(&path), failed_at);
}

/// Opens a thousand more windows.
fn growth_of(epoch: u64) -> Changes {
    (0..1000).map(|number| put(Epoch(epoch), &key(epoch * 10_000 + number), &state(number))).collect()
}

/// Asserts that the content is that of a whole epoch, not after the one given.
fn assert_whole(store: &Store, last: u64) {
    let base = store.base().unwrap();
    assert!(base.reaches == base.epoch && base.epoch.0 <= last, "{base:?}");
    let mut windows = windows_after(base.epoch.0.min(ROOMY));
    for epoch in ROOMY + 1..=base.epoch.0 {
        windows.extend((0..1000).map(|number| (key(epoch * 10_000 + number), state(number))));
    }
    assert!(windows_of(store) == windows, "wrong content at {base:?}");
}

fn fill_disk(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

#[test]
fn on_a_full_disk() {
    let mount_point = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=24m none "$TIDEGATE_STATE_CHILD" || exit 42; exec "$0" "$@""#;
    let namespaces: [&[&str]; 2] =
        [&["unshare", "--mount"], &["unshare", "--user", "--map-root-user", "--mount"]];
    for namespace in namespaces {
        let wrapper = [namespace, &["sh", "-c", script]].concat();
        let Ok(output) = child("in_a_small_file_system", mount_point.path(), &wrapper).output() else {
            continue;
        };
        let stderr = String::from_utf8_lossy(&output.stderr);
        // 42: not allowed to mount; 1 without a word of the test harness: not allowed to unshare.
        if output.status.code() == Some(42) || stderr.starts_with("unshare:") {
            continue;
        }
        assert!(output.status.success(), "{}{stderr}", String::from_utf8_lossy(&output.stdout));
        eprintln!("{stderr}");
        return;
    }
    eprintln!("NOT TESTED: a full disk, because this user may not mount a tmpfs");
}
