//! Topics as they should be and as they are, and what the broker allows.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigResource, NewPartitions, NewTopic, ResourceSpecifier,
        TopicReplication, TopicResult,
    },
    config::FromClientConfigAndContext,
    error::{KafkaResult, RDKafkaErrorCode as Code},
};
use tidegate_core::topic_limits::TopicLimits;

use super::{
    config::KafkaConfig,
    end_in_background,
    failure::{by_code, classify},
    health::Context,
    inquirer, metadata, native, partitions,
};
use crate::{Applied, Drift, LogError, Topic, TopicSpec, topics::Found};

/// Kafka compacts closed segments only; with its default of 1 GiB a recovery would have to read all of the
/// last one. The smallest that Kafka takes is 1 MiB.
const COMPACTED_SEGMENT_BYTES: &str = "16777216";

/// Compares topics with what they should be. Nothing is changed.
///
/// # Errors
/// [`LogError::Unavailable`] if no broker answers in time; [`LogError::NotPermitted`]; [`LogError::Misconfigured`].
pub fn plan(
    config: &KafkaConfig,
    specs: &[TopicSpec],
    timeout: Duration,
) -> Result<Vec<(TopicSpec, Vec<Drift>)>, LogError> {
    config.check()?;
    let consumer = inquirer(config, false)?;
    let mut have = Vec::new();
    for spec in specs {
        have.push(partitions(&metadata(config, &consumer, Some(&spec.name), timeout)?, &spec.name)?);
    }
    end_in_background(consumer);
    let existing: Vec<&str> = specs
        .iter()
        .zip(&have)
        .filter(|(_, have)| have.is_some())
        .map(|(spec, _)| spec.name.as_str())
        .collect();
    let configs = topic_configs(&admin(config)?, &existing, timeout)?;
    let drifts = |(spec, replicas): (&TopicSpec, Option<Vec<usize>>)| {
        let drifts = replicas.map_or(vec![Drift::Missing], |replicas| compare(spec, &replicas, &configs));
        (spec.clone(), drifts)
    };
    Ok(specs.iter().zip(have).map(drifts).collect())
}

type Configs = BTreeMap<String, BTreeMap<String, String>>;

fn compare(spec: &TopicSpec, replicas: &[usize], configs: &Configs) -> Vec<Drift> {
    let value = |name: &str| configs.get(&spec.name).and_then(|entries| entries.get(name));
    spec.drifts(Found {
        partitions: replicas.len() as u32,
        replication_factor: Some(replicas.iter().min().map_or(0, |replicas| *replicas as u32)),
        retention_ms: value("retention.ms").map(|have| have.parse().unwrap_or(-1)),
        cleanup_policy: value("cleanup.policy").cloned(),
        timestamp_type: value("message.timestamp.type").cloned(),
    })
}

/// Creates the topics that are missing, and with `alter` changes existing ones where that is possible. Never
/// deletes anything.
///
/// # Errors
/// [`LogError::Unavailable`] if no broker answers in time; [`LogError::NotPermitted`]; [`LogError::Misconfigured`].
/// What fails for one topic is told with that topic.
pub fn apply(
    config: &KafkaConfig,
    specs: &[TopicSpec],
    alter: bool,
    timeout: Duration,
) -> Result<Vec<Applied>, LogError> {
    let planned = plan(config, specs, timeout)?;
    let admin = admin(config)?;
    let mut errors = Vec::new();
    for (spec, drifts) in &planned {
        let mut due = drifts.iter().filter(|drift| drift.is_due(spec, alter));
        errors.push(due.try_for_each(|drift| reconcile(&admin, spec, drift, timeout)).err());
    }
    // What was asked for is seen by all brokers only after a moment.
    let deadline = Instant::now() + timeout;
    loop {
        let after = plan(config, specs, timeout)?;
        let applied: Vec<Applied> = planned
            .iter()
            .zip(after)
            .map(|((_, before), (spec, remaining))| Applied::new(spec, before, remaining))
            .collect();
        let is_settled = applied.iter().zip(&errors).all(|(topic, error)| {
            error.is_some() || !topic.remaining.iter().any(|drift| drift.is_due(&topic.spec, alter))
        });
        if is_settled || Instant::now() > deadline {
            let with_error = |(topic, error)| Applied { error, ..topic };
            return Ok(applied.into_iter().zip(errors).map(with_error).collect());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn reconcile(
    admin: &AdminClient<Context>,
    spec: &TopicSpec,
    drift: &Drift,
    timeout: Duration,
) -> Result<(), LogError> {
    let options = AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
    match drift {
        Drift::Missing => {
            let retention = spec.retention_ms.map(|retention| retention.to_string());
            let replication = TopicReplication::Fixed(spec.replication_factor as i32);
            let mut topic = NewTopic::new(&spec.name, spec.partitions as i32, replication)
                .set("cleanup.policy", spec.cleanup_policy());
            if let Some(retention) = &retention {
                topic = topic.set("retention.ms", retention);
            }
            if spec.compacted {
                topic = topic.set("segment.bytes", COMPACTED_SEGMENT_BYTES);
            }
            if let Some(kind) = spec.timestamp_type() {
                topic = topic.set("message.timestamp.type", kind);
            }
            topic_outcome("creating a topic", block_on(admin.create_topics([&topic], &options)))
        }
        Drift::Partitions { want, .. } => {
            let more = NewPartitions::new(&spec.name, *want as usize);
            topic_outcome("adding partitions", block_on(admin.create_partitions([&more], &options)))
        }
        Drift::Retention { want_ms, .. } => {
            native::set_topic_config(admin, &spec.name, &[("retention.ms", &want_ms.to_string())], timeout)
        }
        Drift::CleanupPolicy { want, .. } => {
            native::set_topic_config(admin, &spec.name, &[("cleanup.policy", want)], timeout)
        }
        Drift::TimestampType { want, .. } => {
            native::set_topic_config(admin, &spec.name, &[("message.timestamp.type", want)], timeout)
        }
        Drift::Replication { .. } => Ok(()),
    }
}

fn topic_outcome(what: &'static str, outcome: KafkaResult<Vec<TopicResult>>) -> Result<(), LogError> {
    for topic in outcome.map_err(|error| classify(what, &error))? {
        match topic {
            // Somebody else was faster.
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(by_code(what, code, format!("{name}: {code}"))),
        }
    }
    Ok(())
}

/// The brokers and what they allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerFacts {
    /// Addresses of the brokers, `host:port`.
    pub brokers: Vec<String>,
    /// `transaction.max.timeout.ms`; `None` if it may not be asked for.
    pub transaction_max_timeout: Option<Duration>,
    /// `transaction.timeout.ms` of our writer: as set by the user, or the client's default.
    pub transaction_timeout: Duration,
}

/// Connects and asks for the brokers.
///
/// # Errors
/// [`LogError::Unavailable`] if no broker answers in time; [`LogError::NotPermitted`]; [`LogError::Misconfigured`].
pub fn broker_facts(config: &KafkaConfig, timeout: Duration) -> Result<BrokerFacts, LogError> {
    config.check()?;
    let consumer = inquirer(config, false)?;
    let metadata = metadata(config, &consumer, None, timeout)?;
    let brokers: Vec<String> =
        metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect();
    let admin = admin(config)?;
    let limit = |id| {
        let resource = ResourceSpecifier::Broker(id);
        let described = block_on(admin.describe_configs([&resource], &options(timeout))).ok()?;
        let resource = described.into_iter().next()?.ok()?;
        entries(resource).remove("transaction.max.timeout.ms")?.parse().ok()
    };
    let own = config.properties.get("transaction.timeout.ms").and_then(|value| value.parse().ok());
    Ok(BrokerFacts {
        transaction_max_timeout: metadata
            .brokers()
            .first()
            .and_then(|broker| limit(broker.id()))
            .map(Duration::from_millis),
        brokers,
        // librdkafka's default.
        transaction_timeout: Duration::from_millis(own.unwrap_or(60_000)),
    })
}

/// What the configured user may do with a topic, as far as it can be known without doing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Name of the topic.
    pub topic: String,
    /// May read it.
    pub read: bool,
    /// May write it.
    pub write: bool,
}

/// Asks what the configured user may do with the existing topics among `topics`. Nothing is written or read.
///
/// The permission to use the `transactional.id` cannot be asked for, and trying it would fence a running daemon.
///
/// # Errors
/// [`LogError::Unavailable`] if no broker answers in time; [`LogError::NotPermitted`]; [`LogError::Misconfigured`].
pub fn permissions(
    config: &KafkaConfig,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<Permission>, LogError> {
    config.check()?;
    let admin = admin(config)?;
    let found = native::permissions(admin.inner().native_ptr(), topics, timeout)?;
    let public =
        |(topic, may): (String, native::Permissions)| Permission { topic, read: may.read, write: may.write };
    Ok(found.into_iter().map(public).collect())
}

/// What a topic takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_message_bytes: usize,
    pub(super) others: TopicLimits,
    /// They are not a guess.
    pub(super) are_known: bool,
}

impl Limits {
    fn of(entries: &BTreeMap<String, String>) -> Option<Self> {
        let number = |name: &str| entries.get(name)?.parse::<i64>().ok();
        // Brokers before 3.6 have one limit for both sides.
        let either = "message.timestamp.difference.max.ms";
        let limit = |name| number(name).or_else(|| number(either)).filter(|limit| *limit < i64::MAX);
        let is = |name: &str, value: &str| entries.get(name).is_some_and(|have| have.contains(value));
        Some(Self {
            max_message_bytes: entries.get("max.message.bytes")?.parse().ok()?,
            others: TopicLimits {
                needs_key: is("cleanup.policy", "compact"),
                oldest_ms: limit("message.timestamp.before.max.ms"),
                newest_ms: limit("message.timestamp.after.max.ms"),
                appends_time: is("message.timestamp.type", "LogAppendTime"),
            },
            are_known: true,
        })
    }
}

/// What the five topics take.
pub(super) fn limits(config: &KafkaConfig, timeout: Duration) -> Result<[Limits; 5], LogError> {
    // Kafka's default, for a user who may write to the topic but not look at its configuration.
    const DEFAULT: usize = 1_048_588;
    let admin = admin(config)?;
    let names: Vec<&str> = config.topics.iter().map(String::as_str).collect();
    let configs = match topic_configs(&admin, &names, timeout) {
        Err(LogError::NotPermitted { cause, .. }) => {
            tracing::warn!(
                cause,
                default = DEFAULT,
                "the limits of the topics are not known, taking the default of max.message.bytes"
            );
            Configs::new()
        }
        other => other?,
    };
    end_in_background(admin);
    let guess = Limits { max_message_bytes: DEFAULT, others: TopicLimits::default(), are_known: false };
    Ok(Topic::ALL.map(|topic| configs.get(config.topic(topic)).and_then(Limits::of).unwrap_or(guess)))
}

/// Configuration of topics; those that do not exist are left out.
fn topic_configs(
    admin: &AdminClient<Context>,
    names: &[&str],
    timeout: Duration,
) -> Result<Configs, LogError> {
    const WHAT: &str = "asking for topic configuration";
    if names.is_empty() {
        return Ok(Configs::new());
    }
    let resources: Vec<ResourceSpecifier<'_>> =
        names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let described = block_on(admin.describe_configs(&resources, &options(timeout)));
    let mut configs = Configs::new();
    for (name, described) in names.iter().zip(described.map_err(|error| classify(WHAT, &error))?) {
        match described {
            Ok(resource) => {
                configs.insert((*name).to_owned(), entries(resource));
            }
            Err(Code::UnknownTopicOrPartition) => {}
            Err(code) => return Err(by_code(WHAT, code, format!("{name}: {code}"))),
        }
    }
    Ok(configs)
}

fn entries(resource: ConfigResource) -> BTreeMap<String, String> {
    resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

fn options(timeout: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(timeout))
}

fn admin(config: &KafkaConfig) -> Result<AdminClient<Context>, LogError> {
    AdminClient::from_config_and_context(&config.inquiry(false), Context::unheard())
        .map_err(|error| classify("kafka admin client", &error))
}

/// Waits for a future of the admin client, which a thread of its own completes.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
