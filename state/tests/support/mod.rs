//! A deterministic history of epochs, and what the content is after each: the model the store is held to.

#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code, unreachable_pub)]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tidegate_core::{
    Epoch, NextOffset, PartitionId, TimestampMs,
    window::{Evidence, WindowKey, WindowState},
};
use tidegate_state::{MemoryImage, Opened, StateDir, Store, encode_key, encode_value};

pub type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;
pub type Windows = BTreeMap<WindowKey, WindowState>;

/// Splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

pub fn key(number: u64) -> WindowKey {
    let start = TimestampMs((number % 3 * 60_000).cast_signed());
    WindowKey { rule: "high-error-rate".into(), service: format!("service-{number}").into(), start }
}

pub fn state(count: u64) -> WindowState {
    let seen = |offset: u64| Evidence {
        partition: PartitionId(3),
        offset: offset.cast_signed(),
        user_id: Some(format!("user-{offset}").into()),
        timestamp: TimestampMs(7),
    };
    WindowState {
        window_ms: 60_000,
        count,
        first_event_at: TimestampMs(1),
        last_event_at: TimestampMs(count.cast_signed()),
        crossed: count > 50,
        evidence: (0..count % 6).map(seen).collect(),
    }
}

pub fn put(epoch: Epoch, key: &WindowKey, state: &WindowState) -> (Vec<u8>, Option<Vec<u8>>) {
    let (mut raw_key, mut value) = (Vec::new(), Vec::new());
    encode_key(key, &mut raw_key);
    encode_value(epoch, state, &mut value);
    (raw_key, Some(value))
}

pub fn delete(key: &WindowKey) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut raw_key = Vec::new();
    encode_key(key, &mut raw_key);
    (raw_key, None)
}

/// Windows of the history; the first epoch opens all of them.
const WINDOWS: u64 = 8000;

/// Changes of a history's epoch: `None` deletes. A tenth of the epochs needs several batches.
fn changes_of(epoch: u64) -> impl Iterator<Item = (WindowKey, Option<WindowState>)> {
    let mut random = Random(epoch);
    let count = match epoch {
        1 => WINDOWS,
        _ if epoch.is_multiple_of(10) => 2500,
        _ => random.below(300),
    };
    (0..count).map(move |number| {
        let number = if epoch == 1 { number } else { random.below(WINDOWS) };
        let open = epoch == 1 || random.below(4) > 0;
        (key(number), open.then(|| state(random.below(100))))
    })
}

pub fn encoded_changes_of(epoch: u64) -> Changes {
    let encode = |(key, state): (WindowKey, Option<WindowState>)| match state {
        Some(state) => put(Epoch(epoch), &key, &state),
        None => delete(&key),
    };
    changes_of(epoch).map(encode).collect()
}

/// The windows after an epoch of the history.
pub fn windows_after(epoch: u64) -> Windows {
    let mut windows = Windows::new();
    for (key, state) in (1..=epoch).flat_map(changes_of) {
        match state {
            Some(state) => windows.insert(key, state),
            None => windows.remove(&key),
        };
    }
    windows
}

/// The changelog after an epoch of the history, replayed.
pub fn image_after(epoch: u64) -> MemoryImage {
    let mut image = MemoryImage::default();
    for (key, value) in (1..=epoch).flat_map(encoded_changes_of) {
        image.apply(&key, value.as_deref()).unwrap();
    }
    image
}

pub fn apply_epoch(store: &mut Store, epoch: u64) {
    store.apply(Epoch(epoch), &encoded_changes_of(epoch), None).unwrap();
}

pub fn windows_of(store: &Store) -> Windows {
    let mut windows = Windows::new();
    let count = store
        .scan(|key, state| {
            assert!(windows.insert(key, state).is_none(), "a window came twice");
        })
        .unwrap();
    assert_eq!(count, windows.len() as u64);
    windows
}

/// Asserts that the store's content is exactly that of its base, or, if it ended in the middle of an
/// epoch, of that epoch once it is caught up.
pub fn assert_right(store: &mut Store) -> u64 {
    let base = store.base().unwrap().clone();
    for epoch in base.epoch.0 + 1..=base.reaches.0 {
        apply_epoch(store, epoch);
    }
    assert!(windows_of(store) == windows_after(base.reaches.0), "wrong content, found at {base:?}");
    base.reaches.0
}

pub fn open(path: &Path) -> Opened {
    Store::open(&StateDir::open(path).unwrap()).unwrap()
}

pub fn open_at(path: &Path) -> Store {
    match open(path) {
        Opened::At(store) => store,
        other => panic!("expected a sound store, found {other:?}"),
    }
}

pub fn open_missing(path: &Path) -> Store {
    match open(path) {
        Opened::Missing(store) => store,
        other => panic!("expected no store, found {other:?}"),
    }
}

pub fn positions(offsets: &[i64]) -> Vec<NextOffset> {
    offsets.iter().copied().map(NextOffset).collect()
}

/// Runs one test of this binary in a process of its own, which finds `path` in [`child_path`].
pub fn child(test: &str, path: &Path, wrapper: &[&str]) -> Command {
    let this = env::current_exe().unwrap();
    let words: Vec<_> =
        wrapper.iter().map(|word| (*word).into()).chain([this.into_os_string(), test.into()]).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["--exact", "--nocapture"]).env("TIDEGATE_STATE_CHILD", path);
    command
}

/// Where a child works; `None` in the test run itself.
pub fn child_path() -> Option<std::path::PathBuf> {
    env::var_os("TIDEGATE_STATE_CHILD").map(Into::into)
}

/// A child that goes through the history from where its store is, and says each epoch that it has applied.
pub fn spawn_worker(test: &str, path: &Path) -> (Child, impl Iterator<Item = u64>) {
    let mut worker = child(test, path, &[]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(worker.stdout.take().unwrap()).lines().map_while(Result::ok);
    (worker, lines.filter_map(|line| line.strip_prefix("applied ")?.parse().ok()))
}

/// What such a child does, up to an epoch.
pub fn work(path: &Path, last_epoch: u64) {
    let mut store = match open(path) {
        Opened::Missing(store) | Opened::At(store) => store,
        Opened::Damaged { reason } => panic!("damaged by a kill: {reason}"),
    };
    let first = store.base().map_or(1, |base| base.epoch.0 + 1);
    for epoch in first..=last_epoch {
        apply_epoch(&mut store, epoch);
        println!("applied {epoch}");
    }
}
