//! One schedule: chance picks which mailbox, thread, worker, timer or fault goes next, until all is committed.

use std::time::{Duration, Instant};

use tidegate_core::supervision::Part;

use crate::{
    check::Check,
    disk::Disk,
    env::{Env, HOSTS, Story, note},
    faults::{Fault, Faults},
    input::Producer,
    log::{Log, Slot},
    mail::Event,
    process::{Exit, Process},
    random::Random,
    shape::Shape,
    turns::Turn,
    violation::{Checked, violated},
};

/// A schedule that takes more steps once faults have ended does not get to its end.
const MAX_STEPS: u32 = 40_000;
/// How long an actor may take for a step, when all goes well and when the machine is slow.
const SHORT_STEP: Duration = Duration::from_millis(50);
const LONG_STEP: Duration = Duration::from_secs(20);
/// As many partitions as an input grows to.
const MAX_PARTITIONS: usize = 4;

/// How much more seldom goes what is slow.
const SLOWER: u64 = 24;

/// What may go next.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice {
    /// Something of a process.
    Process(usize, Turn),
    /// The next record is written to the input.
    Produce,
    /// The commit request that is under way arrives.
    Arrive,
    LogIsBack,
    StartProcess,
}

/// Figures of a schedule that got to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many steps it took.
    pub steps: u32,
    /// Epochs that were committed.
    pub commits: usize,
    /// Alerts that were raised.
    pub alerts: usize,
    /// Processes that were started.
    pub processes: u64,
    /// The faults that happened.
    pub faults: Faults,
}

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) processes: Vec<Process>,
    producer: Producer,
    produce_at: Duration,
    log_back_at: Option<Duration>,
    start_at: Option<Duration>,
    next_owner: u64,
    last_host: usize,
    steps: u32,
    is_ending: bool,
    /// No other writer has taken over from the last process: it may end without an error.
    is_sound: bool,
    /// How the process ended that wrote last, once all were asked to stop.
    last_exit: Option<(u64, Exit)>,
    choices: Vec<Choice>,
    /// The first moment at which something that is not possible now will be.
    soonest: Option<Duration>,
}

impl World {
    pub(crate) fn new(seed: u64, story: Option<Story>) -> Self {
        let mut random = Random::new(seed);
        let shape = Shape::draw(&mut random);
        let producer = Producer::new(&shape, &mut random);
        let env = Env {
            log: Log::new(shape.partitions, shape.key_groups),
            disks: [(); HOSTS].map(|()| Disk::default()),
            check: Check::new(&shape),
            shape,
            random,
            now: Duration::ZERO,
            origin: Instant::now(),
            story,
            faults: Faults::default(),
            is_faulty: true,
        };
        Self {
            env,
            processes: Vec::new(),
            producer,
            produce_at: Duration::ZERO,
            log_back_at: None,
            start_at: Some(Duration::ZERO),
            next_owner: 1,
            last_host: 0,
            steps: 0,
            is_ending: false,
            is_sound: false,
            last_exit: None,
            choices: Vec::new(),
            soonest: None,
        }
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) -> Checked<Summary> {
        loop {
            self.steps += 1;
            if self.env.is_faulty && self.steps > self.env.shape.fault_steps {
                self.end_faults();
            }
            if self.env.is_faulty && self.env.random.one_in(self.env.shape.fault_every) {
                self.strike();
            }
            self.step()?;
            self.bury();
            if !self.env.is_faulty && self.is_done()? {
                return Ok(self.summary());
            }
            if self.steps > MAX_STEPS {
                violated!("it does not get to its end: {}", self.what_is_missing());
            }
        }
    }

    fn summary(&self) -> Summary {
        Summary {
            steps: self.steps,
            commits: self.env.check.commits(),
            alerts: self.env.check.alerts,
            processes: self.next_owner - 1,
            faults: self.env.faults,
        }
    }

    fn step(&mut self) -> Checked {
        self.collect();
        let is_soon = |soonest: &Duration| {
            let within = if self.env.is_faulty { LONG_STEP } else { SHORT_STEP };
            self.choices.is_empty() || *soonest <= self.env.now + within
        };
        let soonest = self.soonest.filter(is_soon);
        if let Some(soonest) = soonest.filter(|_| self.choices.is_empty() || self.env.random.one_in(24)) {
            self.env.now = self.env.now.max(soonest);
            self.collect();
        } else if self.env.random.one_in(4) {
            self.env.now += Duration::from_micros(self.env.random.below(1500));
        }
        if self.choices.is_empty() {
            self.env.now += Duration::from_millis(1);
            return Ok(());
        }
        match self.choose() {
            Choice::Process(at, turn) => self.processes[at].take_turn(turn, &mut self.env)?,
            Choice::Produce => self.produce(),
            Choice::Arrive => {
                if let Some(transaction) = self.env.log.arrive(self.env.now) {
                    note!(self.env, "the commit request that was under way takes effect");
                    self.env.check.committed(transaction, &self.env.log)?;
                }
            }
            Choice::LogIsBack => self.log_is_back(),
            Choice::StartProcess => self.start_process(),
        }
        self.watch();
        Ok(())
    }

    /// One of what may go next; what is slow in this schedule is seldom chosen as long as there is something else.
    fn choose(&mut self) -> Choice {
        loop {
            let choice = self.choices[self.env.random.index(self.choices.len())];
            let is_slow =
                matches!(choice, Choice::Process(_, turn) if self.env.shape.slow == Some(turn.pace()));
            if !is_slow || !self.env.is_faulty || self.choices.len() == 1 || self.env.random.one_in(SLOWER) {
                return choice;
            }
        }
    }

    /// Lists all that may go next.
    fn collect(&mut self) {
        self.choices.clear();
        self.soonest = None;
        let now = self.env.now;
        let (choices, soonest) = (&mut self.choices, &mut self.soonest);
        let mut offer = |due: Option<Duration>, choice| match due {
            Some(due) if due <= now => choices.push(choice),
            Some(due) => *soonest = Some(soonest.map_or(due, |soonest: Duration| soonest.min(due))),
            None => {}
        };
        for (at, process) in self.processes.iter().enumerate().filter(|(_, process)| !process.is_paused) {
            process.offer(&self.env, |due, turn| offer(due, Choice::Process(at, turn)));
        }
        offer((self.producer.left > 0).then_some(self.produce_at), Choice::Produce);
        offer(self.env.log.on_its_way.map(|_| Duration::ZERO).filter(|_| self.env.log.is_up), Choice::Arrive);
        offer(self.log_back_at, Choice::LogIsBack);
        offer(self.start_at, Choice::StartProcess);
    }

    fn produce(&mut self) {
        let env = &mut self.env;
        let at = env.random.index(env.log.inputs.len());
        let offset = env.log.inputs[at].len() as i64;
        let record = self.producer.next(tidegate_core::PartitionId(at as u32), offset, &mut env.random);
        note!(
            env,
            "input {at} gets {offset}: {:?} of {} at {}",
            record.kind,
            record.service,
            record.timestamp
        );
        env.log.inputs[at].push(Slot::Record(record));
        if env.random.one_in(8) {
            env.log.inputs[at].push(Slot::Marker);
        }
        if env.random.one_in(8) {
            self.produce_at = env.now + Duration::from_millis(env.random.below(400));
        }
    }

    fn log_is_back(&mut self) {
        note!(self.env, "the log answers again");
        self.log_back_at = None;
        self.env.log.is_up = true;
    }

    /// The supervisors look around every now and then.
    fn watch(&mut self) {
        if self.processes.is_empty() || !self.env.random.one_in(48) {
            return;
        }
        let at = self.env.random.index(self.processes.len());
        let process = &mut self.processes[at];
        if !process.is_paused {
            process.watch_owner(&self.env);
            process.watch_input(&self.env);
        }
    }

    /// Starts a process on a host that is free.
    fn start_process(&mut self) {
        self.start_at = None;
        let is_free = |host: &usize| self.processes.iter().all(|process| process.store.host != *host);
        let free: Vec<usize> = (0..HOSTS).filter(is_free).collect();
        if free.is_empty() {
            return;
        }
        // Most often it is started where the one before was.
        let host = match free.iter().find(|host| **host == self.last_host) {
            Some(host) if !self.env.random.one_in(3) => *host,
            _ => self.env.random.pick(&free),
        };
        self.last_host = host;
        let process = Process::start(self.next_owner, host, &mut self.env);
        self.next_owner += 1;
        self.processes.push(process);
    }

    /// Processes that have ended are gone; if none is at work, another one is started.
    fn bury(&mut self) {
        let last = &mut self.last_exit;
        self.processes.retain(|process| {
            if let Some(exit) = process.exit {
                *last = Some((process.owner, exit));
            }
            process.exit.is_none()
        });
        let is_at_work = self.processes.iter().any(|process| !process.is_paused);
        if !is_at_work && self.start_at.is_none() && !self.is_ending {
            let pause = Duration::from_millis(self.env.random.below(50));
            self.start_at = Some(self.env.now + pause);
        }
    }

    /// A fault strikes from outside.
    fn strike(&mut self) {
        if self.env.shape.faults.is_empty() {
            return;
        }
        let fault = self.env.random.pick(&self.env.shape.faults.clone());
        if self.strikes(fault) {
            self.env.faults.count(fault);
        }
    }

    fn strikes(&mut self, fault: Fault) -> bool {
        let env = &mut self.env;
        if self.processes.is_empty() {
            return false;
        }
        let at = env.random.index(self.processes.len());
        match fault {
            Fault::ActorCrash => {
                let parts = [Part::Partition, Part::Window, Part::Committer, Part::Barrier, Part::Store];
                let part = env.random.pick(&parts);
                note!(env, "the {part} of process {} crashes", self.processes[at].owner);
                self.processes[at].crash_actor(part, env.random.index(4))
            }
            Fault::ThreadPanic => self.processes[at].crash_writer(env),
            Fault::ProcessCrash | Fault::StoreLost | Fault::StoreDamaged => self.kill(at, fault),
            Fault::LongPause => self.long_pause(),
            Fault::Zombie => self.pause(at),
            Fault::SecondProcess => {
                let is_alone = self.processes.len() < HOSTS;
                if is_alone {
                    self.start_process();
                }
                is_alone
            }
            Fault::LogAway => self.log_goes_away(),
            Fault::TransactionTimeout => {
                let timed_out = env.log.time_out(env.now);
                if timed_out {
                    note!(env, "the open transaction times out");
                }
                timed_out
            }
            Fault::PartitionAdded => self.add_partition(),
            Fault::Shutdown => {
                note!(env, "process {} is asked to stop", self.processes[at].owner);
                self.processes[at].is_to_end = true;
                self.processes[at].mailbox.push_back(Event::Shutdown);
                true
            }
            // These happen where they can.
            _ => false,
        }
    }

    fn kill(&mut self, at: usize, fault: Fault) -> bool {
        let process = self.processes.remove(at);
        let host = process.store.host;
        note!(self.env, "process {} is killed: {fault:?}", process.owner);
        match fault {
            Fault::StoreLost => self.env.disks[host] = Disk::default(),
            Fault::StoreDamaged => self.env.disks[host].damage(),
            _ => {}
        }
        true
    }

    fn long_pause(&mut self) -> bool {
        self.processes.clear();
        self.env.now += Duration::from_secs(36 * 60 * 60);
        self.env.log.fence(self.env.now);
        self.env.log.changelog.clean(self.env.now);
        note!(self.env, "all processes are killed, and a day and a half goes by");
        true
    }

    fn pause(&mut self, at: usize) -> bool {
        let process = &mut self.processes[at];
        process.is_paused = !process.is_paused;
        note!(
            self.env,
            "process {} {}",
            process.owner,
            if process.is_paused { "is paused" } else { "goes on" }
        );
        process.is_paused
    }

    fn log_goes_away(&mut self) -> bool {
        if !self.env.log.is_up {
            return false;
        }
        note!(self.env, "the log is away");
        self.env.log.is_up = false;
        self.log_back_at = Some(self.env.now + Duration::from_millis(self.env.random.below(600)));
        true
    }

    fn add_partition(&mut self) -> bool {
        if self.env.log.inputs.len() == MAX_PARTITIONS {
            return false;
        }
        note!(self.env, "the input gets one more partition");
        self.env.log.add_partition();
        true
    }

    /// From here on all goes well.
    fn end_faults(&mut self) {
        note!(self.env, "faults end");
        self.env.is_faulty = false;
        self.log_is_back();
        for process in &mut self.processes {
            process.end_faults();
        }
    }

    /// Whether all is committed, and then all processes have ended.
    fn is_done(&mut self) -> Checked<bool> {
        if !self.is_ending {
            if self.producer.left == 0 && self.is_settled() {
                note!(self.env, "all is committed, and all windows are closed");
                self.is_ending = true;
                self.is_sound = self.processes.iter().all(|process| process.is_sound(&self.env));
                for process in &mut self.processes {
                    process.mailbox.push_back(Event::Shutdown);
                }
            }
            return Ok(false);
        }
        if !self.processes.is_empty() {
            return Ok(false);
        }
        match self.last_exit {
            Some((_, Exit::Clean)) => Ok(true),
            _ if !self.is_sound => Ok(true),
            exit => violated!("the last process should end cleanly, and ended otherwise: {exit:?}"),
        }
    }

    fn is_settled(&self) -> bool {
        let is_running = self.processes.len() == 1 && self.processes[0].is_at_rest();
        is_running && self.start_at.is_none() && !self.env.check.has_open_windows() && self.is_all_committed()
    }

    fn is_all_committed(&self) -> bool {
        let log = &self.env.log;
        (0..log.inputs.len())
            .all(|at| log.committed[at].as_ref().is_some_and(|(next, _)| *next == log.end(at)))
    }

    fn what_is_missing(&self) -> String {
        let log = &self.env.log;
        let ends: Vec<_> = (0..log.inputs.len()).map(|at| log.end(at)).collect();
        let committed: Vec<_> = log.committed.iter().map(|of| of.as_ref().map(|(next, _)| *next)).collect();
        let processes: Vec<_> =
            self.processes.iter().map(|process| (process.owner, process.lifecycle.state())).collect();
        let windows =
            if self.env.check.has_open_windows() { "windows are open" } else { "no window is open" };
        format!(
            "the input ends at {ends:?}, committed is {committed:?}, {windows}, processes are {processes:?}"
        )
    }
}
