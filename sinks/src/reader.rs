//! The thread that reads for a sink, as a member of its consumer group.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use tidegate_config::Start;
use tidegate_core::{
    NextOffset, PartitionId,
    delivery::{BatchLimits, Batching},
};
use tidegate_host::panic_text;
use tidegate_log::{GroupEvent, GroupReader, Health, Log, LogError, RecordRef, RecordSink, Topic};

use crate::{Assigned, Batch};

/// Records asked for in one poll at most; the budget is looked at between polls.
const POLL_RECORDS: usize = 2000;
/// Longest wait for records, and so for a command, while nothing comes.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// How often to look whether the budget has room again.
const BACK_PRESSURE_POLL: Duration = Duration::from_millis(5);
/// Pause after the log could not be asked.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const REPORT_EVERY: Duration = Duration::from_secs(1);
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a report, which may as well fail.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the reader is to read, and how much at once.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) topic: Topic,
    pub(crate) group: String,
    pub(crate) start: Start,
    pub(crate) limits: BatchLimits,
    pub(crate) in_flight_bytes: usize,
}

/// What the reader is told.
pub(crate) enum ReaderCommand {
    /// Read these partitions, which were assigned, from these positions on.
    ReadFrom(Vec<(PartitionId, NextOffset)>),
    /// Keep these positions with the group.
    Keep(Vec<(PartitionId, NextOffset)>),
    /// Give up what was revoked or lost.
    Release,
    /// Read nothing more, stay in the group.
    Halt,
    /// Leave the group and end.
    Leave,
}

/// What the reader tells.
pub(crate) enum ReaderEvent {
    /// Partitions that are this sink's from now on; nothing of them is read yet.
    Assigned(Vec<Assigned>),
    /// Partitions that another member gets once they are released. What was read of them was told before.
    Revoked(Vec<PartitionId>),
    /// Partitions that another member may have already.
    Lost(Vec<PartitionId>),
    /// Records to deliver.
    Read(Arc<InFlight>),
    /// These positions are kept.
    Kept(Vec<(PartitionId, NextOffset)>),
    /// Once a second, as far as it is known.
    Report(Report),
    /// The log could not be asked; the reader tries again.
    Waiting(LogError),
    /// The reader has ended, because it was told to.
    Left,
    /// The reader has ended.
    Failed(String),
}

/// How the reading goes.
pub(crate) struct Report {
    /// Ends of the partitions that are read.
    pub(crate) ends: BTreeMap<PartitionId, NextOffset>,
    /// Where reading goes on in those of which all that was fetched was told before.
    pub(crate) reached: BTreeMap<PartitionId, NextOffset>,
    /// How the log is.
    pub(crate) health: Health,
}

/// A batch that counts against the sink's budget of bytes until nobody needs it any more.
pub(crate) struct InFlight {
    pub(crate) batch: Arc<Batch>,
    bytes: usize,
    budget: Arc<AtomicUsize>,
}

impl InFlight {
    fn new(batch: Batch, budget: &Arc<AtomicUsize>) -> Self {
        let bytes = batch.size_bytes();
        budget.fetch_add(bytes, Ordering::Relaxed);
        Self { batch: Arc::new(batch), bytes, budget: Arc::clone(budget) }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A handle of the thread. When it is dropped, the thread leaves the group and ends.
pub(crate) struct ReaderHandle(mpsc::Sender<ReaderCommand>);

impl ReaderHandle {
    /// Joins the group; `tell` is called with what happens, in order.
    ///
    /// # Errors
    /// [`io::Error`] if the system has no thread to give.
    pub(crate) fn spawn(
        log: Arc<dyn Log>,
        reading: Reading,
        tell: impl Fn(ReaderEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        thread::Builder::new().name("tidegate-sink".into()).spawn(move || {
            let run = catch_unwind(AssertUnwindSafe(|| run(&*log, &reading, &inbox, &tell)));
            match run {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tell(ReaderEvent::Failed(error.to_string())),
                Err(panic) => tell(ReaderEvent::Failed(panic_text(&*panic))),
            }
        })?;
        Ok(Self(commands))
    }

    /// Tells the thread; if it is gone, the sink has heard of that.
    pub(crate) fn tell(&self, command: ReaderCommand) {
        let _ = self.0.send(command);
    }
}

fn run(
    log: &dyn Log,
    reading: &Reading,
    inbox: &mpsc::Receiver<ReaderCommand>,
    tell: &dyn Fn(ReaderEvent),
) -> Result<(), LogError> {
    let mut thread = ReaderThread {
        reader: log.group_reader(reading.topic, &reading.group)?,
        log,
        reading,
        tell,
        intake: Intake::new(reading.limits),
        budget: Arc::default(),
        partitions: Vec::new(),
        is_halted: false,
        was_full: false,
        reported: Instant::now(),
    };
    loop {
        loop {
            match inbox.try_recv() {
                Ok(ReaderCommand::Leave) => {
                    drop(thread);
                    tell(ReaderEvent::Left);
                    return Ok(());
                }
                Ok(command) => thread.obey(command)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        match thread.poll() {
            Err(error @ LogError::Unavailable { .. }) => {
                tell(ReaderEvent::Waiting(error));
                thread::sleep(RETRY_PAUSE);
            }
            polled => polled?,
        }
        thread.report();
    }
}

struct ReaderThread<'a> {
    reader: Box<dyn GroupReader>,
    log: &'a dyn Log,
    reading: &'a Reading,
    tell: &'a dyn Fn(ReaderEvent),
    intake: Intake,
    budget: Arc<AtomicUsize>,
    /// What is read.
    partitions: Vec<PartitionId>,
    is_halted: bool,
    /// The budget had no room since the last report.
    was_full: bool,
    reported: Instant,
}

impl ReaderThread<'_> {
    fn obey(&mut self, command: ReaderCommand) -> Result<(), LogError> {
        match command {
            ReaderCommand::ReadFrom(positions) => {
                self.reader.read_from(&positions)?;
                self.partitions.extend(positions.iter().map(|(partition, _)| *partition));
            }
            ReaderCommand::Keep(positions) => match self.reader.commit(&positions) {
                Ok(()) => (self.tell)(ReaderEvent::Kept(positions)),
                // The next ones are kept soon, and what is delivered twice meanwhile changes nothing for good.
                Err(error) => tracing::debug!(group = self.reading.group, %error, "positions were not kept"),
            },
            ReaderCommand::Release => self.reader.release()?,
            ReaderCommand::Halt => self.is_halted = true,
            ReaderCommand::Leave => {}
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<(), LogError> {
        let has_room = self.budget.load(Ordering::Relaxed) < self.reading.in_flight_bytes;
        self.was_full |= !has_room;
        let (timeout, records) = match (self.is_halted, has_room) {
            (true, _) => (POLL_TIMEOUT, 0),
            (false, false) => (BACK_PRESSURE_POLL, 0),
            (false, true) => (self.intake.wait(), self.reading.limits.records.min(POLL_RECORDS)),
        };
        match self.reader.poll(timeout, records, &mut self.intake)? {
            GroupEvent::Records(_) => {}
            GroupEvent::Assigned(partitions) => {
                let assigned = self.starts(partitions)?;
                (self.tell)(ReaderEvent::Assigned(assigned));
            }
            GroupEvent::Revoked(partitions) => {
                self.let_go(&partitions);
                (self.tell)(ReaderEvent::Revoked(partitions));
            }
            GroupEvent::Lost(partitions) => {
                self.let_go(&partitions);
                (self.tell)(ReaderEvent::Lost(partitions));
            }
        }
        self.intake.finish_if_due();
        self.hand_on();
        Ok(())
    }

    /// Hands on what was read of partitions that are going, and of the others.
    fn let_go(&mut self, partitions: &[PartitionId]) {
        self.intake.finish();
        self.hand_on();
        self.partitions.retain(|partition| !partitions.contains(partition));
    }

    /// Where each partition is to be read from.
    fn starts(&self, partitions: Vec<(PartitionId, Option<NextOffset>)>) -> Result<Vec<Assigned>, LogError> {
        let ranges = if partitions.iter().all(|(_, committed)| committed.is_some()) {
            Vec::new()
        } else {
            self.log.offsets(self.reading.topic, true, OFFSETS_TIMEOUT)?
        };
        let start = |(partition, committed): (PartitionId, Option<NextOffset>)| {
            let range = ranges.get(partition.0 as usize);
            let default = range.map(|range| match self.reading.start {
                Start::Earliest => range.begin,
                Start::Latest => range.end,
            });
            let from = committed.or(default).unwrap_or_default();
            Assigned { partition, from, is_committed: committed.is_some() }
        };
        Ok(partitions.into_iter().map(start).collect())
    }

    fn hand_on(&mut self) {
        for batch in self.intake.finished.drain(..) {
            (self.tell)(ReaderEvent::Read(Arc::new(InFlight::new(batch, &self.budget))));
        }
    }

    fn report(&mut self) {
        if self.reported.elapsed() < REPORT_EVERY {
            return;
        }
        self.reported = Instant::now();
        // Who waits for room fetches nothing, and so hears of no end.
        let asked = if std::mem::take(&mut self.was_full) {
            self.log.offsets(self.reading.topic, true, REPORT_TIMEOUT).unwrap_or_default()
        } else {
            Vec::new()
        };
        let reader = &self.reader;
        let end = |partition: &PartitionId| {
            let asked = asked.get(partition.0 as usize).map(|range| range.end);
            Some((*partition, asked.max(reader.end_offset(*partition))?))
        };
        let reached = |partition: &PartitionId| Some((*partition, reader.reached(*partition)?));
        let ends = self.partitions.iter().filter_map(end).collect();
        // What is in the open batch is not told yet.
        let all_told = self.intake.open.is_empty();
        let reached = self.partitions.iter().filter(|_| all_told).filter_map(reached).collect();
        (self.tell)(ReaderEvent::Report(Report { ends, reached, health: reader.health() }));
    }
}

/// Batches in the making.
struct Intake {
    open: Batch,
    batching: Batching,
    finished: Vec<Batch>,
    began: Instant,
}

impl Intake {
    fn new(limits: BatchLimits) -> Self {
        let (open, finished) = Default::default();
        Self { open, batching: Batching::new(limits), finished, began: Instant::now() }
    }

    /// How long to wait for records at most.
    fn wait(&self) -> Duration {
        let due = self.batching.due().map(|due| due.saturating_sub(self.began.elapsed()));
        due.unwrap_or(POLL_TIMEOUT).min(POLL_TIMEOUT)
    }

    fn finish(&mut self) {
        if !self.open.is_empty() {
            self.finished.push(std::mem::take(&mut self.open));
        }
        self.batching.sent();
    }

    fn finish_if_due(&mut self) {
        if self.batching.due().is_some_and(|due| due <= self.began.elapsed()) {
            self.finish();
        }
    }
}

impl RecordSink for Intake {
    fn record(&mut self, record: RecordRef<'_>, headers: &mut dyn FnMut(&mut Vec<u8>)) {
        let bytes = self.open.push(record, headers);
        if self.batching.add(bytes, self.began.elapsed()) {
            self.finish();
        }
    }

    fn end_of_partition(&mut self, _partition: PartitionId, _next: NextOffset) {}
}
