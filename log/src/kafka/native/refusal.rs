//! Why the broker refused a record.

use rdkafka::{bindings as sys, message::BorrowedMessage};

use super::text;

/// What the broker said about a record that it refused.
pub(in crate::kafka) fn refusal_words(message: &BorrowedMessage<'_>) -> Option<String> {
    // SAFETY: the message is alive, and so are the words, which may be null, until it is given back.
    let words = unsafe { text(sys::rd_kafka_message_produce_errstr(message.ptr())) };
    (!words.is_empty()).then_some(words)
}
