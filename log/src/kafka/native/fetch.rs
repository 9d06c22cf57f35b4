//! Reading records in bulk.

use std::{
    ffi::{CStr, CString},
    ptr::{self, NonNull},
    time::Duration,
};

use rdkafka::{
    TopicPartitionList,
    bindings::{self as sys, rd_kafka_headers_t, rd_kafka_message_t, rd_kafka_queue_t},
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode as Code,
    types::RDKafkaRespErr,
};

use super::{bytes, c_string, text, timeout_ms};
use crate::{
    LogError,
    kafka::{failure::code, health::Context},
    push_header,
};

/// What a fetch brings.
pub(in crate::kafka) enum Fetched<'a> {
    /// A record.
    Record {
        partition: u32,
        offset: i64,
        timestamp: i64,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        headers: RawHeaders<'a>,
    },
    /// A partition was read to its end: `offset` is the one past it.
    EndOfPartition { partition: u32, offset: i64 },
    /// An error of one partition.
    Error { partition: i32, offset: i64, code: Code, cause: String },
}

/// The headers of a message that was read.
#[derive(Clone, Copy)]
pub(in crate::kafka) struct RawHeaders<'a>(&'a rd_kafka_message_t);

impl RawHeaders<'_> {
    /// Appends them to `arena`, encoded. The names are what precedes a zero byte: librdkafka tells no length.
    pub(in crate::kafka) fn write(self, arena: &mut Vec<u8>) {
        let mut headers: *mut rd_kafka_headers_t = ptr::null_mut();
        // SAFETY: the message is alive, and what is returned belongs to it.
        if unsafe { sys::rd_kafka_message_headers(self.0, &mut headers) }
            != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: `headers` is alive with its message; the call writes the three only when it returns no error.
            let found =
                unsafe { sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) };
            if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            // SAFETY: names are zero-terminated, values have `size` bytes, both live as long as the message.
            unsafe { push_header(arena, CStr::from_ptr(name).to_bytes(), bytes(value, size)) };
        }
    }
}

/// Messages taken from a queue; each keeps its partition alive, and a client that is dropped before all of them
/// hangs for ever: so they are given back even when the caller's code panics.
struct Messages(Vec<*mut rd_kafka_message_t>);

impl Messages {
    fn clear(&mut self) {
        for message in self.0.drain(..) {
            // SAFETY: each message was handed to us by the queue and is given back once.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A consumer whose partitions all deliver into one queue of their own, which carries nothing but records, ends
/// of partitions and errors of partitions. The consumer's main queue keeps logs, statistics and global errors.
pub(in crate::kafka) struct FetchQueue {
    queue: NonNull<rd_kafka_queue_t>,
    batch: Messages,
    topic: CString,
    // Dropped last, see `Drop`.
    consumer: BaseConsumer<Context>,
}

// SAFETY: librdkafka's handles may be used from any thread; the raw pointers here are such handles.
unsafe impl Send for FetchQueue {}

impl Drop for FetchQueue {
    fn drop(&mut self) {
        self.batch.clear();
        // SAFETY: the queue is ours, and it goes before the client: what it still holds keeps partitions alive.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl FetchQueue {
    /// Must be called before the partitions are assigned: records fetched earlier stay in the main queue.
    pub(in crate::kafka) fn new(
        consumer: BaseConsumer<Context>,
        topic: &str,
        partitions: impl Iterator<Item = u32>,
    ) -> Result<Self, LogError> {
        let topic = c_string(topic)?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive; the queue is destroyed in `Drop`.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(client) });
        let queue = queue.ok_or(LogError::Broken { what: "kafka reader", cause: "no queue".into() })?;
        let this = Self { queue, batch: Messages(Vec::new()), topic, consumer };
        for partition in partitions {
            this.forward(partition)?;
        }
        Ok(this)
    }

    /// Has one more partition deliver into the queue. Must be called before it is assigned.
    pub(in crate::kafka) fn forward(&self, partition: u32) -> Result<(), LogError> {
        let client = self.consumer.client().native_ptr();
        // SAFETY: client, topic and queue are alive; the partition's handle is given back at once, which
        // does not undo the forwarding.
        unsafe {
            let source = sys::rd_kafka_queue_get_partition(client, self.topic.as_ptr(), partition as i32);
            if source.is_null() {
                let cause = format!("no partition {partition}");
                return Err(LogError::Broken { what: "kafka reader", cause });
            }
            sys::rd_kafka_queue_forward(source, self.queue.as_ptr());
            sys::rd_kafka_queue_destroy(source);
        }
        Ok(())
    }

    pub(in crate::kafka) fn consumer(&self) -> &BaseConsumer<Context> {
        &self.consumer
    }

    /// Waits up to `timeout` for something and hands up to `max` of what is there to `each`.
    pub(in crate::kafka) fn fetch(
        &mut self,
        timeout: Duration,
        max: usize,
        each: &mut dyn FnMut(Fetched<'_>),
    ) -> usize {
        if max == 0 {
            return 0;
        }
        self.take(timeout, max);
        let count = self.batch.0.len();
        for &message in &self.batch.0 {
            // SAFETY: the message is ours until the batch is cleared, and nothing changes it.
            each(unsafe { fetched(&*message) });
        }
        self.batch.clear();
        count
    }

    /// Fills the batch. The batch call always waits its whole time-out unless it is full, so the wait is for one
    /// record, and the rest is what has gathered behind it.
    fn take(&mut self, timeout: Duration, max: usize) {
        self.batch.clear();
        self.batch.0.reserve(max);
        // SAFETY: the queue is alive; a message returned is ours.
        let first = unsafe { sys::rd_kafka_consume_queue(self.queue.as_ptr(), timeout_ms(timeout)) };
        if first.is_null() {
            return;
        }
        self.batch.0.push(first);
        let room = max - 1;
        // SAFETY: `reserve` made room for `max` pointers of which one is used; the call writes as many pointers
        // as it returns, each to a message that is ours, and -1 for an error, with nothing written.
        unsafe {
            let spare = self.batch.0.as_mut_ptr().add(1);
            let count = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, spare, room);
            self.batch.0.set_len(1 + usize::try_from(count).unwrap_or(0));
        }
    }

    /// The high watermark that the last fetch of a partition told.
    pub(in crate::kafka) fn high_watermark(&self, partition: u32) -> Option<i64> {
        let (mut low, mut high) = (-1, -1);
        let client = self.consumer.client().native_ptr();
        // SAFETY: client and topic are alive; the call writes the two numbers.
        let err = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                client,
                self.topic.as_ptr(),
                partition as i32,
                &mut low,
                &mut high,
            )
        };
        // negative: nothing was fetched yet.
        (err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

/// # Safety
/// The message's pointers are null or point to as many bytes as it says, as librdkafka makes them.
unsafe fn fetched(message: &rd_kafka_message_t) -> Fetched<'_> {
    match code(message.err) {
        Code::NoError => {
            let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            Fetched::Record {
                partition: message.partition as u32,
                offset: message.offset,
                // SAFETY: the message is alive; the call writes `kind`.
                timestamp: unsafe { sys::rd_kafka_message_timestamp(message, &mut kind) },
                // SAFETY: the caller's promise.
                key: unsafe { bytes(message.key, message.key_len) },
                // SAFETY: the caller's promise.
                value: unsafe { bytes(message.payload, message.len) },
                headers: RawHeaders(message),
            }
        }
        Code::PartitionEOF => {
            Fetched::EndOfPartition { partition: message.partition as u32, offset: message.offset }
        }
        code => Fetched::Error {
            partition: message.partition,
            offset: message.offset,
            code,
            // SAFETY: the message is alive; the text belongs to it or to librdkafka.
            cause: unsafe { text(sys::rd_kafka_message_errstr(message)) },
        },
    }
}

/// The offset and metadata of each element of a list; the safe wrapper panics on metadata that is not UTF-8.
pub(in crate::kafka) fn committed(list: &TopicPartitionList) -> Vec<(i32, i64, Vec<u8>, Code)> {
    // SAFETY: the list is alive and has `cnt` elements; metadata is null or has the size it says.
    unsafe {
        let native = &*list.ptr();
        (0..native.cnt as usize)
            .map(|index| {
                let element = &*native.elems.add(index);
                let metadata = bytes(element.metadata, element.metadata_size).unwrap_or_default();
                (element.partition, element.offset, metadata.to_vec(), code(element.err))
            })
            .collect()
    }
}
