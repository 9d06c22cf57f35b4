//! What the routes read: what the pipeline leaves behind in passing, and rates worked out once a second.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tidegate_core::{
    PartitionId, RuleId, SinkId, alert::AlertPhase, event::Reason, record::Topic, supervision::Part,
};
use tidegate_host::Clock;
use tidegate_supervision::{ActorView, OpenWindows, PipelineView};
use tidegate_telemetry::{Journal, Metrics, Status, process};
use tokio::sync::{Mutex, watch};

/// What is the same for all clients in one second: names and data of events.
pub(super) type Frames = Arc<[(&'static str, String)]>;

/// Open windows that can be told of.
pub(super) const MAX_WINDOWS: usize = 1000;

/// What does not change while the daemon runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// `kafka` or `embedded`.
    pub(crate) log: &'static str,
    /// The input topic.
    pub(crate) input: String,
    /// The output topics: processed, alerts, dead letters, state.
    pub(crate) outputs: Vec<String>,
    /// Partitions of the input, as configured.
    pub(crate) partitions: u32,
    /// How many rules there are.
    pub(crate) rules: usize,
    /// The sinks that this process runs.
    pub(crate) sinks: Vec<SinkFacts>,
    /// `checkpoint.interval`.
    pub(crate) checkpoint_interval: Duration,
    /// The resolved configuration, without secrets.
    pub(crate) config: String,
}

/// What does not change of a sink.
#[derive(Debug, Clone)]
pub(crate) struct SinkFacts {
    /// Its place in the configuration.
    pub(crate) id: SinkId,
    /// Its name.
    pub(crate) name: String,
    /// `postgres`, `elasticsearch` or `webhook`.
    pub(crate) kind: &'static str,
    /// The topic that it reads.
    pub(crate) topic: String,
}

/// What the routes read; a clone is another handle of the same.
#[derive(Debug, Clone)]
pub(crate) struct HttpState(Arc<Observed>);

impl std::ops::Deref for HttpState {
    type Target = Observed;

    fn deref(&self) -> &Observed {
        &self.0
    }
}

/// See [`HttpState`].
#[derive(Debug)]
pub(crate) struct Observed {
    pub(super) facts: Facts,
    pub(super) metrics: Metrics,
    pub(super) journal: Journal,
    pub(super) status: watch::Receiver<Status>,
    pub(super) clock: Clock,
    pub(super) started: Instant,
    pipeline: OnceLock<PipelineView>,
    /// The last seconds. Whoever waits for a change of it hears of every second.
    pub(super) seconds: watch::Sender<Seconds>,
    actors: Mutex<Option<(u64, Arc<Vec<ActorView>>)>>,
    windows: Mutex<Option<(u64, Arc<OpenWindows>)>>,
    /// What was rendered for the clients of the stream, and in which second.
    pub(super) frames: Mutex<Option<(u64, Frames)>>,
}

impl HttpState {
    /// State of a daemon that starts now.
    pub(crate) fn new(
        facts: Facts,
        metrics: Metrics,
        journal: Journal,
        status: watch::Receiver<Status>,
    ) -> Self {
        let seconds = watch::Sender::new(Seconds::default());
        Self(Arc::new(Observed {
            facts,
            metrics,
            journal,
            status,
            clock: Clock::start(),
            started: Instant::now(),
            pipeline: OnceLock::new(),
            seconds,
            actors: Mutex::new(None),
            windows: Mutex::new(None),
            frames: Mutex::new(None),
        }))
    }

    /// There is a pipeline to look at from now on.
    pub(crate) fn show(&self, pipeline: PipelineView) {
        // It is started once.
        let _ = self.0.pipeline.set(pipeline);
    }

    /// Takes a sample of what is counted. Meant to be called once a second.
    pub(crate) fn tick(&self) {
        let sample = Sample::take(self);
        self.seconds.send_modify(|seconds| seconds.push(sample));
    }
}

impl Observed {
    /// All actors, as of this second.
    pub(super) async fn actors(&self) -> Arc<Vec<ActorView>> {
        self.once_a_second(&self.actors, async |pipeline| pipeline.actors().await.unwrap_or_default()).await
    }

    /// The fullest open windows, as of this second.
    pub(super) async fn windows(&self) -> Arc<OpenWindows> {
        self.once_a_second(&self.windows, async |pipeline| pipeline.windows(MAX_WINDOWS).await).await
    }

    /// Asks the pipeline, but only once a second, however many clients there are and however often they ask.
    async fn once_a_second<T: Default>(
        &self,
        known: &Mutex<Option<(u64, Arc<T>)>>,
        ask: impl AsyncFn(&PipelineView) -> T,
    ) -> Arc<T> {
        let second = self.seconds.borrow().number();
        let mut known = known.lock().await;
        if let Some((of, answer)) = &*known
            && *of == second
        {
            return Arc::clone(answer);
        }
        let Some(pipeline) = self.pipeline.get() else { return Arc::default() };
        let answer = Arc::new(ask(pipeline).await);
        *known = Some((second, Arc::clone(&answer)));
        answer
    }

    /// Records between position and end, over all partitions of which it is known.
    pub(super) fn lag(&self) -> Option<u64> {
        let lags = (0..self.partitions()).filter_map(|partition| self.lag_of(partition));
        lags.reduce(|sum, lag| sum + lag)
    }

    pub(super) fn lag_of(&self, partition: u32) -> Option<u64> {
        self.metrics.consumer_lag(PartitionId(partition)).get().map(|lag| lag as u64)
    }

    /// Partitions that there are; the topic may have more than the configuration says.
    pub(super) fn partitions(&self) -> u32 {
        (self.journal.partitions().len() as u32).max(self.facts.partitions)
    }
}

/// Samples of the last ten seconds, and what follows from them.
#[derive(Debug, Default)]
pub(super) struct Seconds {
    samples: VecDeque<Sample>,
    number: u64,
}

/// Ten seconds lie between the first and the last of as many samples.
const SAMPLES: usize = 11;

/// What was counted at one moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    at: Instant,
    cpu_seconds: Option<f64>,
    pub(super) counts: Counts,
    /// Per output topic.
    pub(super) written: [u64; Topic::OUTPUTS.len()],
    /// Per input partition.
    pub(super) read: Vec<u64>,
    /// Per sink.
    pub(super) delivered: Vec<u64>,
}

/// Counts of the whole pipeline.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) bots: u64,
    pub(super) dead_letters: u64,
    pub(super) skipped: u64,
    pub(super) late: u64,
    pub(super) future: u64,
    pub(super) overflow: u64,
    pub(super) alerts: u64,
    pub(super) restarts: u64,
}

impl Sample {
    fn take(state: &Observed) -> Self {
        let Observed { facts, metrics, .. } = state;
        let rules = || (0..facts.rules).map(RuleId);
        let alerts = |rule| AlertPhase::ALL.into_iter().map(move |phase| metrics.alerts(rule, phase).get());
        Self {
            at: Instant::now(),
            cpu_seconds: process::cpu_seconds(),
            counts: Counts {
                bots: metrics.all_bot_events(),
                dead_letters: Reason::ALL.into_iter().map(|reason| metrics.dead_letters(reason).get()).sum(),
                skipped: metrics.skipped_tombstones().get(),
                late: rules().map(|rule| metrics.late_events(rule).get()).sum(),
                future: metrics.future_events().get(),
                overflow: metrics.window_overflow().get(),
                alerts: rules().flat_map(alerts).sum(),
                restarts: Part::ALL.into_iter().map(|part| metrics.restarts(part).get()).sum(),
            },
            written: Topic::OUTPUTS.map(|topic| metrics.sink_records(topic).get()),
            read: (0..state.partitions())
                .map(|partition| metrics.source_records(PartitionId(partition)).get())
                .collect(),
            delivered: facts.sinks.iter().map(|sink| metrics.sink(sink.id).delivered.get()).collect(),
        }
    }
}

impl Seconds {
    fn push(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.number += 1;
    }

    /// How many seconds there were.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The last sample.
    pub(super) fn last(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// How much something grows in a second.
    pub(super) fn rate(&self, count: impl Fn(&Sample) -> u64) -> f64 {
        self.slope(|sample| Some(count(sample) as f64)).unwrap_or_default()
    }

    /// Cores in use.
    pub(super) fn cpu_cores(&self) -> Option<f64> {
        self.slope(|sample| sample.cpu_seconds)
    }

    fn slope(&self, value: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = (last.at - first.at).as_secs_f64();
        let grown = value(last)? - value(first)?;
        (seconds > 0.0).then(|| grown.max(0.0) / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_last_ten_seconds() {
        let began = Instant::now();
        let sample = |second: u64, bots| Sample {
            at: began + Duration::from_secs(second),
            cpu_seconds: Some(second as f64 / 4.0),
            counts: Counts { bots, ..Counts::default() },
            written: Default::default(),
            read: Vec::new(),
            delivered: Vec::new(),
        };
        let mut seconds = Seconds::default();
        assert_eq!(seconds.rate(|sample| sample.counts.bots), 0.0);
        seconds.push(sample(0, 1000));
        assert_eq!((seconds.rate(|sample| sample.counts.bots), seconds.cpu_cores()), (0.0, None));
        for second in 1..=20 {
            seconds.push(sample(second, 1000 + 10 * second.min(15)));
        }
        assert_eq!((seconds.rate(|sample| sample.counts.bots), seconds.cpu_cores()), (5.0, Some(0.25)));
    }
}
