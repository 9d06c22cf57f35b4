//! Crashes of the process: kill -9 at any moment leaves no trace in the outputs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::support::{
    self,
    events::{Mix, event},
    kafka::Input,
    oracle::{DEFAULT_RULE, Job, SLIDING_RULE},
    random::Random,
    site::Site,
    verify, wait,
};

const SEED: u64 = 20_260_101;
const KILLS: usize = 24;
const SPAN_MS: u64 = 10 * 60_000;

fn site(name: &str) -> Site {
    let job = Job { rules: vec![DEFAULT_RULE, SLIDING_RULE], ..Job::default() };
    Site::new(name, 4).order_free().job(job).create()
}

/// Does something again and again in a thread of its own until it is dropped.
struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    fn run(every_ms: u64, mut step: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let body = move || {
            while !stopped.load(Ordering::Relaxed) {
                step();
                thread::sleep(Duration::from_millis(every_ms));
            }
        };
        Self { stop, thread: Some(thread::spawn(body)) }
    }

    /// Stops it; fails if it failed.
    fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// About 5,000 records a second.
fn load(site: &Site, start: i64) -> Background {
    let (producer, topic) = (site.kafka.producer(), site.topics.raw.clone());
    let mut mix = Mix::new(SEED, site.partitions, start, SPAN_MS);
    Background::run(20, move || producer.write(&topic, &mix.take(100)))
}

/// Committed offsets never go back.
fn offsets_only_rise(site: &Site) -> Background {
    let watch = site.committed_watch();
    let mut last = vec![0; site.partitions as usize];
    Background::run(50, move || {
        if let Some(now) = watch.offsets() {
            assert!(
                last.iter().zip(&now).all(|(last, now)| last <= now),
                "offsets fell from {last:?} to {now:?}"
            );
            last = now;
        }
    })
}

#[test]
fn kills_at_random_moments_under_load_leave_no_trace() {
    let _turn = support::heavy();
    let site = site("crash");
    let start = wait::hours_ago(3);
    let (load, offsets) = (load(&site, start), offsets_only_rise(&site));
    let (watch, mut random) = (site.committed_watch(), Random::new(SEED));
    let committed = || -> i64 { wait::until("committed offsets", || watch.offsets()).iter().sum() };
    let mut lives_with_progress = 0;
    for kill in 0..KILLS {
        let before = committed();
        let mut daemon = site.start(&[]);
        // Every third one dies at some moment of its recovery, the others at work.
        if kill % 3 != 0 {
            daemon.wait_ready();
        }
        // The moment of death is the fault that is injected.
        thread::sleep(Duration::from_millis(random.below(800)));
        daemon.kill();
        lives_with_progress += usize::from(committed() > before);
    }
    load.stop();
    assert!(
        lives_with_progress >= KILLS / 4,
        "only {lives_with_progress} of {KILLS} lives committed anything"
    );

    site.write_sentinels(start + 60 * 60_000);
    let daemon = site.run();
    site.await_caught_up();
    offsets.stop();
    daemon.stop();
    let expected = verify::outputs(&site, &[]);
    assert!(expected.alerts(&site.job).count() > 20, "too little happened in this run");
    assert!(site.kafka.rolled_back(&site.topics.processed) > 0, "no kill hit an open transaction");
}

/// Kills the daemon while its commits hang at `point`, and looks at what a second life makes of it.
fn killed_at(point: &str) {
    let site = site(point);
    let start = wait::hours_ago(3);
    let mut daemon = site.run_with_failpoints(&format!("{point}=3*off->pause"));
    let hangs = (0..60).any(|_| {
        site.write(&errors(start));
        !commits_soon(&site)
    });
    assert!(hangs, "the daemon never came to {point}");
    daemon.assert_running();
    daemon.kill();
    ends_exactly(&site, start);
}

fn ends_exactly(site: &Site, start: i64) {
    site.write_sentinels(start + 60 * 60_000);
    let daemon = site.run();
    site.await_caught_up();
    daemon.stop();
    verify::outputs(site, &[]);
}

fn errors(start: i64) -> Vec<Input> {
    (0..40).map(|n| event(n % 4, "error", "checkout", "user", start + i64::from(n))).collect()
}

/// Whether all input is committed within a few seconds. A wrong no does no harm: then a daemon dies that hangs
/// nowhere.
fn commits_soon(site: &Site) -> bool {
    let (ends, watch) = (site.kafka.end_offsets(&site.topics.raw), site.committed_watch());
    (0..100).any(|_| {
        thread::sleep(Duration::from_millis(30));
        watch.offsets().is_some_and(|now| now == ends)
    })
}

#[test]
fn a_crash_before_the_commit_is_undone() {
    killed_at("before_commit");
}

#[test]
fn a_crash_between_commit_and_local_state_keeps_the_epoch() {
    killed_at("after_commit");
}

#[test]
fn a_local_state_that_hung_behind_for_many_epochs_catches_up() {
    let site = site("behind");
    let start = wait::hours_ago(3);
    let daemon = site.run_with_failpoints("after_store=1*off->pause");
    let writes = || daemon.metrics().sum("tidegate_checkpoint_duration_seconds_count", &[("phase", "store")]);
    // Epochs are gathered: the second write holds some, and hangs.
    wait::until_true("the local state is written twice", || {
        site.write(&errors(start));
        writes() >= 2
    });
    for _ in 0..10 {
        site.write(&errors(start));
        site.await_caught_up();
    }
    daemon.kill();
    ends_exactly(&site, start);
}
