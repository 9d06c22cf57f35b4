//! The whole job on the embedded log: the same results as on Kafka, whatever happens to the process, the disk
//! and the files.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::support::{
    self,
    daemon::Daemon,
    disk::SmallDisk,
    events::{Mix, event},
    oracle::{DEFAULT_RULE, Job, Phase, SLIDING_RULE},
    random::Random,
    site::{Site, files_below},
    verify, wait,
};
use serde_json::Value;
use tidegate_log::LogError;

const SEED: u64 = 4_711;
const KILLS: usize = 50;
const SPAN_MS: u64 = 10 * 60_000;
const MAX_DISORDER_MS: i64 = 30 * 60_000;
/// As far as a record of the embedded log may go.
const MAX_OUTPUT_BYTES: usize = 4 << 20;

fn site(name: &str, partitions: i32) -> Site {
    let job =
        Job { rules: vec![DEFAULT_RULE, SLIDING_RULE], max_output_bytes: MAX_OUTPUT_BYTES, ..Job::default() };
    Site::embedded(name, partitions).order_free().job(job).create()
}

#[test]
fn mixed_events_come_out_as_computed_record_by_record_in_several_runs() {
    let site = site("mixed", 12);
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(SEED, 12, start, SPAN_MS);
    site.write(&mix.take(20_000));
    site.run_until_end();
    // Windows of the run before are still open.
    site.write(&mix.take(20_000));
    let sentinel = start + 60 * 60_000;
    site.write_sentinels(sentinel);
    site.run_until_end();
    let on_time = site.input_ends();
    let late = |n: i64| event(n as i32 % 12, "error", "service-0", "late", start + n * 1000);
    site.write(&(0..300).map(late).collect::<Vec<_>>());
    site.run_until_end();
    // There is nothing more.
    site.run_until_end();
    let phases = [
        Phase { until: on_time, watermark: None },
        Phase { until: vec![i64::MAX; 12], watermark: Some(sentinel - MAX_DISORDER_MS) },
    ];
    let expected = verify::outputs(&site, &phases);
    assert_eq!(expected.late["high-error-rate"], 300);
    assert!(expected.alerts(&site.job).count() > 40 && expected.bots > 1000, "{expected:?}");
}

#[test]
fn fifty_kills_at_random_moments_leave_no_trace() {
    let _turn = support::heavy();
    let site = site("kills", 4);
    let start = wait::hours_ago(3);
    let (mut mix, mut random) = (Mix::new(SEED, 4, start, SPAN_MS), Random::new(SEED));
    let mut lives_with_progress = 0;
    for kill in 0..KILLS {
        site.write(&mix.take(1500));
        let mut daemon = site.start(&[]);
        // Every third one dies at some moment of its start or recovery, the others at work.
        if kill % 3 != 0 {
            daemon.wait_ready();
        }
        // The moment of death is the fault that is injected.
        thread::sleep(Duration::from_millis(random.below(300)));
        lives_with_progress += usize::from(kill % 3 != 0 && has_committed(&daemon));
        daemon.kill();
    }
    site.write_sentinels(start + 60 * 60_000);
    site.run_until_end();
    let expected = verify::outputs(&site, &[]);
    assert!(expected.alerts(&site.job).count() > 20, "too little happened in this run");
    assert!(
        lives_with_progress >= KILLS / 4,
        "only {lives_with_progress} of {KILLS} lives committed anything"
    );
}

fn has_committed(daemon: &Daemon) -> bool {
    daemon.metrics().sum("tidegate_source_records_total", &[]) > 0
}

#[test]
fn a_panic_in_any_part_leaves_no_trace() {
    let site = site("panics", 4);
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(SEED, 4, start, SPAN_MS).pure();
    for part in [
        "reader",
        "partition",
        "filter",
        "enrich",
        "window",
        "committer",
        "barrier",
        "store",
        "before_commit",
    ] {
        site.write(&mix.take(2000));
        let failpoints = format!("{part}=2*off->1*panic->off");
        site.start_until_end(&[("FAILPOINTS", &failpoints)]).wait_exit_code(0);
    }
    site.write_sentinels(start + 60 * 60_000);
    site.run_until_end();
    verify::outputs(&site, &[]);
}

/// Posts events, and remembers those that were acknowledged.
struct Clients<'a> {
    site: &'a Site,
    agent: ureq::Agent,
    stop: AtomicBool,
    sent: AtomicUsize,
    /// Where each acknowledged event is said to be.
    acknowledged: Mutex<BTreeMap<String, (i64, i64)>>,
}

impl<'a> Clients<'a> {
    fn new(site: &'a Site) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build();
        Self {
            site,
            agent: config.into(),
            stop: AtomicBool::new(false),
            sent: AtomicUsize::new(0),
            acknowledged: Mutex::default(),
        }
    }

    /// One client: posts one to three events at a time until it is told to stop.
    fn run(&self, client: usize) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            let names: Vec<String> =
                (0..1 + number % 3).map(|line| format!("{client}-{number}-{line}")).collect();
            if self.post(&names).is_none() {
                // Nobody is there: room for whoever starts it again.
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn post(&self, names: &[String]) -> Option<u16> {
        let line = |name: &String| {
            format!(r#"{{"user_id":"{name}","event_type":"page_view","filler":"{}"}}"#, "f".repeat(300))
                + "\n"
        };
        let body: String = names.iter().map(line).collect();
        let url = format!("http://{}/api/v1/events", self.site.http);
        let answer = self.agent.post(url).content_type("application/x-ndjson").send(body);
        // A daemon that is dead, or dies now, acknowledges nothing.
        let mut answer = answer.ok()?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().ok()?;
        if status != 202 {
            return Some(status);
        }
        let text: Value = serde_json::from_str(&text).unwrap();
        let places = text["records"].as_array().unwrap();
        assert_eq!(places.len(), names.len());
        let place = |place: &Value| (place["partition"].as_i64().unwrap(), place["offset"].as_i64().unwrap());
        self.acknowledged.lock().unwrap().extend(names.iter().cloned().zip(places.iter().map(place)));
        Some(202)
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Every acknowledged event is in the input where it was said to be, and once in the output. The daemon is down.
    fn check(&self) {
        let acknowledged = self.acknowledged.lock().unwrap();
        let input: BTreeMap<(i64, i64), String> = self.site.input().into_iter().map(keyed).collect();
        for (name, place) in acknowledged.iter() {
            assert_eq!(input.get(place), Some(name), "{name} at {place:?}");
        }
        let mut processed: BTreeMap<String, usize> = BTreeMap::new();
        for record in self.site.dump(&self.site.topics.processed) {
            *processed.entry(keyed(record).1).or_default() += 1;
        }
        assert_eq!(processed.len(), input.len());
        assert!(processed.values().all(|count| *count == 1));
    }
}

/// Stops the clients when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn keyed(record: support::kafka::Record) -> ((i64, i64), String) {
    ((i64::from(record.partition), record.offset), String::from_utf8(record.key.unwrap()).unwrap())
}

#[test]
fn whatever_sixteen_clients_were_told_is_durable_is_there_once_after_a_kill() {
    let _turn = support::heavy();
    let site = Site::embedded("ingest", 4).create();
    let mut daemon = Some(site.run());
    let clients = Clients::new(&site);
    thread::scope(|scope| {
        for client in 0..16 {
            let clients = &clients;
            scope.spawn(move || clients.run(client));
        }
        // Also when an assertion fails, or the clients would go on for ever.
        let _stop = Stop(&clients.stop);
        for _ in 0..4 {
            let before = clients.acknowledged();
            wait::until_true("events to be acknowledged", || clients.acknowledged() > before + 400);
            daemon.take().unwrap().kill();
            daemon = Some(site.run());
        }
    });
    daemon.take().unwrap().kill();
    site.run_until_end();
    clients.check();
}

#[test]
fn a_full_disk_refuses_events_and_goes_on_when_there_is_room() {
    let site = Site::embedded("full", 2);
    let state_dir = site.state_dir.clone();
    let Some(disk) = SmallDisk::mount(&state_dir, 64) else {
        eprintln!("no file system may be mounted here: a full disk is not tested");
        return;
    };
    let site = site.create();
    let mut daemon = site.run();
    let clients = Clients::new(&site);
    let name = |kind: &str, n: usize| format!("{kind}-{n}");
    for n in 0..50 {
        assert_eq!(clients.post(&[name("before", n)]), Some(202));
    }
    disk.fill();
    let answers: Vec<_> = (0..20).map(|n| clients.post(&[name("full", n)])).collect();
    assert!(answers.iter().all(|answer| matches!(answer, Some(503 | 507))), "{answers:?}");
    assert!(answers.contains(&Some(507)), "{answers:?}");
    daemon.assert_running();
    disk.free();
    wait::until_true("events to be taken again", || {
        daemon.assert_running();
        clients.post(&[name("again", clients.sent.fetch_add(1, Ordering::Relaxed))]) == Some(202)
    });
    daemon.wait_ready();
    for n in 0..50 {
        assert_eq!(clients.post(&[name("after", n)]), Some(202));
    }
    daemon.stop();
    site.run_until_end();
    clients.check();
}

/// Damage is told, or does no harm; nothing is lost in silence.
#[test]
fn a_damaged_log_is_refused_with_a_clear_word() {
    let site = site("damaged", 2);
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(SEED, 2, start, SPAN_MS);
    site.write(&mix.take(4000));
    site.run_until_end();
    let expected = site.dump(&site.topics.processed);
    let (kept, log) = (site.path("kept"), site.log_dir());
    copy(&log, &kept);
    let mut random = Random::new(SEED);
    let mut told = 0;
    for round in 0..10 {
        let file = fs::File::options().read(true).write(true).open(log.join("db")).unwrap();
        let size = file.metadata().unwrap().len();
        if round % 2 == 0 {
            file.set_len(random.below(size)).unwrap();
        } else {
            // Sled's pages are sparse: some places hold nothing.
            for _ in 0..20 {
                let at = random.below(size);
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
            }
        }
        drop(file);
        let output = site.command(&["run", "--until-end"]);
        match output.code {
            // What is read again may still be damaged where the run did not look.
            Some(0) => match support::embedded::try_dump(&log, &site.topics.processed) {
                Ok(found) => assert!(found == expected, "round {round}"),
                Err(LogError::Damaged { .. }) => told += 1,
                Err(error) => panic!("round {round}: {error}"),
            },
            Some(1) => {
                assert!(output.stderr.contains("damaged"), "{output:?}");
                assert!(output.stderr.contains("restore the directory"), "{output:?}");
                told += 1;
            }
            _ => panic!("{output:?}"),
        }
        fs::remove_dir_all(&log).unwrap();
        copy(&kept, &log);
    }
    assert!(told > 0);
    site.run_until_end();
    assert!(site.dump(&site.topics.processed) == expected);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for path in files_below(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, target).unwrap();
    }
}

#[test]
fn every_command_works_on_the_embedded_log() {
    let site = Site::embedded("commands", 3);
    site.write_config();
    let run = site.command(&["run", "--until-end"]);
    assert_eq!(run.code, Some(69));
    assert!(run.stderr.contains("topics apply"), "{run:?}");
    let plan = site.command(&["topics", "plan"]);
    assert_eq!((plan.code, plan.stdout.matches("is missing").count()), (Some(0), 5), "{plan:?}");
    assert_eq!(site.command(&["check"]).code, Some(69));
    assert_eq!(site.command(&["topics", "apply"]).code, Some(0));
    let check = site.command(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");

    let generated = site.command(&["generate", "--events", "3000"]);
    assert_eq!(generated.code, Some(0), "{generated:?}");
    site.run_until_end();
    let state = site.command(&["state", "show"]);
    assert!(state.stdout.contains("high-error-rate"), "{state:?}");
    let before = site.dump(&site.topics.processed).len();
    assert!(before > 2000, "{before}");

    let daemon = site.run();
    for args in [&["topics", "plan"][..], &["topics", "apply"], &["state", "show"], &["run"]] {
        let refused = site.command(args);
        assert_eq!(refused.code, Some(1), "{args:?}: {refused:?}");
        assert!(refused.stderr.contains("in use by process"), "{refused:?}");
    }
    // What the daemon has open it takes over HTTP.
    let generated = site.command(&["generate", "--events", "3000", "--seed", "2"]);
    assert_eq!(generated.code, Some(0), "{generated:?}");
    daemon.stop();
    site.run_until_end();
    assert_eq!(site.input().len(), 6000);
    assert!(site.dump(&site.topics.processed).len() > before + 2000);
}
