//! Killed at any moment and run again.

use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use super::{
    done, listed,
    sinks::{assert_table, await_rejected, nul, warehouse_site},
};
use crate::support::{
    self,
    events::record,
    kafka::{Input, Record},
    postgres::Database,
    random::Random,
    site::Site,
    wait,
};

const KILLS: i64 = 10;

fn start(site: &Site, args: &[&str]) -> Child {
    let mut command = site.tidegate(&[&["dead-letters", "redrive"], args].concat());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Starts a redrive and kills it within so many milliseconds after it has begun.
fn killed(site: &Site, args: &[&str], has_begun: impl FnMut() -> bool, within_ms: u64, random: &mut Random) {
    let mut redrive = start(site, args);
    wait::until_true("the redrive to begin", has_begun);
    // The moment of death is the fault that is injected.
    thread::sleep(Duration::from_millis(random.below(within_ms)));
    redrive.kill().unwrap();
    redrive.wait().unwrap();
}

/// A site whose dead letters are these records.
fn site(name: &str, letters: i32) -> Site {
    let (site, start) = (Site::new(name, 4).create(), wait::hours_ago(3));
    let poison = |n| record(n % 4, &format!("user-{n}"), format!("poison {n}"), start + i64::from(n));
    site.write(&(0..letters).map(poison).collect::<Vec<Input>>());
    site
}

/// Each dead letter is in the input once more, and nothing else is.
fn assert_each_is_back_once(site: &Site) {
    let mut back: BTreeMap<String, Record> = BTreeMap::new();
    for record in site.input() {
        if let Some(name) = record.header("tidegate.redriven").map(str::to_owned)
            && let Some(twice) = back.insert(name, record)
        {
            panic!("sent twice: {twice:?}");
        }
    }
    for letter in site.dump(&site.topics.dead_letters) {
        let name = format!("{}-{}-{}", site.topics.dead_letters, letter.partition, letter.offset);
        let record = back.remove(&name).unwrap_or_else(|| panic!("not sent: {letter:?}"));
        assert_eq!((record.key, record.value), (letter.key.clone(), letter.value.clone()), "{letter:?}");
        assert_eq!(letter.header("tidegate.partition"), Some(&*record.partition.to_string()), "{letter:?}");
    }
    assert!(back.is_empty(), "sent, and no dead letter: {back:?}");
}

#[test]
fn a_redrive_killed_ten_times_beside_a_running_daemon_sends_each_dead_letter_once() {
    let _turn = support::heavy();
    let site = site("letters-killed", 3000);
    // What is sent becomes a dead letter again, so that there is always something to send.
    let daemon = site.run();
    site.await_caught_up();
    let (mut random, mut progress) = (Random::by_chance(), 0);
    for kill in 0..KILLS {
        // Every other one has written something.
        let ends = site.input_ends();
        let writes = || site.input_ends() != ends;
        match kill % 2 {
            0 => killed(&site, &[], || true, 1000, &mut random),
            _ => killed(&site, &[], writes, 500, &mut random),
        }
        // What the killed one left undecided keeps nobody from looking.
        let [(_, _, letters, sent)] = listed(&site, &[])[..] else { panic!("not one reason") };
        assert!(sent <= letters, "{sent} of {letters}");
        eprintln!("{sent} of {letters} are sent");
        progress = sent;
    }
    assert!(progress > 0, "no kill came in the middle of the work");
    done(&site, &["redrive"]);
    site.await_caught_up();
    daemon.stop();
    done(&site, &["redrive"]);
    assert_each_is_back_once(&site);
    let cut_off = site.kafka.rolled_back(&site.topics.raw);
    eprintln!("{cut_off} records were in transactions that a kill cut off");
}

#[test]
fn two_redrives_at_a_time_send_each_dead_letter_once() {
    let site = site("letters-two", 3000);
    site.run_until_end();
    let both = [start(&site, &[]), start(&site, &[])];
    let mut ended = 0;
    for redrive in both {
        let output = redrive.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => ended += 1,
            code => assert!(code == Some(1) && said.contains("another redrive has begun"), "{code:?} {said}"),
        }
    }
    assert!(ended > 0, "the later one goes on to its end");
    assert_eq!(done(&site, &["redrive"]), "3000 were sent before\n");
    assert_each_is_back_once(&site);
}

#[test]
fn a_redrive_to_postgresql_killed_ten_times_leaves_the_table_exact() {
    const LETTERS: i64 = 300;
    let _turn = support::heavy();
    let database = Database::create();
    let (site, begin) = (warehouse_site("letters-killed-sink", &database), wait::hours_ago(3));
    site.write(&(0..LETTERS).map(|n| nul(n, begin + n)).collect::<Vec<Input>>());
    let daemon = site.run();
    await_rejected(&daemon, "warehouse", LETTERS as u64);
    daemon.stop();
    database.execute("alter table processed_events alter column event type text");
    let mut random = Random::by_chance();
    for kill in 0..KILLS {
        // Each has something to send.
        let part = |kill: i64| (begin + kill * LETTERS / KILLS).to_string();
        killed(&site, &["--from", &part(kill), "--to", &part(kill + 1)], || true, 1000, &mut random);
    }
    done(&site, &["redrive"]);
    let all = LETTERS as u64;
    assert_eq!(listed(&site, &[]), [("sink_rejected".to_owned(), Some("warehouse".to_owned()), all, all)]);
    assert_table(&site, &database);
}
