//! The ceiling: the whole work of the default configuration in a loop that can do nothing else.
//!
//! A thread reads, one works, one writes and commits; bounded channels lie between. There is no recovery, no
//! state on disk, no back-pressure but the channels, no metrics: what those cost the product is the difference.

mod work;

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Instant,
};

use tidegate_config::Settings;

use self::work::Work;
use crate::{
    Error,
    batch::Batch,
    client::{Clients, Figures, Progress, Topic, Writer, connect},
    native::Input,
};

/// Records that go from thread to thread at once.
const BATCH: usize = 1000;
/// Batches between two threads: what the worker does while a commit holds the writer up.
const QUEUE: usize = 64;

/// What the writer is told.
enum Out {
    Events(Batch),
    /// Write the alerts, then commit with the input read up to these offsets.
    Cut {
        alerts: Batch,
        next: Vec<i64>,
    },
}

/// Works on what is in the input topic now.
pub(crate) fn run(settings: &Settings) -> Result<Figures, Error> {
    let began = Instant::now();
    // Made before the clients, which connect while nobody waits for them.
    let work = Work::new(settings)?;
    let Clients { mut input, mut progress, mut writer } = connect(settings)?;
    let next = progress.next().to_vec();
    let (to_worker, batches) = sync_channel(QUEUE);
    let (to_writer, outputs) = sync_channel(QUEUE);
    // Each ends with its channel, so that an error in one ends all.
    let outcomes = thread::scope(|scope| {
        let threads = [
            scope.spawn(move || read(&mut input, &mut progress, &to_worker)),
            scope.spawn(move || process(work, next, settings, &batches, &to_writer)),
            scope.spawn(|| write(&mut writer, outputs)),
        ];
        threads.map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    });
    let mut records = 0;
    for outcome in outcomes {
        records = records.max(outcome?);
    }
    Ok(writer.figures(records, began))
}

fn read(input: &mut Input, progress: &mut Progress, to_worker: &SyncSender<Batch>) -> Result<u64, Error> {
    let mut records = 0;
    let mut batch = Batch::with_room(BATCH);
    while !progress.is_done() {
        input.fetch(|record| {
            if progress.takes(&record) {
                records += 1;
                batch.push(&record);
            }
            if batch.len() >= BATCH {
                let full = std::mem::replace(&mut batch, Batch::with_room(BATCH));
                return to_worker.send(full).map_err(|_| "the worker ended early".into());
            }
            Ok(())
        })?;
    }
    // If nobody takes it, the worker says why.
    let _ = to_worker.send(batch);
    Ok(records)
}

fn process(
    mut work: Work,
    mut next: Vec<i64>,
    settings: &Settings,
    batches: &Receiver<Batch>,
    to_writer: &SyncSender<Out>,
) -> Result<u64, Error> {
    let send = |out| to_writer.send(out).map_err(|_| "the writer ended early");
    let mut cut_at = Instant::now();
    for batch in batches {
        send(Out::Events(work.process(&batch)?))?;
        batch.iter().for_each(|record| next[record.partition as usize] = record.offset + 1);
        if cut_at.elapsed() >= settings.checkpoint_interval {
            send(Out::Cut { alerts: work.cut(), next: next.clone() })?;
            cut_at = Instant::now();
        }
    }
    send(Out::Cut { alerts: work.cut(), next })?;
    Ok(0)
}

fn write(writer: &mut Writer, outputs: Receiver<Out>) -> Result<u64, Error> {
    for output in outputs {
        match output {
            Out::Events(batch) => send_all(writer, Topic::Processed, &batch)?,
            Out::Cut { alerts, next } => {
                send_all(writer, Topic::Alerts, &alerts)?;
                writer.commit(&next)?;
            }
        }
    }
    Ok(0)
}

fn send_all(writer: &mut Writer, topic: Topic, batch: &Batch) -> Result<(), Error> {
    batch.iter().try_for_each(|record| writer.send(topic, &record))
}
