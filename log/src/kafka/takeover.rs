//! Becoming the owner of the transactional id, and clearing up what the broker left open.
//!
//! What to do about leftovers is decided by [`tidegate_core::leftover`]; here facts are gathered and steps carried
//! out. All of it blocks.

use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::{BaseProducer, Producer as _},
};
use tidegate_core::{
    Epoch, NextOffset,
    epoch::EpochMark,
    leftover::{Facts, Fate, Lost, Offsets, OutputPartition, Place, Step, decide},
};

use super::{
    bring_up,
    config::KafkaConfig,
    extent::{Extent, METADATA_MAX_BYTES, own_text},
    failure::{by_code, classify},
    health::{Clients, Context},
    native::{self, Producer, Question, Record},
    range::{self, Kept},
    reader::Isolation,
};
use crate::{Headers, LogError, Origin, Topic, TopicsFacts};

/// How long a new client may take to find the broker, and how long one request may take before the caller hears
/// of it; both can be tried again.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

const WHAT: &str = "taking over as the writer";
/// How many milliseconds those that ask before the writer wait for the broker's answer, one after another. Rolling
/// back what a predecessor left open takes 10 to 30 where the broker is near.
const ROLLBACK_TIMEOUTS_MS: [u64; 4] = [20, 40, 80, 160];
/// Markers are written a moment after the coordinator has decided. What is open for longer was left open.
const MARKERS_WITHIN: Duration = Duration::from_secs(1);
/// Stable offsets that do not come in this time are pending, if others do.
const STABLE_WITHIN: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);
/// More steps than any combination of facts takes.
const MAX_STEPS: usize = 12;

/// Has the broker roll back what a predecessor that died left open. It does so when it hears of a successor, but
/// refuses that one until it has, and librdkafka asks again only after a fixed 500 ms. So producers ask that are
/// ended before they could ask again, until one is taken. Whatever else fails here fails once more for the writer,
/// which tells.
pub(super) fn end_predecessor(config: &KafkaConfig, topics: &TopicsFacts) {
    for patience in ROLLBACK_TIMEOUTS_MS.map(Duration::from_millis) {
        let usher =
            config.writer(topics, usize::MAX).create_with_context::<_, BaseProducer<_>>(Context::unheard());
        let Ok(usher) = usher else { return };
        if bring_up(usher.client(), config.topic(Topic::Processed), REQUEST_TIMEOUT).is_err() {
            return;
        }
        match usher.init_transactions(patience) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
            _ => return,
        }
    }
}

pub(super) fn connect(producer: &Producer, config: &KafkaConfig) -> Result<(), LogError> {
    bring_up(producer.client().client(), config.topic(Topic::Processed), REQUEST_TIMEOUT)
        .map_err(|error| classify("connecting the writer", &error))
}

/// What is committed for the first so many partitions of topics, in order: the offset and its metadata.
pub(super) fn committed(
    group: &BaseConsumer<Context>,
    config: &KafkaConfig,
    asked: &[(Topic, u32)],
    timeout: Duration,
) -> Result<Vec<(Topic, Committed)>, LogError> {
    const WHAT: &str = "asking for the committed offsets";
    group.poll(Duration::ZERO);
    // Built for this call only: a list kept alive would make dropping a client hang.
    let mut list = TopicPartitionList::new();
    let mut places = Vec::new();
    for &(topic, partitions) in asked {
        for partition in 0..partitions {
            list.add_partition(config.topic(topic), partition as i32);
            places.push(topic);
        }
    }
    let list = group.committed_offsets(list, timeout).map_err(|error| classify(WHAT, &error))?;
    let entry = |(topic, (partition, offset, metadata, code)): (Topic, (i32, i64, Vec<u8>, Code))| {
        if code != Code::NoError {
            return Err(by_code(WHAT, code, format!("partition {partition}: {code}")));
        }
        let text = || String::from_utf8_lossy(&metadata).into_owned();
        Ok((topic, (offset >= 0).then(|| (NextOffset(offset), text()))))
    };
    places.into_iter().zip(native::committed(&list)).map(entry).collect()
}

type Committed = Option<(NextOffset, String)>;

/// A producer that becomes the owner.
pub(super) struct Takeover<'a> {
    pub(super) config: &'a Arc<KafkaConfig>,
    pub(super) topics: &'a TopicsFacts,
    pub(super) clients: &'a Clients,
    pub(super) producer: &'a Producer,
    /// Asks for stable offsets, and names the group in transactions.
    pub(super) group: &'a BaseConsumer<Context>,
}

impl Takeover<'_> {
    /// Makes the producer the owner of the id and clears up behind its predecessors. Returns how far the output
    /// partitions are written.
    ///
    /// Ending the predecessor's transaction comes first: what is without a leader meanwhile is found afterwards.
    ///
    /// # Errors
    /// [`LogError::Undecided`] if a person has to decide, else as the brokers answer.
    pub(super) fn run(&self) -> Result<Extent, LogError> {
        connect(self.producer, self.config)?;
        let client = self.producer.client();
        client.init_transactions(REQUEST_TIMEOUT).map_err(|error| classify(WHAT, &error))?;
        self.clear_up()
    }

    /// Whether every output partition has a leader and nothing of a transaction that ended is open.
    pub(super) fn is_clear(&self) -> Result<bool, LogError> {
        self.wait_for_leaders()?;
        let places = self.places();
        let (stable, ends) = self.ends(&places)?;
        Ok(stable.iter().zip(&ends).all(|(stable, end)| stable >= end))
    }

    fn clear_up(&self) -> Result<Extent, LogError> {
        self.wait_for_leaders()?;
        let mut aborted = BTreeSet::new();
        for _ in 0..MAX_STEPS {
            let facts = self.gather(&aborted)?;
            let step = decide(&facts);
            if !matches!(step, Step::Done { .. }) {
                tracing::warn!(
                    ?step,
                    "the broker ended a transaction without all of its markers; clearing up"
                );
            }
            match step {
                Step::Done { foreign } => return Ok(self.done(&facts, &foreign)),
                Step::Refuse(unclear) => return Err(LogError::Undecided(unclear.to_string())),
                Step::CommitOffsets => self.group_transaction(true, &[])?,
                Step::AbortOffsets => self.group_transaction(false, &[])?,
                Step::Note(lost) => self.group_transaction(true, &self.notes(&lost)?)?,
                Step::Abort(places) => {
                    self.abort(places.iter().map(|place| &facts.outputs[*place]))?;
                    aborted.extend(places);
                }
                Step::Restore(lost) => self.restore(&lost)?,
            }
        }
        let cause = "clearing up behind a transaction comes to no end".into();
        Err(LogError::Unavailable { what: WHAT, cause })
    }

    fn done(&self, facts: &Facts, foreign: &[usize]) -> Extent {
        for OutputPartition { topic, partition, stable, .. } in
            foreign.iter().map(|place| &facts.outputs[*place])
        {
            tracing::warn!(
                topic, partition, offset = %stable,
                "another producer has a transaction open in an output topic: readers of committed records wait for its end"
            );
        }
        let places = self.places();
        let ends: Vec<_> = facts.outputs.iter().map(|output| output.end).collect();
        let mut extent = Extent::new(self.topics);
        extent.learn(&places, &ends);
        extent
    }

    /// All output partitions, in the order of [`Facts::outputs`].
    fn places(&self) -> Vec<(Topic, u32)> {
        let of_topic =
            |topic: Topic| (0..self.topics[topic as usize].partitions).map(move |number| (topic, number));
        Topic::ALL[Topic::Processed as usize..].iter().copied().flat_map(of_topic).collect()
    }

    fn wait_for_leaders(&self) -> Result<(), LogError> {
        let names: Vec<&str> = Topic::ALL[1..].iter().map(|topic| self.config.topic(*topic)).collect();
        let client = self.producer.client().client().native_ptr();
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            let described = Question::ask(client, &names, false, REQUEST_TIMEOUT)?.answer(WHAT)?;
            let leaderless = described.iter().find_map(|topic| {
                let partition = topic.leaders.iter().position(|has_leader| !has_leader)?;
                Some(Place(topic.name.clone(), partition as u32))
            });
            match leaderless {
                None => return Ok(()),
                Some(place) if Instant::now() > deadline => {
                    let cause = format!("{place} has no leader: the broker that has it is away");
                    return Err(LogError::Unavailable { what: WHAT, cause });
                }
                Some(_) => thread::sleep(POLL),
            }
        }
    }

    /// Last stable offsets and high watermarks. Where they differ, the markers had their time.
    fn ends(&self, places: &[(Topic, u32)]) -> Result<(Vec<NextOffset>, Vec<NextOffset>), LogError> {
        let client = self.producer.client().client().native_ptr();
        let asked: Vec<_> =
            places.iter().map(|(topic, partition)| (self.config.topic(*topic), *partition)).collect();
        let ends = native::ends(client, &asked, false, REQUEST_TIMEOUT)?;
        let deadline = Instant::now() + MARKERS_WITHIN;
        loop {
            let stable = native::ends(client, &asked, true, REQUEST_TIMEOUT)?;
            let is_open = stable.iter().zip(&ends).any(|(stable, end)| stable < end);
            if !is_open || Instant::now() > deadline {
                return Ok((stable, ends));
            }
            thread::sleep(POLL);
        }
    }

    fn gather(&self, aborted: &BTreeSet<usize>) -> Result<Facts, LogError> {
        let (committed, are_stable) = self.committed()?;
        let noted = self.lost(&committed)?;
        let metadata =
            || committed.iter().filter(|entry| entry.topic == Topic::Raw).map(|entry| &*entry.metadata);
        let extent = Extent::read(self.topics, metadata());
        let named = metadata().filter_map(|text| Some(EpochMark::decode(own_text(text)).ok()?.epoch)).max();
        let places = self.places();
        let (stable, ends) = self.ends(&places)?;
        let output = |(place, (topic, partition)): (usize, &(Topic, u32))| OutputPartition {
            topic: self.config.topic(*topic).to_owned(),
            partition: *partition,
            stable: stable[place],
            end: ends[place],
            committed_to: extent.end(*topic, *partition),
            was_aborted: aborted.contains(&place),
        };
        let outputs: Vec<_> = places.iter().enumerate().map(output).collect();
        let offsets = if are_stable {
            Offsets::Stable
        } else {
            Offsets::Pending { fate: self.fate(named, &places, &outputs)? }
        };
        let is_first = !committed.iter().any(|entry| entry.topic == Topic::Raw);
        Ok(Facts { offsets, is_first, outputs, noted, verdict: self.config.settle })
    }

    /// What is committed for the group, and whether it is decided.
    fn committed(&self) -> Result<(Vec<Entry>, bool), LogError> {
        match self.committed_by(self.group, STABLE_WITHIN) {
            Ok(committed) => return Ok((committed, true)),
            Err(LogError::Unavailable { .. }) => {}
            Err(error) => return Err(error),
        }
        let undecided =
            BaseConsumer::from_config_and_context(&self.config.undecided_group(), Context::unheard())
                .map_err(|error| classify("kafka client", &error))?;
        Ok((self.committed_by(&undecided, REQUEST_TIMEOUT)?, false))
    }

    fn committed_by(&self, group: &BaseConsumer<Context>, timeout: Duration) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        // What is noted stands with the state topic.
        let asked = [Topic::Raw, Topic::State].map(|topic| (topic, self.topics[topic as usize].partitions));
        for (topic, committed) in committed(group, self.config, &asked, timeout)? {
            entries.extend(committed.map(|(_, metadata)| Entry { topic, metadata }));
        }
        Ok(entries)
    }

    /// What the state topic and the outputs tell about the transaction of pending offsets.
    fn fate(
        &self,
        named: Option<Epoch>,
        places: &[(Topic, u32)],
        outputs: &[OutputPartition],
    ) -> Result<Fate, LogError> {
        let mut recorded = None;
        let mut is_record_open = false;
        let mut is_output_visible = Some(false);
        for ((topic, partition), output) in places.iter().zip(outputs) {
            let read = |from, to| {
                range::read(self.config, self.clients, (*topic, *partition), from..to, Isolation::Committed)
            };
            if (*topic, *partition) == (Topic::State, 0) {
                is_record_open = output.stable < output.end;
                for record in read(NextOffset(0), output.stable)? {
                    let epoch = (self.config.epoch_of)(record.key.as_deref(), record.value.as_deref());
                    recorded = recorded.max(epoch);
                }
            }
            is_output_visible = match (is_output_visible, output.committed_to) {
                (Some(true), _) => Some(true),
                (_, Some(from)) if from < output.stable && !read(from, output.stable)?.is_empty() => {
                    Some(true)
                }
                (_, None) => None,
                (unknown, _) => unknown,
            };
        }
        Ok(Fate { named, recorded, is_record_open, is_output_visible })
    }

    /// A transaction that has nothing in it but the group: `notes`, or an entry that nobody reads.
    fn group_transaction(&self, commit: bool, notes: &[(u32, String)]) -> Result<(), LogError> {
        self.producer.client().begin_transaction().map_err(|error| classify(WHAT, &error))?;
        self.send_notes(notes)?;
        self.end(commit)
    }

    fn send_notes(&self, notes: &[(u32, String)]) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        if notes.is_empty() {
            list.add_partition_offset(self.config.topic(Topic::Processed), 0, Offset::Offset(0))
                .map_err(|error| classify(WHAT, &error))?;
        }
        for (partition, note) in notes {
            let mut entry = list.add_partition(self.config.topic(Topic::State), *partition as i32);
            entry.set_offset(Offset::Offset(0)).map_err(|error| classify(WHAT, &error))?;
            entry.set_metadata(note);
        }
        let Some(group) = self.group.group_metadata() else {
            return Err(LogError::Broken { what: WHAT, cause: "no group metadata".into() });
        };
        let sent = self.producer.client().send_offsets_to_transaction(&list, &group, REQUEST_TIMEOUT);
        sent.map_err(|error| classify(WHAT, &error))
    }

    fn end(&self, commit: bool) -> Result<(), LogError> {
        let client = self.producer.client();
        let ended = if commit {
            client.commit_transaction(REQUEST_TIMEOUT)
        } else {
            client.abort_transaction(REQUEST_TIMEOUT)
        };
        ended.map_err(|error| classify(WHAT, &error))
    }

    /// Closes what is open by a transaction that is aborted.
    fn abort<'a>(&self, outputs: impl Iterator<Item = &'a OutputPartition>) -> Result<(), LogError> {
        self.producer.client().begin_transaction().map_err(|error| classify(WHAT, &error))?;
        for output in outputs {
            let key = Some(&b"tidegate"[..]);
            let record = Record {
                partition: output.partition as i32,
                timestamp: 0,
                key,
                value: key,
                headers: Headers(&[]),
                origin: Origin::NONE,
            };
            self.send(self.topic(&output.topic)?, &record)?;
        }
        self.flush()?;
        self.end(false)
    }

    /// Writes again what is noted and is not to be seen, and forgets the note, in one transaction.
    fn restore(&self, lost: &[Lost]) -> Result<(), LogError> {
        self.producer.client().begin_transaction().map_err(|error| classify(WHAT, &error))?;
        for Lost { topic, partition, from, to } in lost {
            let topic = self.topic(topic)?;
            let read = |isolation| {
                range::read(self.config, self.clients, (topic, *partition), *from..*to, isolation)
            };
            let visible: BTreeSet<i64> =
                read(Isolation::Committed)?.iter().map(|record| record.offset).collect();
            let missing = read(Isolation::Uncommitted)?;
            let missing = missing.iter().filter(|record| !visible.contains(&record.offset));
            let mut count = 0;
            for Kept { timestamp, key, value, headers, .. } in missing {
                let record = Record {
                    partition: *partition as i32,
                    timestamp: *timestamp,
                    key: key.as_deref(),
                    value: value.as_deref(),
                    headers: Headers(headers),
                    origin: Origin::NONE,
                };
                self.send(topic, &record)?;
                count += 1;
            }
            tracing::warn!(
                topic = self.config.topic(topic),
                partition,
                count,
                "records that lost their commit marker are written again"
            );
        }
        self.flush()?;
        let partitions = self.topics[Topic::State as usize].partitions;
        let forgotten: Vec<_> = (0..partitions).map(|partition| (partition, String::new())).collect();
        self.send_notes(&forgotten)?;
        self.end(true)
    }

    fn topic(&self, name: &str) -> Result<Topic, LogError> {
        let missing = || LogError::TopicsMissing(vec![name.to_owned()]);
        Topic::ALL.into_iter().find(|topic| self.config.topic(*topic) == name).ok_or_else(missing)
    }

    fn send(&self, topic: Topic, record: &Record<'_>) -> Result<(), LogError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            match self.producer.send(topic as usize, record) {
                Err(Code::QueueFull) if Instant::now() < deadline => thread::sleep(POLL),
                sent => return sent.map_err(|code| by_code(WHAT, code, code.to_string())),
            }
        }
    }

    fn flush(&self) -> Result<(), LogError> {
        self.producer.flush(REQUEST_TIMEOUT).map_err(|code| by_code(WHAT, code, code.to_string()))
    }

    /// What was lost as notes with partitions of the state topic, each within the limit of the broker.
    fn notes(&self, lost: &[Lost]) -> Result<Vec<(u32, String)>, LogError> {
        let mut notes = vec![String::new()];
        for Lost { topic, partition, from, to } in lost {
            let entry = format!("{NOTE} {} {partition} {from} {to};", self.topic(topic)? as u8);
            if notes.last().is_some_and(|note| note.len() + entry.len() > METADATA_MAX_BYTES) {
                notes.push(String::new());
            }
            if let Some(note) = notes.last_mut() {
                note.push_str(&entry);
            }
        }
        if notes.len() > self.topics[Topic::State as usize].partitions as usize {
            return Err(LogError::Undecided(format!(
                "{} partitions lost their commit marker, more than can be noted",
                lost.len()
            )));
        }
        Ok((0..).zip(notes).collect())
    }

    /// What is noted.
    fn lost(&self, committed: &[Entry]) -> Result<Vec<Lost>, LogError> {
        let notes = committed.iter().filter(|entry| entry.topic == Topic::State);
        let entries = notes.flat_map(|entry| entry.metadata.split_terminator(';'));
        let parse = |entry: &str| {
            let mut words = entry.strip_prefix(NOTE)?.split_ascii_whitespace();
            let topic = Topic::ALL.get(words.next()?.parse::<usize>().ok()?)?;
            let (partition, from, to) =
                (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let topic = self.config.topic(*topic).to_owned();
            Some(Lost { topic, partition, from: NextOffset(from), to: NextOffset(to) })
        };
        entries
            .map(|entry| {
                let unreadable = || {
                    LogError::Undecided(format!("the note {entry:?} with the group's offsets cannot be read"))
                };
                parse(entry).ok_or_else(unreadable)
            })
            .collect()
    }
}

/// Begins every note of lost records.
const NOTE: &str = "lost";

/// An offset that is committed for the group.
struct Entry {
    topic: Topic,
    metadata: String,
}
