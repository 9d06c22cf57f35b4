//! Writing records.

use std::{
    ffi::c_void,
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    bindings::{self as sys, rd_kafka_headers_t, rd_kafka_topic_t, rd_kafka_vtype_t as V},
    error::RDKafkaErrorCode as Code,
    producer::{BaseProducer, Producer as _, PurgeConfig},
    types::RDKafkaRespErr,
};

use super::{c_string, timeout_ms};
use crate::{
    Headers, LogError, Origin, OutputBatch, OutputRecord,
    kafka::{
        failure::{classify, code},
        health::Context,
    },
};

/// A record to produce.
pub(in crate::kafka) struct Record<'a> {
    /// -1 leaves the choice to the partitioner.
    pub(in crate::kafka) partition: i32,
    /// Milliseconds since the epoch; 0 is now.
    pub(in crate::kafka) timestamp: i64,
    pub(in crate::kafka) key: Option<&'a [u8]>,
    pub(in crate::kafka) value: Option<&'a [u8]>,
    /// Encoded.
    pub(in crate::kafka) headers: Headers<'a>,
    /// Comes back with the report, if the record is not delivered.
    pub(in crate::kafka) origin: Origin,
}

impl<'a> Record<'a> {
    pub(in crate::kafka) fn of(batch: &'a OutputBatch, record: &OutputRecord) -> Self {
        Self {
            partition: record.partition as i32,
            // librdkafka takes 0 for "now": the first millisecond of 1970 becomes the second.
            timestamp: if record.timestamp.0 == 0 { 1 } else { record.timestamp.0 },
            key: record.key.map(|range| batch.bytes(range)),
            value: record.value.map(|range| batch.bytes(range)),
            headers: Headers(batch.bytes(record.headers)),
            origin: record.origin,
        }
    }
}

/// How long the thread that serves a producer's events waits at a time. The wrapper's wait spins for its last
/// millisecond: with the 100 ms of its own thread an idle producer costs 1 % of a core.
const EVENTS_WAIT: Duration = Duration::from_secs(1);

/// A producer with the handles of its topics. A thread of its own serves its events.
pub(in crate::kafka) struct Producer {
    topics: Vec<NonNull<rd_kafka_topic_t>>,
    // After the topics, see `Drop`.
    client: Arc<BaseProducer<Context>>,
    is_over: Arc<AtomicBool>,
}

// SAFETY: librdkafka's handles may be used from any thread; the raw pointers here are such handles.
unsafe impl Send for Producer {}
// SAFETY: as above; all calls take shared references and librdkafka locks.
unsafe impl Sync for Producer {}

impl Drop for Producer {
    /// Throws away what is queued. The client itself ends in its thread, a moment later.
    fn drop(&mut self) {
        for topic in self.topics.drain(..) {
            // SAFETY: each handle was made by `new` and is given back once, before its client.
            unsafe { sys::rd_kafka_topic_destroy(topic.as_ptr()) };
        }
        self.is_over.store(true, Ordering::Relaxed);
        self.client.purge(PurgeConfig::default().queue().inflight());
    }
}

impl Producer {
    pub(in crate::kafka) fn new(
        config: &ClientConfig,
        context: Context,
        topics: &[&str],
    ) -> Result<Self, LogError> {
        let client: BaseProducer<Context> =
            config.create_with_context(context).map_err(|error| classify("kafka producer", &error))?;
        let mut this = Self { topics: Vec::new(), client: Arc::new(client), is_over: Arc::default() };
        let (client, is_over) = (Arc::clone(&this.client), Arc::clone(&this.is_over));
        let serve = move || {
            while !is_over.load(Ordering::Relaxed) {
                client.poll(EVENTS_WAIT);
            }
        };
        thread::Builder::new()
            .name("kafka-events".to_owned())
            .spawn(serve)
            .map_err(|error| LogError::Broken { what: "kafka producer", cause: error.to_string() })?;
        for name in topics {
            let c_name = c_string(name)?;
            // SAFETY: client and name are alive; the handle is given back in `Drop`.
            let topic = unsafe {
                sys::rd_kafka_topic_new(this.client.client().native_ptr(), c_name.as_ptr(), ptr::null_mut())
            };
            this.topics
                .push(NonNull::new(topic).ok_or_else(|| {
                    LogError::Misconfigured(format!("{name:?} is not the name of a topic"))
                })?);
        }
        Ok(this)
    }

    pub(in crate::kafka) fn client(&self) -> &BaseProducer<Context> {
        &self.client
    }

    /// Puts a copy of the record into the client's queue; `topic` is its place in the list given to `new`.
    pub(in crate::kafka) fn send(&self, topic: usize, record: &Record<'_>) -> Result<(), Code> {
        let headers = native_headers(record.headers);
        let (key, key_len) = raw(record.key);
        let (value, value_len) = raw(record.value);
        // SAFETY: handles are alive; the arguments are pairs of a tag and the C types that the tag demands, up
        // to the end tag; key and value are copied before the call returns.
        let err = unsafe {
            sys::rd_kafka_producev(
                self.client.client().native_ptr(),
                V::RD_KAFKA_VTYPE_RKT,
                self.topics[topic].as_ptr(),
                V::RD_KAFKA_VTYPE_PARTITION,
                record.partition,
                V::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                V::RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp,
                V::RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                V::RD_KAFKA_VTYPE_VALUE,
                value,
                value_len,
                V::RD_KAFKA_VTYPE_OPAQUE,
                // A number, not an address: never followed.
                ptr::without_provenance_mut::<c_void>(record.origin.to_bits() as usize),
                V::RD_KAFKA_VTYPE_HEADERS,
                headers,
                V::RD_KAFKA_VTYPE_END,
            )
        };
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        if !headers.is_null() {
            // SAFETY: after an error the headers are still ours.
            unsafe { sys::rd_kafka_headers_destroy(headers) };
        }
        Err(code(err))
    }

    /// The same, waiting until `deadline` while the queue is full.
    pub(in crate::kafka) fn send_until(
        &self,
        topic: usize,
        record: &Record<'_>,
        deadline: Instant,
    ) -> Result<(), Code> {
        loop {
            match self.send(topic, record) {
                Err(Code::QueueFull) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1));
                }
                sent => return sent,
            }
        }
    }

    /// Sends everything at once and waits for the answers. An `Ok` says that nothing is left in the queue, not
    /// that all was delivered: a fenced producer drops what it has.
    pub(in crate::kafka) fn flush(&self, timeout: Duration) -> Result<(), Code> {
        // SAFETY: the client is alive.
        match code(unsafe { sys::rd_kafka_flush(self.client.client().native_ptr(), timeout_ms(timeout)) }) {
            Code::NoError => Ok(()),
            code => Err(code),
        }
    }
}

fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

fn native_headers(encoded: Headers<'_>) -> *mut rd_kafka_headers_t {
    if encoded.0.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: names and values are copied; a null value is a header without one.
    unsafe {
        let headers = sys::rd_kafka_headers_new(8);
        for (name, value) in encoded {
            let (value, len) = raw(value);
            sys::rd_kafka_header_add(headers, name.as_ptr().cast(), name.len() as isize, value, len as isize);
        }
        headers
    }
}
