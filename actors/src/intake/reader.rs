//! The thread that reads: polls the log and hands batches to the partition actors.
//!
//! It copies each record's bytes once, into the arena of its partition's next batch. It stops reading while
//! the budget of bytes is used up. Like the writer it outlives generations; every generation begins by
//! assigning the positions anew.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
        mpsc::{self, RecvTimeoutError, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use fail::fail_point;
use ractor::ActorRef;
use tidegate_core::{Generation, NextOffset, PartitionId, epoch::credits::Credits, supervision::Part};
use tidegate_host::panic_text;
use tidegate_log::{ByteRange, LogError, RecordBatch, RecordMeta, RecordReader, RecordRef, RecordSink};
use tidegate_telemetry::{Metrics, Stage};
use tokio::sync::oneshot;

use super::{
    limit::{Ends, Limit},
    partition::PartitionMsg,
};
use crate::{
    control::barrier::BarrierMsg,
    events::{Events, PipelineEvent},
    positions::Positions,
};

/// Records asked for in one poll.
const POLL_RECORDS: usize = 2000;
/// A batch this large is handed on although more is there to be read.
const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 512 << 10;
/// Longest wait for records, and so for a command, while nothing comes.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// How often to look whether the budget has room again.
const BACK_PRESSURE_POLL: Duration = Duration::from_millis(1);
/// The cut that was asked for may have freed too little: most of what is in flight was still in the pools.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// Longest wait for a command while there is nothing to read for.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(100);
const LAG_EVERY: Duration = Duration::from_secs(1);

/// What the reader is told.
pub(crate) enum ReaderCommand {
    /// Read from here for this generation.
    Start(Box<Route>),
    /// Hand on what was read, then read nothing more until the next start; then answer.
    Halt(oneshot::Sender<()>),
}

/// Where records of a generation come from and go to.
pub struct Route {
    /// The generation.
    pub generation: Generation,
    /// Where to begin in each partition.
    pub from: Vec<(PartitionId, NextOffset)>,
    /// Who takes the records of each partition.
    pub partitions: Vec<ActorRef<PartitionMsg>>,
    /// Who cuts when the budget is used up.
    pub barrier: ActorRef<BarrierMsg>,
    /// The budget of bytes.
    pub credits: Arc<Credits>,
    /// How far the input is processed.
    pub positions: Positions,
    /// One past the last record that was handed on.
    pub taken: Positions,
    /// Where to stop, if this run is to end by itself.
    pub ends: Option<Ends>,
}

/// A cheap handle of the reader thread. When the last one is gone, the thread ends.
#[derive(Clone)]
pub struct ReaderHandle(mpsc::Sender<ReaderCommand>);

impl ReaderHandle {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`std::io::Error`] if the system has no thread to give.
    pub fn spawn(reader: Box<dyn RecordReader>, events: Events, metrics: Metrics) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let mut thread = ReaderThread { reader, events: events.clone(), metrics, last_lag: Instant::now() };
        thread::Builder::new().name("tidegate-reader".into()).spawn(move || {
            let mut generation = Generation::default();
            let run = catch_unwind(AssertUnwindSafe(|| thread.run(&inbox, &mut generation)));
            if let Err(panic) = run {
                let cause = panic_text(&*panic);
                let part = Part::Reader;
                let _ = events.cast(PipelineEvent::ThreadPanicked { generation, part, cause });
            }
        })?;
        Ok(Self(commands))
    }

    /// Begins a generation. If the thread is gone, the supervisor knows already.
    pub fn start(&self, route: Route) {
        let _ = self.0.send(ReaderCommand::Start(Box::new(route)));
    }

    /// Stops reading; when this returns, nothing more will be handed on.
    pub async fn halt(&self) {
        let (done, answer) = oneshot::channel();
        if self.0.send(ReaderCommand::Halt(done)).is_ok() {
            // An error means that the thread is gone, and so halted.
            let _ = answer.await;
        }
    }
}

struct ReaderThread {
    reader: Box<dyn RecordReader>,
    events: Events,
    metrics: Metrics,
    last_lag: Instant,
}

impl ReaderThread {
    /// Serves commands; between them reads for the generation that was started last.
    fn run(&mut self, inbox: &mpsc::Receiver<ReaderCommand>, generation: &mut Generation) {
        let mut intake: Option<Intake> = None;
        loop {
            match next_command(inbox, intake.is_none()) {
                Next::Command(ReaderCommand::Start(route)) => {
                    *generation = route.generation;
                    intake = self.assign(*route);
                }
                Next::Command(ReaderCommand::Halt(done)) => {
                    if let Some(intake) = &mut intake {
                        intake.flush(0);
                    }
                    intake = None;
                    let _ = done.send(());
                }
                Next::Gone => return,
                Next::Nothing => {}
            }
            if let Some(reading) = &mut intake
                && let Err(error) = self.read(reading)
            {
                let (generation, part) = (reading.route.generation, Part::Reader);
                let _ = self.events.cast(PipelineEvent::LogFailed { generation, part, error });
                intake = None;
            }
        }
    }

    fn assign(&mut self, route: Route) -> Option<Intake> {
        match self.reader.assign(&route.from) {
            Ok(()) => Some(Intake::new(route)),
            Err(error) => {
                let (generation, part) = (route.generation, Part::Reader);
                let _ = self.events.cast(PipelineEvent::LogFailed { generation, part, error });
                None
            }
        }
    }

    fn read(&mut self, intake: &mut Intake) -> Result<(), LogError> {
        self.report_lag(&intake.route.positions);
        let meter = self.metrics.stage(Stage::Reader);
        if !intake.route.credits.available() {
            let started = Instant::now();
            if intake.asked_at.is_none_or(|asked_at| started - asked_at >= ASK_AGAIN_AFTER) {
                intake.asked_at = Some(started);
                // What is in flight comes back only by a commit.
                let _ = intake.route.barrier.cast(BarrierMsg::CutNow);
            }
            intake.poll(&mut *self.reader, Duration::ZERO, 0)?;
            thread::sleep(BACK_PRESSURE_POLL);
            meter.add_waiting(started.elapsed());
            return Ok(());
        }
        intake.asked_at = None;
        intake.first_at = None;
        let read = intake.poll(&mut *self.reader, POLL_TIMEOUT, POLL_RECORDS)?;
        if read == 0 {
            return Ok(());
        }
        fail_point!("reader");
        let keep_below = if read == POLL_RECORDS { BATCH_RECORDS } else { 0 };
        intake.flush(keep_below);
        let busy = intake.first_at.map(|first_at| first_at.elapsed()).unwrap_or_default();
        meter.add_busy(busy, read);
        Ok(())
    }

    fn report_lag(&mut self, positions: &[AtomicI64]) {
        if self.last_lag.elapsed() < LAG_EVERY {
            return;
        }
        self.last_lag = Instant::now();
        for (partition, position) in positions.iter().enumerate() {
            let partition = PartitionId(partition as u32);
            if let Some(NextOffset(end)) = self.reader.end_offset(partition) {
                let lag = (end - position.load(Ordering::Relaxed)).max(0);
                self.metrics.consumer_lag(partition).set(lag as f64);
            }
        }
    }
}

/// What the inbox had.
enum Next {
    Command(ReaderCommand),
    Nothing,
    /// Nobody can send a command any more.
    Gone,
}

/// The next command; if `waits`, one may take a moment to come.
fn next_command(inbox: &mpsc::Receiver<ReaderCommand>, waits: bool) -> Next {
    if waits {
        match inbox.recv_timeout(COMMAND_TIMEOUT) {
            Ok(command) => Next::Command(command),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Gone,
        }
    } else {
        match inbox.try_recv() {
            Ok(command) => Next::Command(command),
            Err(TryRecvError::Empty) => Next::Nothing,
            Err(TryRecvError::Disconnected) => Next::Gone,
        }
    }
}

/// Batches in the making, one per partition.
struct Intake {
    route: Route,
    open: Vec<RecordBatch>,
    limit: Option<Limit>,
    /// When it last asked for a cut, while it waits for the budget.
    asked_at: Option<Instant>,
    /// When the first record of a poll came: waiting for it was no work.
    first_at: Option<Instant>,
}

impl Intake {
    fn new(route: Route) -> Self {
        let open = (0..route.partitions.len() as u32).map(|p| empty_batch(PartitionId(p))).collect();
        let limit = route.ends.clone().map(Limit::new);
        Self { route, open, limit, asked_at: None, first_at: None }
    }

    fn poll(
        &mut self,
        reader: &mut dyn RecordReader,
        timeout: Duration,
        max_records: usize,
    ) -> Result<usize, LogError> {
        // Set aside while it stands before this sink.
        let Some(mut limit) = self.limit.take() else { return reader.poll(timeout, max_records, self) };
        let read = reader.poll(timeout, max_records, &mut limit.before(self));
        self.limit = Some(limit);
        read
    }

    /// Hands on every batch that has something in it, but not those with fewer than `keep_below` records.
    fn flush(&mut self, keep_below: usize) {
        for partition in 0..self.open.len() {
            let records = self.open[partition].records.len();
            if records > 0 && records >= keep_below {
                self.hand_on(partition);
            }
        }
    }

    fn hand_on(&mut self, partition: usize) {
        let next = empty_batch_like(&self.open[partition]);
        let batch = std::mem::replace(&mut self.open[partition], next);
        self.route.credits.spend(batch.size_bytes());
        if let Some(last) = batch.records.last() {
            self.route.taken[partition].store(last.offset + 1, Ordering::Relaxed);
        }
        // If the actor is gone, the generation is over.
        let _ = self.route.partitions[partition].cast(PartitionMsg::Batch(batch));
    }
}

impl RecordSink for Intake {
    fn record(&mut self, record: RecordRef<'_>, headers: &mut dyn FnMut(&mut Vec<u8>)) {
        self.first_at.get_or_insert_with(Instant::now);
        let partition = record.partition.0 as usize;
        let batch = &mut self.open[partition];
        let arena = &mut batch.arena;
        let key = record.key.map(|key| ByteRange::push(arena, key));
        let value = record.value.map(|value| ByteRange::push(arena, value));
        let start = arena.len() as u32;
        headers(arena);
        let headers = ByteRange { start, end: arena.len() as u32 };
        let RecordRef { offset, timestamp, .. } = record;
        batch.records.push(RecordMeta { offset, timestamp, key, value, headers });
        if batch.records.len() >= BATCH_RECORDS || batch.arena.len() >= BATCH_BYTES {
            self.hand_on(partition);
        }
    }

    fn end_of_partition(&mut self, partition: PartitionId, next: NextOffset) {
        let index = partition.0 as usize;
        if !self.open[index].records.is_empty() {
            self.hand_on(index);
        }
        let _ = self.route.partitions[index].cast(PartitionMsg::End(next));
    }
}

fn empty_batch(partition: PartitionId) -> RecordBatch {
    RecordBatch { partition, arena: Vec::new(), records: Vec::new() }
}

/// Room for about as much as `last` has, so that filling it copies nothing.
fn empty_batch_like(last: &RecordBatch) -> RecordBatch {
    let room = |len| len + len / 8;
    RecordBatch {
        partition: last.partition,
        arena: Vec::with_capacity(room(last.arena.len())),
        records: Vec::with_capacity(room(last.records.len())),
    }
}
