//! A process that is killed leaves a store that is right, if perhaps of an earlier epoch.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Random, assert_right, child_path, open, spawn_worker, work};
use tidegate_state::Opened;

const KILLS: u64 = 25;

/// Not a test of its own: the process that is killed below.
#[test]
fn worker() {
    if let Some(path) = child_path() {
        work(&path, u64::MAX);
    }
}

#[test]
fn a_killed_process_leaves_whole_epochs() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(20_260_801);
    let mut found = 0;
    for _ in 0..KILLS {
        let (mut worker, mut applied) = spawn_worker("worker", dir.path());
        let epochs = random.below(30);
        // From the last of these epochs on, at some point in the writing of a later one.
        let said = applied.by_ref().take(1 + epochs as usize).last().expect("the worker came to nothing");
        (0..random.below(2000)).for_each(|_| std::hint::spin_loop());
        worker.kill().unwrap();
        worker.wait().unwrap();
        drop(applied);

        // The parent opens in its own process, verifies, and leaves it caught up to a whole epoch.
        let reached = match open(dir.path()) {
            Opened::Missing(_) => 0,
            Opened::At(mut store) => assert_right(&mut store),
            Opened::Damaged { reason } => panic!("a kill after epoch {said} did damage: {reason}"),
        };
        assert!(reached >= found, "epoch {found} was there before and is lost");
        found = reached;
    }
    assert!(found > 10, "the kills left no room for progress");
}
