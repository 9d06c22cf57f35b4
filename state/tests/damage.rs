//! Damage to the store's files is noticed, or does not matter.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use support::{
    Random, apply_epoch, assert_right, child_path, image_after, open, open_at, open_missing, spawn_worker,
    windows_after, windows_of, work,
};
use tidegate_core::Epoch;
use tidegate_state::{Opened, StateDir, Store};

/// The history that is damaged: about half of sled's file holds data that is still of use.
const EPOCHS: u64 = 12;
/// Per kind of damage and kind of exit; `TIDEGATE_DAMAGE_TRIALS` sets another number.
const TRIALS: u64 = 20;
/// No opening may take longer, damaged or not.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Damage {
    FlippedBit,
    ZeroedPage,
    Truncation,
    FlippedBitInSmallFile,
    TruncatedSmallFile,
    MissingFile,
}

const KINDS: [Damage; 6] = [
    Damage::FlippedBit,
    Damage::ZeroedPage,
    Damage::Truncation,
    Damage::FlippedBitInSmallFile,
    Damage::TruncatedSmallFile,
    Damage::MissingFile,
];

/// Not a test of its own: the process that is killed to leave an unclean store.
#[test]
fn worker() {
    if let Some(path) = child_path() {
        work(&path, u64::MAX);
    }
}

#[test]
fn damage_after_a_clean_exit_is_noticed_or_harmless() {
    let template = tempfile::tempdir().unwrap();
    let mut store = open_missing(template.path());
    (1..EPOCHS).for_each(|epoch| apply_epoch(&mut store, epoch));
    drop(store);
    // Opened once more, so that there is a snapshot as well.
    apply_epoch(&mut open_at(template.path()), EPOCHS);
    try_all_kinds(template.path());
}

#[test]
fn damage_after_a_kill_is_noticed_or_harmless() {
    let template = tempfile::tempdir().unwrap();
    let (mut worker, mut applied) = spawn_worker("worker", template.path());
    applied.find(|epoch| *epoch == EPOCHS).expect("the worker came to nothing");
    worker.kill().unwrap();
    worker.wait().unwrap();
    try_all_kinds(template.path());
}

fn try_all_kinds(template: &Path) {
    let trials = env::var("TIDEGATE_DAMAGE_TRIALS").map_or(TRIALS, |text| text.parse().unwrap());
    for kind in KINDS {
        let mut found = [0; 3];
        for seed in 0..trials {
            let dir = tempfile::tempdir().unwrap();
            copy(template, dir.path());
            inflict(kind, &dir.path().join("windows"), &mut Random(seed));
            found[open_and_use(dir.path(), &format!("{kind:?}, seed {seed}"))] += 1;
        }
        let [missing, damaged, right] = found;
        eprintln!("{kind:?}: {missing} missing, {damaged} damaged, {right} right");
    }
}

/// Opens a store that may be damaged, uses it, and returns what it was found to be.
fn open_and_use(path: &Path, trial: &str) -> usize {
    let before = Instant::now();
    let opened = open(path);
    assert!(before.elapsed() < PATIENCE, "{trial}: took {:?}: {opened:?}", before.elapsed());
    match opened {
        Opened::Missing(mut store) => {
            rebuild(&mut store);
            0
        }
        Opened::Damaged { reason } => {
            assert!(!reason.contains("did not answer"), "{trial}: {reason}");
            let dir = StateDir::open(path).unwrap();
            Store::put_aside(&dir).unwrap();
            let Opened::Missing(mut store) = Store::open(&dir).unwrap() else { panic!("{trial}: put aside") };
            rebuild(&mut store);
            1
        }
        Opened::At(mut store) => {
            let reached = assert_right(&mut store);
            for epoch in reached + 1..=EPOCHS + 3 {
                let changes = support::encoded_changes_of(epoch);
                if let Err(error) = store.apply(Epoch(epoch), &changes, None) {
                    eprintln!("{trial}: damage found in use: {error}");
                    return 1;
                }
            }
            drop(store);
            match open(path) {
                Opened::At(mut store) => assert!(assert_right(&mut store) >= reached, "{trial}"),
                found => eprintln!("{trial}: damage found at the next start: {found:?}"),
            }
            2
        }
    }
}

fn rebuild(store: &mut Store) {
    store.fill(Epoch(EPOCHS), &[], &image_after(EPOCHS)).unwrap();
    assert!(windows_of(store) == windows_after(EPOCHS));
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn inflict(damage: Damage, store: &Path, random: &mut Random) {
    let files = files(store);
    let (database, small): (Vec<_>, Vec<_>) = files.iter().partition(|path| path.ends_with("db"));
    let small = &small[random.below(small.len() as u64) as usize];
    let any = &files[random.below(files.len() as u64) as usize];
    match damage {
        Damage::FlippedBit => flip_bit(database[0], random),
        Damage::ZeroedPage => {
            let mut bytes = fs::read(database[0]).unwrap();
            let page = random.below(bytes.len() as u64 / 4096) as usize * 4096;
            bytes[page..page + 4096].fill(0);
            fs::write(database[0], bytes).unwrap();
        }
        Damage::Truncation => truncate(database[0], random),
        Damage::FlippedBitInSmallFile => flip_bit(small, random),
        Damage::TruncatedSmallFile => truncate(small, random),
        Damage::MissingFile => fs::remove_file(any).unwrap(),
    }
}

fn files(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn flip_bit(path: &Path, random: &mut Random) {
    let mut bytes = fs::read(path).unwrap();
    if !bytes.is_empty() {
        let bit = random.below(bytes.len() as u64 * 8) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path, random: &mut Random) {
    let len = fs::metadata(path).unwrap().len();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(random.below(len + 1)).unwrap();
}
