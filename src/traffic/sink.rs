//! Where sample traffic goes: into Kafka, into an embedded log, or to the daemon that has that one open.

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use tidegate_config::{LogKind, Settings};
use tidegate_host::Clock;
use tidegate_log::{
    Log, LogError, Topic,
    embedded::{EmbeddedStore, NewRecord},
    kafka::{KafkaConfig, KafkaLog, PlainProducer},
};
use tidegate_state::{StateDir, StateError};
use tidegate_traffic::SampleEvent;

use crate::wiring;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a log or daemon that has no room is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// Events written at once into an embedded log; one sync of the disk each.
const BATCH: usize = 2000;

/// Takes sample events.
pub(crate) enum Sink {
    Kafka(PlainProducer),
    Embedded {
        store: EmbeddedStore,
        topic: String,
        batch: Vec<NewRecord>,
        /// Records are stamped when they are appended, not with their event's time.
        clock: Option<Clock>,
        _lock: Option<StateDir>,
    },
    Daemon {
        address: SocketAddr,
        agent: ureq::Agent,
        lines: Vec<u8>,
        events: usize,
    },
}

impl Sink {
    /// The input topic of the log that the settings name.
    ///
    /// # Errors
    /// If it is not there or cannot be reached.
    pub(crate) fn connect(settings: &Settings) -> Result<Self, LogError> {
        match settings.log {
            LogKind::Kafka => kafka(&wiring::kafka_config(settings)),
            LogKind::Embedded => match StateDir::open(&settings.state_dir) {
                Ok(lock) => {
                    let store = wiring::embedded_store(settings)?;
                    let topic = settings.topics.raw.name.clone();
                    Ok(Self::Embedded { store, topic, batch: Vec::new(), clock: None, _lock: Some(lock) })
                }
                Err(StateError::Locked { .. }) => Ok(daemon(settings.http_listen)),
                Err(error) => Err(unavailable(&error)),
            },
        }
    }

    /// A topic of an embedded log that this process has open for other things too. Records are stamped when they
    /// are appended, so that latencies can be told.
    pub(crate) fn live(store: EmbeddedStore, topic: String) -> Self {
        Self::Embedded { store, topic, batch: Vec::new(), clock: Some(Clock::start()), _lock: None }
    }

    /// Takes an event; it may stay here until [`hand_on`](Self::hand_on).
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the log does not answer; [`LogError::Backlog`] if it is full for long.
    pub(crate) fn send(&mut self, event: &SampleEvent) -> Result<(), LogError> {
        match self {
            Self::Kafka(producer) => {
                producer.send(None, Some(&event.key), Some(&event.value), &[], event.timestamp)
            }
            Self::Embedded { batch, .. } => {
                batch.push(NewRecord {
                    timestamp: event.timestamp,
                    key: Some(event.key.clone()),
                    value: Some(event.value.clone()),
                    ..NewRecord::default()
                });
                if batch.len() < BATCH { Ok(()) } else { self.hand_on() }
            }
            Self::Daemon { lines, events, .. } => {
                lines.extend_from_slice(&event.value);
                lines.push(b'\n');
                *events += 1;
                if *events < BATCH { Ok(()) } else { self.hand_on() }
            }
        }
    }

    /// Writes what is held here; Kafka's client has a thread of its own for that.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the log does not answer; [`LogError::Backlog`] if it is full for long.
    pub(crate) fn hand_on(&mut self) -> Result<(), LogError> {
        match self {
            Self::Embedded { store, topic, batch, clock, .. } if !batch.is_empty() => {
                let mut records = mem::take(batch);
                if let Some(clock) = clock {
                    let now = clock.now();
                    records.iter_mut().for_each(|record| record.timestamp = now);
                }
                patiently(|| store.append(topic, records.clone()).map(drop))
            }
            Self::Daemon { address, agent, lines, events } if !lines.is_empty() => {
                *events = 0;
                let body = mem::take(lines);
                patiently(|| post(agent, *address, &body))
            }
            _ => Ok(()),
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the log does not answer; [`LogError::Backlog`] if it is full for long.
    pub(crate) fn flush(&mut self) -> Result<(), LogError> {
        match self {
            Self::Kafka(producer) => producer.flush(FLUSH_TIMEOUT),
            _ => self.hand_on(),
        }
    }
}

/// A topic that is missing, or a broker, would only show when records time out.
fn kafka(config: &KafkaConfig) -> Result<Sink, LogError> {
    let topic = &config.topics[Topic::Raw as usize];
    match KafkaLog::new(config.clone())?.topics(CONNECT_TIMEOUT) {
        Err(LogError::TopicsMissing(missing)) if !missing.contains(topic) => {}
        found => drop(found?),
    }
    Ok(Sink::Kafka(PlainProducer::new(config, topic)?))
}

fn daemon(listen: SocketAddr) -> Sink {
    let here = |ip: IpAddr| if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip };
    let config =
        ureq::Agent::config_builder().timeout_global(Some(FLUSH_TIMEOUT)).http_status_as_error(false).build();
    Sink::Daemon {
        address: SocketAddr::new(here(listen.ip()), listen.port()),
        agent: config.into(),
        lines: Vec::new(),
        events: 0,
    }
}

fn post(agent: &ureq::Agent, address: SocketAddr, body: &[u8]) -> Result<(), LogError> {
    let sent =
        agent.post(format!("http://{address}/api/v1/events")).content_type("application/x-ndjson").send(body);
    let mut answer = sent.map_err(|error| {
        unavailable(&format!(
            "the state directory is in use by another process, and no daemon answers at {address}: {error}"
        ))
    })?;
    let status = answer.status().as_u16();
    if status == 202 {
        return Ok(());
    }
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    let cause = format!("the daemon at {address} answered {status}: {}", text.trim());
    match status {
        429 => Err(LogError::Backlog(cause)),
        507 => Err(LogError::NoSpace(cause)),
        _ => Err(unavailable(&cause)),
    }
}

/// Tries again while there is no room, which a daemon makes by its work.
fn patiently(mut write: impl FnMut() -> Result<(), LogError>) -> Result<(), LogError> {
    let since = Instant::now();
    loop {
        match write() {
            Err(LogError::Backlog(_) | LogError::NoSpace(_)) if since.elapsed() < PATIENCE => {
                thread::sleep(RETRY_EVERY);
            }
            outcome => return outcome,
        }
    }
}

fn unavailable(cause: &dyn ToString) -> LogError {
    LogError::Unavailable { what: "writing events", cause: cause.to_string() }
}
