//! A full disk stops the store, not the process, and leaves what was there.

#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path};

use support::{apply_epoch, assert_right, child, child_path, encoded_changes_of, open, open_at};
use tidegate_core::Epoch;
use tidegate_state::{Opened, StateDir, StateError, Store};

/// What [`on_a_full_disk`] runs in mount namespace of its own.
#[test]
fn in_a_small_file_system() {
    let Some(path) = child_path() else { return };
    let ballast = path.join("ballast");
    let mut store = match open(&path) {
        Opened::Missing(store) => store,
        other => panic!("{other:?} in a new file system"),
    };
    (1..=9).for_each(|epoch| apply_epoch(&mut store, epoch));
    fill_disk(&ballast);

    // sled writes in the background: the error comes with one of the next epochs.
    let (failed_at, error) = (10..1000)
        .find_map(|epoch| Some((epoch, store.apply(Epoch(epoch), &encoded_changes_of(epoch), None).err()?)))
        .expect("the disk never got full");
    assert!(matches!(error, StateError::Broken(_)), "{error:?}");
    assert!(matches!(store.apply(Epoch(failed_at), &[], None), Err(StateError::Broken(_))));
    assert!(matches!(store.scan(|_, _| {}), Err(StateError::Broken(_))));
    drop(store);
    eprintln!("full at epoch {failed_at}: {error}");

    let dir = StateDir::open(&path).unwrap();
    match Store::open(&dir) {
        Ok(Opened::At(store)) => eprintln!("opened on the full disk at {:?}", store.base()),
        Ok(found) => panic!("a full disk is no damage: {found:?}"),
        Err(error) => eprintln!("refused on the full disk: {error}"),
    }
    drop(dir);

    fs::remove_file(ballast).unwrap();
    match open(&path) {
        Opened::At(mut store) => {
            // Epochs that were only in sled's memory are caught up.
            let reached = assert_right(&mut store);
            (reached + 1..=failed_at + 1).for_each(|epoch| apply_epoch(&mut store, epoch));
            drop(store);
            assert_eq!(assert_right(&mut open_at(&path)), failed_at + 1);
        }
        found => panic!("not found again: {found:?}"),
    }
}

fn fill_disk(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    let block = [1; 4096];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
}

#[test]
fn on_a_full_disk() {
    let mount_point = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=6m none "$TIDEGATE_STATE_CHILD" || exit 42; exec "$0" "$@""#;
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
