//! Records that a destination refuses go to the dead letters.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tidegate_core::{
    output::{OutputBuilder, Targets},
    record::{RecordBatch, Topic, TopicsFacts},
    refused::RefusedRecords,
    tally::Tally,
};
use tidegate_host::Clock;
use tidegate_log::{Appender, Log, LogError};
use tidegate_telemetry::{DeadLetterSample, Journal};
use tokio::sync::oneshot;

use crate::Batch;

const TOPICS_TIMEOUT: Duration = Duration::from_secs(10);

/// A handle of the thread that writes the dead letters of one sink. When the last one is gone, the thread ends.
#[derive(Clone)]
pub(crate) struct Rejected(mpsc::Sender<Record>);

/// A record that was rejected.
struct Record {
    batch: Arc<Batch>,
    record: usize,
    detail: String,
    reply: oneshot::Sender<Result<(), LogError>>,
}

impl Rejected {
    /// Starts the thread; it connects with the first record.
    ///
    /// # Errors
    /// [`io::Error`] if the system has no thread to give.
    pub(crate) fn spawn(log: Arc<dyn Log>, topic: Topic, sink: String, journal: Journal) -> io::Result<Self> {
        let (sender, inbox) = mpsc::channel::<Record>();
        thread::Builder::new().name("tidegate-rejected".into()).spawn(move || {
            let mut writer = Writer { log, topic, sink, journal, clock: Clock::start(), connection: None };
            while let Ok(Record { batch, record, detail, reply }) = inbox.recv() {
                let written = writer.write(&batch, record, &detail);
                // A courier that is gone delivers the record again.
                let _ = reply.send(written);
            }
        })?;
        Ok(Self(sender))
    }

    /// Writes a record of a batch; it is durable when this returns. After an error it may be written all the same.
    ///
    /// # Errors
    /// [`LogError`] as [`Appender::append`] has them, if the log does not take it now.
    pub(crate) async fn write(
        &self,
        batch: &Arc<Batch>,
        record: usize,
        detail: String,
    ) -> Result<(), LogError> {
        let gone = || LogError::Broken { what: "writing dead letters", cause: "the thread is gone".into() };
        let (reply, written) = oneshot::channel();
        let rejected = Record { batch: Arc::clone(batch), record, detail, reply };
        self.0.send(rejected).map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }
}

struct Writer {
    log: Arc<dyn Log>,
    topic: Topic,
    sink: String,
    journal: Journal,
    clock: Clock,
    connection: Option<(TopicsFacts, Box<dyn Appender>)>,
}

impl Writer {
    fn write(&mut self, batch: &Batch, record: usize, detail: &str) -> Result<(), LogError> {
        let (topics, mut appender) = match self.connection.take() {
            Some(connection) => connection,
            None => (self.log.topics(TOPICS_TIMEOUT)?, self.log.appender()?),
        };
        let source = batch.single(record);
        let refused = RefusedRecords::default();
        let targets = Targets { topics: &topics, refused: &refused, broker_now: None };
        let letter = dead_letter(targets, &source, self.topic, &self.sink, detail);
        appender.append(&letter)?;
        self.connection = Some((topics, appender));
        if let Some((reason, sample)) = DeadLetterSample::first(&letter) {
            self.journal.dead_letter(reason, DeadLetterSample { at: self.clock.now(), ..sample });
        }
        Ok(())
    }
}

fn dead_letter(
    targets: Targets<'_>,
    source: &RecordBatch,
    topic: Topic,
    sink: &str,
    detail: &str,
) -> tidegate_core::record::OutputBatch {
    let mut builder = OutputBuilder::new(targets, source, Tally::default());
    for record in &source.records {
        builder.sink_rejected(record, topic, sink, detail);
    }
    builder.finish().0
}
