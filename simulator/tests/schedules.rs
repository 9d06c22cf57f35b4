//! The protocol, over as many schedules as a minute has room for.

use tidegate_simulator::{Fault, run, run_many};

const SCHEDULES: u64 = 100_000;

#[test]
fn no_schedule_breaks_a_rule_whatever_fails_and_every_kind_of_fault_is_met() {
    let totals = run_many(0, SCHEDULES, 2).unwrap_or_else(|failure| panic!("{failure}"));
    eprintln!("{totals}");
    assert_eq!(totals.schedules, SCHEDULES);
    assert!(totals.calm > 0 && totals.commits > SCHEDULES && totals.alerts > SCHEDULES, "{totals}");
    for (fault, met) in Fault::ALL.into_iter().zip(totals.met) {
        assert!(met > SCHEDULES / 200, "{fault}: only {met} schedules");
    }
}

#[test]
fn a_seed_decides_the_whole_schedule() {
    for seed in 0..50 {
        assert_eq!(run(seed).ok(), run(seed).ok(), "seed {seed}");
    }
}
