//! Many schedules, over several threads.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Failure, Fault, Summary, run};

/// Figures of many schedules.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Schedules that got to their end.
    pub schedules: u64,
    /// Their steps.
    pub steps: u64,
    /// Epochs that were committed.
    pub commits: u64,
    /// Alerts that were raised.
    pub alerts: u64,
    /// Processes that were started.
    pub processes: u64,
    /// Schedules in which nothing went wrong.
    pub calm: u64,
    /// Schedules that met each kind of fault, in the order of [`Fault::ALL`].
    pub met: [u64; Fault::ALL.len()],
    /// How long it took.
    pub took: Duration,
}

impl Totals {
    fn add(&mut self, summary: &Summary) {
        self.schedules += 1;
        self.steps += u64::from(summary.steps);
        self.commits += summary.commits as u64;
        self.alerts += summary.alerts as u64;
        self.processes += summary.processes;
        self.calm += u64::from(summary.faults.total() == 0);
        for (met, fault) in self.met.iter_mut().zip(Fault::ALL) {
            *met += u64::from(summary.faults.of(fault) > 0);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.steps += other.steps;
        self.commits += other.commits;
        self.alerts += other.alerts;
        self.processes += other.processes;
        self.calm += other.calm;
        for (met, more) in self.met.iter_mut().zip(other.met) {
            *met += more;
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedules, steps, commits, alerts, processes, calm, met, took } = self;
        let per_second = *schedules as f64 / took.as_secs_f64().max(0.001);
        writeln!(f, "{schedules} schedules in {:.1} s, {per_second:.0} a second", took.as_secs_f64())?;
        let of = |sum: &u64| *sum as f64 / (*schedules).max(1) as f64;
        writeln!(
            f,
            "a schedule has {:.0} steps, {:.1} commits, {:.1} alerts and {:.1} processes",
            of(steps),
            of(commits),
            of(alerts),
            of(processes)
        )?;
        write!(f, "schedules in which nothing goes wrong: {:.1} %", of(calm) * 100.0)?;
        for (fault, met) in Fault::ALL.into_iter().zip(met) {
            write!(f, "\n{:>6.1} %  {fault}", of(met) * 100.0)?;
        }
        Ok(())
    }
}

/// Runs so many schedules from this seed on, over so many threads.
///
/// # Errors
/// If a schedule broke a rule: the first such failure of a thread; the others end then.
pub fn run_many(first: u64, schedules: u64, threads: usize) -> Result<Totals, Box<Failure>> {
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let has_failed = AtomicBool::new(false);
    let outcome = Mutex::new((Totals::default(), None));
    let work = || {
        let mut totals = Totals::default();
        let mut failure = None;
        while !has_failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + schedules {
                break;
            }
            match run(seed) {
                Ok(summary) => totals.add(&summary),
                Err(found) => {
                    has_failed.store(true, Ordering::Relaxed);
                    failure = Some(found);
                }
            }
        }
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.0.merge(&totals);
        if outcome.1.is_none() {
            outcome.1 = failure;
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let (totals, failure) = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failure {
        Some(failure) => Err(failure),
        None => Ok(Totals { took: began.elapsed(), ..totals }),
    }
}
