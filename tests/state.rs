//! The local state is a cache that can lie: whatever happens to it, windows go on exactly.

use std::{fs, os::unix::fs::FileExt, path::Path};

use crate::support::{
    daemon::Daemon,
    disk::SmallDisk,
    events::Mix,
    random::Random,
    site::{Site, files_below},
    verify, wait,
};

const SEED: u64 = 77;

/// Writes some records and waits until they are committed.
fn feed(site: &Site, mix: &mut Mix) {
    site.write(&mix.take(3000));
    site.await_caught_up();
}

/// All windows are open while the state is spoilt again and again, between one life and the next.
fn goes_on_exactly(name: &str, rounds: usize, spoil: impl Fn(&Path, &mut Random)) {
    let site = Site::new(name, 2).order_free().create();
    let start = wait::hours_ago(3);
    let (mut mix, mut random) = (Mix::new(SEED, 2, start, 60_000), Random::new(SEED));
    for round in 0..rounds {
        let daemon = site.run();
        feed(&site, &mut mix);
        // sled leaves different files behind after an orderly end.
        if round % 2 == 0 {
            daemon.kill()
        } else {
            daemon.stop()
        }
        spoil(&site.state_dir, &mut random);
    }
    let daemon = site.run();
    site.write_sentinels(start + 60 * 60_000);
    site.await_caught_up();
    daemon.stop();
    let expected = verify::outputs(&site, &[]);
    assert!(expected.alerts(&site.job).count() > 5);
}

#[test]
fn a_deleted_state_directory_is_rebuilt() {
    goes_on_exactly("deleted", 2, |dir, _| fs::remove_dir_all(dir).unwrap());
}

#[test]
fn flipped_bits_do_no_harm() {
    goes_on_exactly("flipped", 6, |dir, random| {
        for _ in 0..3 {
            let (path, size) = some_file(dir, random);
            let (file, at) =
                (fs::File::options().read(true).write(true).open(path).unwrap(), random.below(size));
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << random.below(8))], at).unwrap();
        }
    });
}

#[test]
fn truncated_files_do_no_harm() {
    goes_on_exactly("truncated", 6, |dir, random| {
        let (path, size) = some_file(dir, random);
        fs::File::options().write(true).open(path).unwrap().set_len(random.below(size)).unwrap();
    });
}

/// One of the files with content.
fn some_file(dir: &Path, random: &mut Random) -> (std::path::PathBuf, u64) {
    let files = files_below(dir).into_iter().map(|path| (fs::metadata(&path).unwrap().len(), path));
    let files: Vec<_> = files.filter(|(size, _)| *size > 0).collect();
    let (size, path) = random.pick(&files).clone();
    (path, size)
}

#[test]
fn a_full_disk_stops_neither_the_pipeline_nor_the_windows() {
    let site = Site::new("full", 2).order_free().create();
    let Some(disk) = SmallDisk::mount(&site.state_dir, 16) else {
        eprintln!("no file system may be mounted here: a full disk is not tested");
        return;
    };
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(SEED, 2, start, 60_000);
    let mut daemon: Daemon = site.run();
    feed(&site, &mut mix);
    disk.fill();
    for _ in 0..5 {
        feed(&site, &mut mix);
        daemon.assert_running();
    }
    daemon.kill();
    disk.free();

    let daemon = site.run();
    feed(&site, &mut mix);
    site.write_sentinels(start + 60 * 60_000);
    site.await_caught_up();
    daemon.stop();
    drop(disk);
    let expected = verify::outputs(&site, &[]);
    assert!(expected.alerts(&site.job).count() > 5);
}
