//! Whether the brokers answer, as the clients see it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    message::Message as _,
    producer::{DeliveryResult, ProducerContext},
    types::RDKafkaRespErr,
};
use serde::Deserialize;

use super::{
    native,
    refused::{self, Undelivered},
};
use crate::{Health, Origin};

/// A broker that owes an answer for this long does not answer: a fetch waits 50 ms at most, and a transaction's
/// request takes milliseconds.
const SILENCE_US: i64 = 3_000_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside stays whole whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one client has seen.
#[derive(Debug)]
pub(super) struct ClientHealth {
    /// A reader always has a request under way; a writer may be idle, and then no connection is no news.
    always_connected: bool,
    verdict: Mutex<Health>,
    last_error: Mutex<Option<(RDKafkaErrorCode, String)>>,
    errors: AtomicU64,
    failed_deliveries: AtomicU64,
    /// Reports of records that were refused for good, since they were last taken.
    refused: Mutex<Vec<Undelivered>>,
    group: Mutex<Membership>,
    /// How far each partition was fetched, the marks of transactions included.
    fetched: Mutex<BTreeMap<u32, i64>>,
}

/// What the consumer group decided, and nobody has looked at.
#[derive(Debug, Default)]
struct Membership {
    rebalances: VecDeque<Rebalance>,
    has_left: bool,
}

/// What the consumer group decided about this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rebalance {
    /// These partitions are its own now; there may be none.
    Assigned(Vec<u32>),
    /// These go to another member.
    Revoked(Vec<u32>),
}

impl ClientHealth {
    fn new(always_connected: bool) -> Self {
        Self {
            always_connected,
            verdict: Mutex::new(Health::Connecting),
            last_error: Mutex::new(None),
            errors: AtomicU64::new(0),
            failed_deliveries: AtomicU64::new(0),
            refused: Mutex::default(),
            group: Mutex::default(),
            fetched: Mutex::default(),
        }
    }

    pub(super) fn health(&self) -> Health {
        lock(&self.verdict).clone()
    }

    pub(super) fn set(&self, verdict: Health) {
        *lock(&self.verdict) = verdict;
    }

    /// Errors seen so far: of connections, of deliveries, fatal ones.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed) + self.failed_deliveries.load(Ordering::Relaxed)
    }

    /// Records that the broker did not take.
    pub(super) fn failed_deliveries(&self) -> u64 {
        self.failed_deliveries.load(Ordering::Relaxed)
    }

    /// Reports of records that were refused for good, since this was last asked.
    pub(super) fn take_refused(&self) -> Vec<Undelivered> {
        std::mem::take(&mut lock(&self.refused))
    }

    /// The last error, until the connection was seen to be well again.
    pub(super) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        lock(&self.last_error).clone()
    }

    /// How far a partition was fetched as of the last statistics, if they told: there is no record before that which is
    /// not in the queue or handed over.
    pub(super) fn fetched_to(&self, partition: u32) -> Option<i64> {
        lock(&self.fetched).get(&partition).copied()
    }

    /// A partition is fetched from elsewhere.
    pub(super) fn forget_fetched(&self, partition: u32) {
        lock(&self.fetched).remove(&partition);
    }

    /// What the consumer group decided next.
    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        lock(&self.group).rebalances.pop_front()
    }

    /// A decision of the group could not be dealt with yet.
    pub(super) fn put_back(&self, rebalance: Rebalance) {
        lock(&self.group).rebalances.push_front(rebalance);
    }

    /// From now on nobody looks at what the group decides.
    pub(super) fn leave_group(&self) {
        lock(&self.group).has_left = true;
    }

    fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        *lock(&self.last_error) = Some((code, reason.to_owned()));
    }

    fn judge(&self, statistics: &Statistics<'_>) {
        lock(&self.fetched).extend(statistics.fetched());
        let verdict = statistics.verdict(self.always_connected);
        match verdict {
            Health::Up => {
                *lock(&self.last_error) = None;
                self.set(Health::Up);
            }
            Health::Down(reason) => {
                let reason = self.last_error().map_or(reason, |(_, last)| last);
                self.set(Health::Down(reason));
            }
            // Nothing is known yet: what an error said stands.
            Health::Connecting => {}
        }
    }
}

/// All clients of a log.
#[derive(Debug, Default, Clone)]
pub(super) struct Clients(Arc<Mutex<Vec<Weak<ClientHealth>>>>);

impl Clients {
    pub(super) fn add(&self, always_connected: bool) -> Arc<ClientHealth> {
        let health = Arc::new(ClientHealth::new(always_connected));
        let mut clients = lock(&self.0);
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Arc::downgrade(&health));
        health
    }

    /// The worst of what is known; `otherwise` if no client knows anything.
    pub(super) fn health(&self, otherwise: Health) -> Health {
        let known: Vec<Health> = lock(&self.0)
            .iter()
            .filter_map(Weak::upgrade)
            .map(|client| client.health())
            .filter(|health| *health != Health::Connecting)
            .collect();
        let down = known.iter().find(|health| matches!(health, Health::Down(_)));
        down.or(known.first()).cloned().unwrap_or(otherwise)
    }
}

/// What librdkafka calls back: logs, errors, statistics, failed deliveries.
#[derive(Debug)]
pub(super) struct Context(pub(super) Arc<ClientHealth>);

impl Context {
    /// For a client without statistics: nobody would take its word back when the broker is well again.
    pub(super) fn unheard() -> Self {
        Self(Arc::new(ClientHealth::new(false)))
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Debug, Info, Notice};
        match level {
            Debug | Info | Notice => tracing::debug!(target: "librdkafka", facility, "{message}"),
            _ => tracing::warn!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        match serde_json::from_slice(json) {
            Ok(statistics) => self.0.judge(&statistics),
            Err(error) => tracing::debug!(%error, "librdkafka's statistics cannot be read"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        self.0.errors.fetch_add(1, Ordering::Relaxed);
        // "all brokers are down" comes behind the error that tells why.
        if code != RDKafkaErrorCode::AllBrokersDown || self.0.last_error().is_none() {
            self.0.note(code, reason);
        }
        if code == RDKafkaErrorCode::AllBrokersDown || code == RDKafkaErrorCode::Authentication {
            let reason = self.0.last_error().map_or_else(|| reason.to_owned(), |(_, reason)| reason);
            self.0.set(Health::Down(reason));
        }
    }
}

impl ConsumerContext for Context {
    /// The answer is given by whoever reads, see `group.rs`; unless nobody does any more.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let list = partitions.elements().iter().map(|element| element.partition() as u32).collect();
        let is_assignment = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if lock(&self.0.group).has_left {
            // Leaving waits for this answer.
            let answer = match is_assignment {
                true => consumer.incremental_assign(partitions),
                false => consumer.incremental_unassign(partitions),
            };
            if let Err(error) = answer {
                tracing::debug!(%error, "the group's last word cannot be answered");
            }
            return;
        }
        let news = if is_assignment { Rebalance::Assigned(list) } else { Rebalance::Revoked(list) };
        lock(&self.0.group).rebalances.push_back(news);
    }
}

impl ProducerContext for Context {
    /// The record's [`Origin`].
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, origin: usize) {
        let Err((error, message)) = result else { return };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        // An abort, or the end of the client, throws away what was queued.
        if matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) {
            return;
        }
        // Before the count, which makes the writer look.
        if refused::is_for_good(code) {
            let mut reports = lock(&self.0.refused);
            if reports.len() < refused::MAX_REPORTS {
                reports.push(Undelivered {
                    topic: message.topic().to_owned(),
                    partition: message.partition(),
                    code,
                    origin: Origin::from_bits(origin as u64),
                    has_key: message.key_len() > 0 || message.key().is_some(),
                    size_bytes: message.key_len() + message.payload_len(),
                    words: native::refusal_words(message).unwrap_or_default(),
                });
            }
        }
        self.0.note(code, &code.to_string());
        self.0.failed_deliveries.fetch_add(1, Ordering::Relaxed);
    }
}

/// The part of librdkafka's statistics that tells how the brokers are, and how far is fetched.
#[derive(Deserialize)]
struct Statistics<'a> {
    #[serde(borrow)]
    brokers: BTreeMap<Cow<'a, str>, Broker<'a>>,
    /// A client that reads has one.
    #[serde(borrow, default)]
    topics: BTreeMap<Cow<'a, str>, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: BTreeMap<i32, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    /// Negative before the first fetch.
    next_offset: i64,
}

#[derive(Deserialize)]
struct Broker<'a> {
    /// -1 is a bootstrap address of which it is not known yet which broker it is.
    nodeid: i32,
    #[serde(borrow)]
    state: Cow<'a, str>,
    /// Requests sent and not answered yet.
    waitresp_cnt: i64,
    /// Microseconds since something was received.
    rxidle: i64,
}

impl Broker<'_> {
    fn is_silent(&self) -> bool {
        self.waitresp_cnt > 0 && self.rxidle > SILENCE_US
    }
}

impl Statistics<'_> {
    fn fetched(&self) -> impl Iterator<Item = (u32, i64)> {
        let partitions = self.topics.values().flat_map(|topic| &topic.partitions);
        let known = partitions.filter(|(_, partition)| partition.next_offset >= 0);
        // There is a partition -1, for what is of none.
        known.filter_map(|(number, partition)| Some((u32::try_from(*number).ok()?, partition.next_offset)))
    }

    fn verdict(&self, always_connected: bool) -> Health {
        let brokers = || self.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.state != "INIT");
        if let Some(silent) = brokers().find(|broker| broker.is_silent())
            && !brokers().any(|broker| broker.state == "UP" && !broker.is_silent())
        {
            return Health::Down(format!(
                "broker {} has not answered for {} s",
                silent.nodeid,
                silent.rxidle / 1_000_000
            ));
        }
        if self.brokers.values().any(|broker| broker.state == "UP" && !broker.is_silent()) {
            return Health::Up;
        }
        match brokers().next() {
            Some(broker) if always_connected => Health::Down(format!(
                "no connection to broker {}: {}",
                broker.nodeid,
                broker.state.to_lowercase()
            )),
            _ => Health::Connecting,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn verdict(brokers: &[(i32, &str, i64, i64)], always_connected: bool) -> Health {
        let brokers: Vec<String> = brokers
            .iter()
            .map(|(id, state, waiting, idle)| {
                format!(r#""b{id}":{{"nodeid":{id},"state":"{state}","waitresp_cnt":{waiting},"rxidle":{idle},"x":1}}"#)
            })
            .collect();
        let json = format!(r#"{{"name":"c","brokers":{{{}}},"topics":{{"t":{{}}}}}}"#, brokers.join(","));
        serde_json::from_str::<Statistics<'_>>(&json).unwrap().verdict(always_connected)
    }

    #[test]
    fn a_broker_that_owes_an_answer_for_seconds_is_down_but_an_idle_one_is_not() {
        assert_eq!(verdict(&[(1, "UP", 0, 60_000_000)], true), Health::Up);
        assert!(matches!(verdict(&[(1, "UP", 1, 4_000_000)], true), Health::Down(_)));
        assert_eq!(verdict(&[(1, "UP", 1, 50_000)], true), Health::Up);
        assert_eq!(verdict(&[(1, "UP", 1, 4_000_000), (2, "UP", 1, 50_000)], true), Health::Up);
    }

    #[test]
    fn how_far_is_fetched_is_told_of_partitions_that_are_fetched() {
        let json = r#"{"brokers":{},"topics":{"t":{"partitions":{"0":{"next_offset":7,"x":1},"1":{"next_offset":-1001},
            "-1":{"next_offset":0}}}}}"#;
        let statistics = serde_json::from_str::<Statistics<'_>>(json).unwrap();
        assert_eq!(statistics.fetched().collect::<Vec<_>>(), [(0, 7)]);
    }

    #[test]
    fn an_idle_writer_without_a_connection_says_nothing() {
        assert_eq!(verdict(&[(1, "CONNECT", 0, -1)], false), Health::Connecting);
        assert!(matches!(verdict(&[(1, "CONNECT", 0, -1)], true), Health::Down(_)));
        assert_eq!(verdict(&[(-1, "TRY_CONNECT", 0, -1)], true), Health::Connecting);
    }

    #[test]
    fn the_worst_client_counts_and_the_dead_do_not() {
        let clients = Clients::default();
        assert_eq!(clients.health(Health::Connecting), Health::Connecting);
        let (reader, writer) = (clients.add(true), clients.add(false));
        reader.set(Health::Up);
        assert_eq!(clients.health(Health::Connecting), Health::Up);
        writer.set(Health::Down("gone".into()));
        assert_eq!(clients.health(Health::Connecting), Health::Down("gone".into()));
        drop(writer);
        assert_eq!(clients.health(Health::Connecting), Health::Up);
    }
}
