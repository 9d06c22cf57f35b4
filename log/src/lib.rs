//! A partitioned log with atomic epochs.
//!
//! The contract that the pipeline is built on: partitions of records with offsets; **one** fenced writer; an
//! epoch's records and input offsets become visible together or never; what was committed last can be read
//! back after fencing. [`kafka`] keeps it with transactions; [`embedded`] with a log of its own in a directory.
//!
//! All calls block. They belong on threads of their own, never on an async worker.

mod contract;
pub mod embedded;
mod error;
mod group;
pub mod kafka;
mod marked;
mod reading;
mod topics;

pub use contract::{
    Appender, ChangelogRecord, CommitOutcome, CommitPhases, CommittedOffset, EpochWriter, InputProgress, Log,
};
pub use error::{LogError, Refused};
pub use group::{GroupEvent, GroupReader};
pub use marked::{Mark, MarkedWriter};
pub use reading::{Health, RecordReader, RecordRef, RecordSink};
pub use tidegate_core::{
    record::{
        ByteRange, HEADER_LENGTHS_BYTES, HeaderIter, Headers, Origin, OutputBatch, OutputRecord, RecordBatch,
        RecordMeta, Topic, TopicFacts, TopicsFacts, push_header,
    },
    recovery::OffsetRange,
};
pub use topics::{Applied, Drift, TopicSpec};
