//! The three native calls that make a loop by hand fast: reading many records with one call, writing through a
//! topic's handle, and a flush that waits instead of asking in steps.
//!
//! `rd_kafka_produce_batch` would be a little cheaper still, but it stamps records with the present time, and
//! the output has to carry the input's timestamps. The product's own code for this is not used: what is compared
//! must not rest on what it is compared with.
#![allow(unsafe_code)]

use std::{
    ffi::{CString, c_void},
    ptr::{self, NonNull},
    slice,
    time::Duration,
};

use rdkafka::{
    bindings::{self as sys, rd_kafka_message_t, rd_kafka_queue_t, rd_kafka_topic_t, rd_kafka_vtype_t as V},
    consumer::{BaseConsumer, Consumer as _},
    error::RDKafkaErrorCode as Code,
    producer::{DefaultProducerContext, Producer as _, ThreadedProducer},
    types::RDKafkaRespErr,
};

use crate::Error;

/// Records taken with one call.
const FETCH_RECORDS: usize = 2000;
/// How long one call waits for the first of them.
const FETCH_WAIT_MS: i32 = 5;

/// One record, as it is read and written. Headers are not carried: the sample traffic has none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) partition: i32,
    /// Where it was read; means nothing to a writer.
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

/// A consumer whose partitions all deliver into one queue.
pub(crate) struct Input {
    queue: NonNull<rd_kafka_queue_t>,
    /// Messages that were taken and not given back yet.
    messages: Vec<*mut rd_kafka_message_t>,
    consumer: BaseConsumer,
}

// SAFETY: librdkafka's handles may be used from any thread; the raw pointers here are such handles.
unsafe impl Send for Input {}

impl Drop for Input {
    fn drop(&mut self) {
        self.give_back();
        // SAFETY: the queue is ours, and it goes before its client.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl Input {
    /// To be called before the partitions are assigned.
    pub(crate) fn new(consumer: BaseConsumer, topic: &str, partitions: i32) -> Result<Self, Error> {
        let topic = CString::new(topic)?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive; the queue is destroyed in `Drop`.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(client) }).ok_or("no queue")?;
        let input = Self { queue, messages: Vec::with_capacity(FETCH_RECORDS), consumer };
        for partition in 0..partitions {
            // SAFETY: all handles are alive; giving the partition's back does not undo the forwarding.
            unsafe {
                let source = sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
                if source.is_null() {
                    return Err(format!("no partition {partition}").into());
                }
                sys::rd_kafka_queue_forward(source, input.queue.as_ptr());
                sys::rd_kafka_queue_destroy(source);
            }
        }
        Ok(input)
    }

    pub(crate) fn consumer(&self) -> &BaseConsumer {
        &self.consumer
    }

    /// Waits a moment for records and hands what is there to `each`.
    pub(crate) fn fetch(
        &mut self,
        mut each: impl FnMut(Record<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.take();
        for &message in &self.messages {
            // SAFETY: the message is ours until it is given back, and nothing changes it.
            let message = unsafe { &*message };
            match Code::from(message.err) {
                // SAFETY: key and value are null or have the lengths given, and live as long as the message.
                Code::NoError => each(unsafe { record(message) })?,
                code => return Err(format!("reading partition {}: {code}", message.partition).into()),
            }
        }
        self.give_back();
        Ok(())
    }

    /// The batch call waits its whole time-out unless it is full: so the wait is for one record, and the rest is
    /// what has gathered behind it.
    fn take(&mut self) {
        self.give_back();
        // SAFETY: the queue is alive; a message returned is ours.
        let first = unsafe { sys::rd_kafka_consume_queue(self.queue.as_ptr(), FETCH_WAIT_MS) };
        if first.is_null() {
            // Nothing to read is the time to hear of errors of the client.
            let _ = self.consumer.poll(Duration::ZERO);
            return;
        }
        self.messages.reserve(FETCH_RECORDS);
        self.messages.push(first);
        // SAFETY: there is room for `FETCH_RECORDS` pointers of which one is used; the call writes as many as it
        // returns, each to a message that is ours, and -1 for an error, with nothing written.
        unsafe {
            let spare = self.messages.as_mut_ptr().add(1);
            let count = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, spare, FETCH_RECORDS - 1);
            self.messages.set_len(1 + usize::try_from(count).unwrap_or(0));
        }
    }

    fn give_back(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: each message was handed to us by the queue and is given back once.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }
}

/// # Safety
/// The message's pointers are null or point to as many bytes as it says, as librdkafka makes them.
unsafe fn record(message: &rd_kafka_message_t) -> Record<'_> {
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    Record {
        partition: message.partition,
        offset: message.offset,
        // SAFETY: the message is alive; the call writes `kind`.
        timestamp: unsafe { sys::rd_kafka_message_timestamp(message, &mut kind) },
        // SAFETY: the caller's promise.
        key: unsafe { bytes(message.key, message.key_len) },
        // SAFETY: the caller's promise.
        value: unsafe { bytes(message.payload, message.len) },
    }
}

/// # Safety
/// `data` is null or points to `len` bytes that stay unchanged for `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!data.is_null()).then(|| unsafe { slice::from_raw_parts(data.cast(), len) })
}

/// A producer with the handles of its topics.
pub(crate) struct Output {
    topics: Vec<NonNull<rd_kafka_topic_t>>,
    // After the topics, see `Drop`.
    producer: ThreadedProducer<DefaultProducerContext>,
}

// SAFETY: librdkafka's handles may be used from any thread; the raw pointers here are such handles.
unsafe impl Send for Output {}

impl Drop for Output {
    fn drop(&mut self) {
        for topic in self.topics.drain(..) {
            // SAFETY: each handle was made by `new` and is given back once, before its client.
            unsafe { sys::rd_kafka_topic_destroy(topic.as_ptr()) };
        }
    }
}

impl Output {
    pub(crate) fn new(
        producer: ThreadedProducer<DefaultProducerContext>,
        topics: &[&str],
    ) -> Result<Self, Error> {
        let mut output = Self { topics: Vec::new(), producer };
        for name in topics {
            let name = CString::new(*name)?;
            let client = output.producer.client().native_ptr();
            // SAFETY: client and name are alive; the handle is given back in `Drop`.
            let topic = unsafe { sys::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
            output.topics.push(NonNull::new(topic).ok_or("no topic handle")?);
        }
        Ok(output)
    }

    pub(crate) fn producer(&self) -> &ThreadedProducer<DefaultProducerContext> {
        &self.producer
    }

    /// Queues a copy of the record for the topic at this place of the list given to `new`; waits while the
    /// queue is full.
    pub(crate) fn send(&self, topic: usize, record: &Record<'_>) -> Result<(), Error> {
        let raw = |bytes: Option<&[u8]>| -> (*mut c_void, usize) {
            bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
        };
        let (key, key_len) = raw(record.key);
        let (value, value_len) = raw(record.value);
        // SAFETY: handles are alive; the arguments are pairs of a tag and the C types that the tag demands, up
        // to the end tag; key and value are copied before the call returns.
        let code = unsafe {
            sys::rd_kafka_producev(
                self.producer.client().native_ptr(),
                V::RD_KAFKA_VTYPE_RKT,
                self.topics[topic].as_ptr(),
                V::RD_KAFKA_VTYPE_PARTITION,
                record.partition,
                V::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY | sys::RD_KAFKA_MSG_F_BLOCK,
                V::RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp,
                V::RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                V::RD_KAFKA_VTYPE_VALUE,
                value,
                value_len,
                V::RD_KAFKA_VTYPE_END,
            )
        };
        sorted("writing", code)
    }

    /// Sends what is queued and waits for the answers.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), Error> {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client is alive.
        sorted("flushing", unsafe { sys::rd_kafka_flush(self.producer.client().native_ptr(), timeout_ms) })
    }
}

fn sorted(what: &str, code: RDKafkaRespErr) -> Result<(), Error> {
    match Code::from(code) {
        Code::NoError => Ok(()),
        code => Err(format!("{what}: {code}").into()),
    }
}
