//! Settings of the clients: what the user gave, what correctness fixes, and what was measured to be fast.

use std::{collections::BTreeMap, fmt};

use rdkafka::ClientConfig;
use tidegate_core::{Epoch, client_properties::refusal};

use crate::{LogError, Topic, TopicsFacts};

/// How to reach Kafka and what to use there.
#[derive(Clone)]
pub struct KafkaConfig {
    /// Comma-separated `host:port`.
    pub bootstrap_servers: String,
    /// Group that the input offsets are committed under. Nothing may ever subscribe with it.
    pub group_id: String,
    /// Id of the one writer.
    pub transactional_id: String,
    /// More librdkafka properties; values may be secrets.
    pub properties: BTreeMap<String, String>,
    /// Names of the topics, indexed by [`Topic`].
    pub topics: [String; 5],
    /// Finds the epochs that the state topic says are committed.
    pub epoch_of: EpochOf,
    /// What a person says of a transaction whose fate cannot be told: `true` takes it for committed.
    pub settle: Option<bool>,
}

/// The epoch that a record, key and value, of the state topic says is committed; `None` if it is another kind of record.
pub type EpochOf = fn(Option<&[u8]>, Option<&[u8]>) -> Option<Epoch>;

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("group_id", &self.group_id)
            .field("transactional_id", &self.transactional_id)
            // Names only: among the values are passwords.
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .field("topics", &self.topics)
            .finish()
    }
}

/// Milliseconds a fetch waits at the broker while there is nothing to read. Data ends the wait at once, so
/// this is no latency; it is the pace of an idle daemon's requests, and the time a seek may wait for the fetch
/// under way.
const FETCH_WAIT_MAX_MS: &str = "50";
/// The same where the end is all that is waited for: a fetch that finds nothing says so at once.
const FETCH_WAIT_MAX_MS_TO_END: &str = "1";
/// How much is fetched ahead.
const QUEUED_KBYTES: &str = "queued.max.messages.kbytes";

impl KafkaConfig {
    pub(super) fn topic(&self, topic: Topic) -> &str {
        &self.topics[topic as usize]
    }

    /// What the user set as the largest record that the client sends.
    pub(super) fn message_max_bytes(&self) -> Option<usize> {
        self.properties.get("message.max.bytes")?.parse().ok()
    }

    /// Refuses what cannot work, before anything is connected.
    pub(super) fn check(&self) -> Result<(), LogError> {
        match self.properties.iter().find_map(|(name, value)| refuse(name, value)) {
            Some(words) => Err(LogError::Misconfigured(format!("kafka.properties: {words}"))),
            None => Ok(()),
        }
    }

    /// What all clients share. A user's property comes last and wins.
    fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", "tidegate")
            // A producer's default would bring a deleted topic back with the broker's defaults.
            .set("allow.auto.create.topics", "false")
            // librdkafka opens connections half of this apart, and each client needs two: with the default of 100 ms
            // connecting takes 55 ms, with this 15.
            .set("reconnect.backoff.ms", "20")
            // The default of 10 s is what a restarted broker would wait for us.
            .set("reconnect.backoff.max.ms", "500");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    /// A client for metadata and offsets; it sees uncommitted records unless `stable`.
    pub(super) fn inquiry(&self, stable: bool) -> ClientConfig {
        let mut config = self.client(&[]);
        config.set("isolation.level", if stable { "read_committed" } else { "read_uncommitted" });
        config
    }

    /// A client that asks for the group's committed offsets and names the group in transactions.
    pub(super) fn group(&self) -> ClientConfig {
        let mut config = self.client(&[]);
        config
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", "false")
            // Makes the broker answer with stable offsets only.
            .set("isolation.level", "read_committed");
        config
    }

    /// The same, but the broker also answers while a transaction holds newer offsets back.
    pub(super) fn undecided_group(&self) -> ClientConfig {
        let mut config = self.group();
        config.set("isolation.level", "read_uncommitted");
        config
    }

    /// A client that reads records from given offsets.
    ///
    /// The sizes are small on purpose: with a queue of 20 000 records and 16 MiB the rate is that of queues ten
    /// times as large, and a seek has less to throw away. A partition's share of a fetch is not: with 256 KiB
    /// each fetch brought one partition, a thousand of them for a gigabyte.
    pub(super) fn reader(&self, topic: Topic) -> ClientConfig {
        let wait_ms = if topic == Topic::Raw { FETCH_WAIT_MAX_MS } else { FETCH_WAIT_MAX_MS_TO_END };
        let mut config = self.client(&[
            ("queued.min.messages", "20000"),
            (QUEUED_KBYTES, "16384"),
            ("max.partition.fetch.bytes", "524288"),
            ("fetch.max.bytes", "4194304"),
            ("fetch.wait.max.ms", wait_ms),
            // The default of 1 s makes reading stop and go.
            ("fetch.queue.backoff.ms", "10"),
            ("check.crcs", "true"),
        ]);
        config
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Another policy would lose or repeat records without a word.
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("statistics.interval.ms", "1000");
        config
    }

    /// A client that reads a topic as a member of `group`. What the others read goes on while partitions change hands.
    pub(super) fn member(&self, topic: Topic, group: &str) -> ClientConfig {
        let mut config = self.reader(topic);
        // The client's defaults, 45 s and 3 s, are what a group would wait for one that died, and to hear of a change.
        for (name, value) in [("session.timeout.ms", "10000"), ("heartbeat.interval.ms", "1000")] {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            // Taken from a queue in bulk, the word that a partition ends counts as a record: librdkafka 2.12 then goes
            // on one offset too far when a change of the group has paused the partition.
            .set("enable.partition.eof", "false");
        // What is fetched ahead counts against no budget of the sink, and many sinks may be slow at once. With more than this
        // none was faster.
        if !self.properties.contains_key(QUEUED_KBYTES) {
            config.set(QUEUED_KBYTES, "1024");
        }
        config
    }

    /// The transactional writer.
    /// `most_batch_bytes` is what topics were seen to take.
    pub(super) fn writer(&self, topics: &TopicsFacts, most_batch_bytes: usize) -> ClientConfig {
        let outputs = &topics[Topic::Processed as usize..];
        let smallest = outputs.iter().map(|topic| topic.max_message_bytes).min().unwrap_or(1_000_000);
        let largest = outputs.iter().map(|topic| topic.max_message_bytes).max().unwrap_or(1_000_000);
        let mut config = self.client(&[
            ("compression.type", "lz4"),
            // Large batches; a commit flushes and does not wait for it.
            ("linger.ms", "50"),
            ("batch.num.messages", "10000"),
            // The queue's length is what a commit has to wait for.
            ("queue.buffering.max.messages", "50000"),
            ("message.max.bytes", &largest.clamp(1_000_000, 1_000_000_000).to_string()),
        ]);
        // A batch larger than a topic takes would be refused whole.
        let wanted =
            self.properties.get("batch.size").and_then(|size| size.parse().ok()).unwrap_or(1_000_000);
        let batch = smallest.min(most_batch_bytes).clamp(1_000, 1_000_000_000).min(wanted);
        config
            .set("batch.size", batch.to_string())
            .set("transactional.id", &self.transactional_id)
            .set("enable.idempotence", "true")
            // Reports as events, errors only: with none at all a flush waits in steps of 10 ms.
            .set("delivery.report.only.error", "true")
            .set("statistics.interval.ms", "1000");
        config
    }

    /// A plain producer for bulk.
    pub(super) fn plain(&self) -> ClientConfig {
        let mut config = self.client(&[
            ("compression.type", "lz4"),
            ("linger.ms", "50"),
            ("acks", "all"),
            // The partitioner of the java client.
            ("partitioner", "murmur2_random"),
        ]);
        config.set("enable.idempotence", "true").set("delivery.report.only.error", "true");
        config
    }
}

/// Why a property cannot be set.
pub(super) fn refuse(name: &str, value: &str) -> Option<String> {
    if let Some(reason) = refusal(name) {
        return Some(format!("`{name}` cannot be set: {reason}"));
    }
    let lacks_tls = needs_tls(name, value) && !cfg!(any(feature = "tls", feature = "tls-vendored"));
    lacks_tls.then(|| {
        format!(
            "`{name}` needs TLS, which this build does not have; build with `--features tls` (the system's OpenSSL) \
             or `--features tls-vendored`"
        )
    })
}

/// Whether a property asks for what only OpenSSL can do. SASL/PLAIN without TLS can do without.
fn needs_tls(name: &str, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    match name {
        "security.protocol" => value.ends_with("ssl"),
        "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("scram") || value.starts_with("oauth"),
        _ => name.starts_with("ssl."),
    }
}

#[cfg(test)]
impl KafkaConfig {
    /// Settings of a broker that is not there.
    pub(super) fn sample(properties: &[(&str, &str)]) -> Self {
        let property = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            bootstrap_servers: "localhost:1".into(),
            group_id: "g".into(),
            transactional_id: "t".into(),
            properties: properties.iter().map(property).collect(),
            topics: ["raw", "processed", "alerts", "dead", "state"].map(str::to_owned),
            epoch_of: |_, _| None,
            settle: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(name: &str, value: &str) -> KafkaConfig {
        KafkaConfig::sample(&[(name, value)])
    }

    #[test]
    fn properties_that_exactly_once_depends_on_are_refused() {
        let error = config("isolation.level", "read_uncommitted").check().unwrap_err();
        assert!(matches!(error, LogError::Misconfigured(words) if words.contains("`isolation.level`")));
        assert!(config("fetch.min.bytes", "2").check().is_ok());
    }

    #[cfg(not(any(feature = "tls", feature = "tls-vendored")))]
    #[test]
    fn without_tls_a_build_says_how_to_get_it() {
        for (name, value) in [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", "/ca"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
        ] {
            let error = config(name, value).check().unwrap_err();
            assert!(matches!(error, LogError::Misconfigured(words) if words.contains("--features tls")));
        }
        assert!(config("sasl.mechanisms", "PLAIN").check().is_ok());
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let shown = format!("{:?}", config("sasl.password", "hunter2"));
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"));
    }
}
