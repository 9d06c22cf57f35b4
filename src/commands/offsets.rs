//! `tidegate offsets restore|settle`: ways on after a refusal that only a person can decide.

use std::{process::ExitCode, time::Duration};

use tidegate_config::{LogKind, Settings};
use tidegate_core::{
    NextOffset, PartitionId,
    epoch::{EpochMark, TopicIds},
};
use tidegate_log::{
    CommitOutcome, EpochWriter, InputProgress, Log, OffsetRange, Topic, TopicsFacts, kafka::KafkaLog,
};
use tidegate_state::{MemoryImage, ProgressRecord};

use super::{
    config_args,
    config_args::ConfigArgs,
    fail,
    failed::{Failed, failed},
};
use crate::{exit, wiring};

const TIMEOUT: Duration = Duration::from_secs(20);
const CHANGELOG_TIMEOUT: Duration = Duration::from_secs(120);

/// Arguments of `offsets`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Commit the input offsets that the state topic names, when the group's own are gone (Kafka forgets them after a
    /// week without a commit)
    Restore {
        #[command(flatten)]
        config: ConfigArgs,
        /// Where records were deleted meanwhile, go on with the first that is left.
        #[arg(long)]
        skip_missing: bool,
    },
    /// Say what became of a transaction that the broker ended without its markers, when `run` cannot tell.
    #[command(group = clap::ArgGroup::new("fate").required(true))]
    Settle {
        #[command(flatten)]
        config: ConfigArgs,
        /// Its records belong to a committed epoch.
        #[arg(long, group = "fate")]
        commit: bool,
        /// It was rolled back; its records are read again.
        #[arg(long, group = "fate")]
        abort: bool,
    },
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let config = match &args.action {
        Action::Restore { config, .. } | Action::Settle { config, .. } => config,
    };
    let settings = match config.load() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let outcome = match args.action {
        Action::Restore { skip_missing, .. } => restore(&settings, skip_missing),
        Action::Settle { commit, .. } => settle(&settings, commit),
    };
    match outcome {
        Ok(text) => config_args::print(&text),
        Err((code, error)) => fail(code, error),
    }
}

fn refused(text: impl Into<String>) -> Failed {
    (exit::FAILED, text.into())
}

/// Takes over, which clears up by the verdict.
fn settle(settings: &Settings, commit: bool) -> Result<String, Failed> {
    if settings.log != LogKind::Kafka {
        return Err(refused("only on Kafka can a transaction be left without its markers"));
    }
    let mut config = wiring::kafka_config(settings);
    config.settle = Some(commit);
    let log = KafkaLog::new(config).map_err(failed)?;
    let topics = log.topics(TIMEOUT).map_err(failed)?;
    owner(&log, &topics)?;
    Ok("settled: nothing of an earlier transaction is open; start the daemon\n".to_owned())
}

fn owner(log: &dyn Log, topics: &TopicsFacts) -> Result<Box<dyn EpochWriter>, Failed> {
    let mut writer = log.writer(topics).map_err(failed)?;
    writer.fence().map_err(failed)?;
    Ok(writer)
}

fn restore(settings: &Settings, skip_missing: bool) -> Result<String, Failed> {
    let (log, _) = wiring::connect(settings).map_err(failed)?;
    let topics = log.topics(TIMEOUT).map_err(failed)?;
    let mut writer = owner(log.as_ref(), &topics)?;
    let committed = writer.committed(topics[Topic::Raw as usize].partitions).map_err(failed)?;
    if committed.iter().any(|partition| partition.committed.is_some()) {
        return Err(refused("the group has committed offsets; nothing was changed"));
    }
    let progress = recorded(log.as_ref())?;
    let ranges = log.offsets(Topic::Raw, true, TIMEOUT).map_err(failed)?;
    let (positions, skipped) = positions(&progress, &topics, &ranges, skip_missing).map_err(refused)?;
    match writer.commit(&marks(&progress, &positions), TIMEOUT) {
        CommitOutcome::Committed(_) => {
            let epoch = progress.epoch;
            Ok(format!("offsets of epoch {epoch} are committed again; {skipped} records were skipped\n"))
        }
        CommitOutcome::NotCommitted(error) | CommitOutcome::Unknown(error) => Err(failed(error)),
    }
}

/// What the state topic says was read.
fn recorded(log: &dyn Log) -> Result<ProgressRecord, Failed> {
    let mut image = MemoryImage::default();
    let mut unreadable = None;
    log.read_changelog(&[], true, CHANGELOG_TIMEOUT, &mut |record| {
        if let Err(error) = image.apply(record.key, record.value) {
            unreadable.get_or_insert(error);
        }
    })
    .map_err(failed)?;
    match (unreadable, image.progress()) {
        (Some(error), _) => Err(refused(format!("the state topic cannot be read: {error}"))),
        (None, Some(progress)) => Ok(progress.clone()),
        (None, None) => Err(refused(
            "the state topic does not say what was read: it is empty, or was written by a version that did not note it",
        )),
    }
}

/// Where each partition is read from, and how many records are skipped.
fn positions(
    progress: &ProgressRecord,
    topics: &TopicsFacts,
    ranges: &[OffsetRange],
    skip_missing: bool,
) -> Result<(Vec<NextOffset>, i64), String> {
    let input = &topics[Topic::Raw as usize];
    if progress.input.zip(input.id).is_some_and(|(before, now)| before != now) {
        return Err(format!(
            "topic {} was deleted and created anew: its offsets mean something else now",
            input.name
        ));
    }
    if progress.partitions.len() > ranges.len() {
        return Err(format!("topic {} has fewer partitions than before", input.name));
    }
    let mut skipped = 0;
    let mut positions = Vec::new();
    for (partition, ((next, _), OffsetRange { begin, end })) in
        progress.partitions.iter().zip(ranges).enumerate()
    {
        if next > end {
            return Err(format!(
                "partition {partition} ends at {end}, but was read to {next}: was the topic created anew?"
            ));
        }
        if next < begin {
            if !skip_missing {
                return Err(format!(
                    "partition {partition} begins at {begin}, but was read to {next} only: records in between are gone; \
                     --skip-missing goes on without them"
                ));
            }
            skipped += begin.0 - next.0;
        }
        positions.push(*next.max(begin));
    }
    Ok((positions, skipped))
}

fn marks(progress: &ProgressRecord, positions: &[NextOffset]) -> Vec<InputProgress> {
    let mark = |(partition, (next, (_, highest))): (usize, (&NextOffset, &(NextOffset, _)))| InputProgress {
        partition: PartitionId(partition as u32),
        next: *next,
        metadata: EpochMark {
            epoch: progress.epoch,
            owner: progress.owner,
            partitions: progress.partitions.len() as u32,
            highest: *highest,
            watermark: progress.watermark,
            topics: TopicIds { input: progress.input, state: progress.state },
        }
        .encode(),
    };
    positions.iter().zip(&progress.partitions).enumerate().map(mark).collect()
}
