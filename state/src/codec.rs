//! Keys and values of the changelog, which are also the rows of the store.
//!
//! | record | key | value |
//! |---|---|---|
//! | window | `w`, rule, 0, service, 0, start (8 bytes) | version, epoch (8 bytes), body, CRC-32 (4 bytes) |
//! | owner | `owner` | the same |
//! | progress | `progress` | the same |
//!
//! The start is big endian with its sign flipped, so that the windows of a service are sorted by time. The
//! body is postcard. The CRC (IEEE, big endian) covers everything before it. A record without a value
//! deletes its key.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_core::{
    Epoch, NextOffset, PartitionId, TimestampMs, TopicId,
    window::{Evidence, WindowKey, WindowState},
};

/// Key of the record that names the process that owns the transactional id.
pub const OWNER_KEY: &[u8] = b"owner";

/// Key of the record that says what the last committed epoch had read.
pub const PROGRESS_KEY: &[u8] = b"progress";

/// Longest key accepted, in bytes. A service has at most 256 bytes, a rule's name far fewer than the rest.
pub const MAX_KEY_LEN: usize = 1024;

const WINDOW_KIND: u8 = b'w';
const FORMAT_VERSION: u8 = 1;
const START_LEN: usize = 8;
const HEAD_LEN: usize = 1 + 8;
const CRC_LEN: usize = 4;
const SIGN_BIT: u64 = 1 << 63;

/// Why bytes are not a record of the changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The key is of no known kind, too long, or not well-formed.
    #[error("the key is not one of a state record")]
    Key,
    /// Written by another, probably newer, version of the format.
    #[error("the state record has format version {0}, this build reads version {FORMAT_VERSION}")]
    Version(u8),
    /// The checksum does not fit the bytes.
    #[error("the state record's checksum does not fit")]
    Checksum,
    /// The checksum fits, but the body is not what the version says.
    #[error("the state record's body cannot be read")]
    Body,
}

/// Which process owns the transactional id: the first epoch of every process writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerRecord {
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// Drawn at random by the process.
    pub nonce: u64,
    /// When the process started.
    pub started_at_ms: TimestampMs,
}

/// What an epoch had read, and how far event time had come: the same as is committed with the input offsets, in case
/// those are lost. Every committed epoch writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressRecord {
    /// The epoch.
    pub epoch: Epoch,
    /// Nonce of the process that committed it.
    pub owner: u64,
    /// Of each input partition the next offset to read, and the highest timestamp of its events.
    pub partitions: Vec<(NextOffset, Option<TimestampMs>)>,
    /// Watermark of the pipeline.
    pub watermark: Option<TimestampMs>,
    /// Id of the input topic.
    pub input: Option<TopicId>,
    /// Id of the state topic.
    pub state: Option<TopicId>,
}

/// A record with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// An open window, and the epoch that changed it last.
    Window(WindowKey, Epoch, WindowState),
    /// The owner.
    Owner(OwnerRecord),
    /// What was read.
    Progress(ProgressRecord),
}

impl Row {
    /// The epoch that wrote the record.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Window(_, epoch, _) => *epoch,
            Self::Owner(owner) => owner.epoch,
            Self::Progress(progress) => progress.epoch,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StateBody<'a> {
    window_ms: i64,
    count: u64,
    first_event_at: i64,
    last_event_at: i64,
    crossed: bool,
    #[serde(borrow)]
    evidence: Vec<EvidenceBody<'a>>,
}

#[derive(Serialize, Deserialize)]
struct EvidenceBody<'a> {
    partition: u32,
    offset: i64,
    user_id: Option<&'a str>,
    timestamp: i64,
}

#[derive(Serialize, Deserialize)]
struct OwnerBody {
    nonce: u64,
    started_at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct ProgressBody {
    owner: u64,
    partitions: Vec<(i64, Option<i64>)>,
    watermark: Option<i64>,
    input: Option<u128>,
    state: Option<u128>,
}

/// Writes the key of a window to the end of `out`. The rule's name holds no NUL.
pub fn encode_key(key: &WindowKey, out: &mut Vec<u8>) {
    out.reserve(key.rule.len() + key.service.len() + START_LEN + 3);
    out.push(WINDOW_KIND);
    out.extend_from_slice(key.rule.as_bytes());
    out.push(0);
    out.extend_from_slice(key.service.as_bytes());
    out.push(0);
    out.extend_from_slice(&(key.start.0.cast_unsigned() ^ SIGN_BIT).to_be_bytes());
}

/// Writes the value of a window, as changed by `epoch`, to the end of `out`.
pub fn encode_value(epoch: Epoch, state: &WindowState, out: &mut Vec<u8>) {
    let evidence = state.evidence.iter().map(|seen| EvidenceBody {
        partition: seen.partition.0,
        offset: seen.offset,
        user_id: seen.user_id.as_deref(),
        timestamp: seen.timestamp.0,
    });
    let body = StateBody {
        window_ms: state.window_ms,
        count: state.count,
        first_event_at: state.first_event_at.0,
        last_event_at: state.last_event_at.0,
        crossed: state.crossed,
        evidence: evidence.collect(),
    };
    seal(epoch, &body, out);
}

/// Writes the value of the owner record to the end of `out`; its key is [`OWNER_KEY`].
pub fn encode_owner(owner: &OwnerRecord, out: &mut Vec<u8>) {
    seal(owner.epoch, &OwnerBody { nonce: owner.nonce, started_at_ms: owner.started_at_ms.0 }, out);
}

/// Writes the value of the progress record to the end of `out`; its key is [`PROGRESS_KEY`].
pub fn encode_progress(progress: &ProgressRecord, out: &mut Vec<u8>) {
    let partitions = progress.partitions.iter();
    let body = ProgressBody {
        owner: progress.owner,
        partitions: partitions.map(|(next, highest)| (next.0, highest.map(|time| time.0))).collect(),
        watermark: progress.watermark.map(|time| time.0),
        input: progress.input.map(|id| id.0),
        state: progress.state.map(|id| id.0),
    };
    seal(progress.epoch, &body, out);
}

/// The epoch that a progress record says is committed; `None` for any other record.
#[must_use]
pub fn committed_epoch(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Epoch> {
    let value = value.filter(|_| key == Some(PROGRESS_KEY))?;
    Some(unseal::<ProgressBody>(value).ok()?.0)
}

/// Reads the key of a window.
///
/// # Errors
/// [`CodecError::Key`].
pub fn decode_key(key: &[u8]) -> Result<WindowKey, CodecError> {
    let names = key
        .strip_prefix(&[WINDOW_KIND])
        .filter(|_| key.len() <= MAX_KEY_LEN)
        .and_then(|rest| rest.split_last_chunk::<START_LEN>());
    let (names, start) = names.ok_or(CodecError::Key)?;
    let names = std::str::from_utf8(names).map_err(|_| CodecError::Key)?;
    let (rule, service) =
        names.strip_suffix('\0').and_then(|names| names.split_once('\0')).ok_or(CodecError::Key)?;
    Ok(WindowKey {
        rule: Arc::from(rule),
        service: Arc::from(service),
        start: TimestampMs((u64::from_be_bytes(*start) ^ SIGN_BIT).cast_signed()),
    })
}

/// Reads the value of a window.
///
/// # Errors
/// All but [`CodecError::Key`].
pub fn decode_value(value: &[u8]) -> Result<(Epoch, WindowState), CodecError> {
    let (epoch, body) = unseal::<StateBody<'_>>(value)?;
    let evidence = body.evidence.into_iter().map(|seen| Evidence {
        partition: PartitionId(seen.partition),
        offset: seen.offset,
        user_id: seen.user_id.map(Box::from),
        timestamp: TimestampMs(seen.timestamp),
    });
    let state = WindowState {
        window_ms: body.window_ms,
        count: body.count,
        first_event_at: TimestampMs(body.first_event_at),
        last_event_at: TimestampMs(body.last_event_at),
        crossed: body.crossed,
        evidence: evidence.collect(),
    };
    Ok((epoch, state))
}

/// Reads a record of the changelog that has a value.
///
/// # Errors
/// If the bytes are not such a record; any bytes at all may be given.
pub fn decode(key: &[u8], value: &[u8]) -> Result<Row, CodecError> {
    if key == OWNER_KEY {
        let (epoch, body) = unseal::<OwnerBody>(value)?;
        let started_at_ms = TimestampMs(body.started_at_ms);
        return Ok(Row::Owner(OwnerRecord { epoch, nonce: body.nonce, started_at_ms }));
    }
    if key == PROGRESS_KEY {
        let (epoch, body) = unseal::<ProgressBody>(value)?;
        let partitions = body.partitions.into_iter();
        return Ok(Row::Progress(ProgressRecord {
            epoch,
            owner: body.owner,
            partitions: partitions.map(|(next, time)| (NextOffset(next), time.map(TimestampMs))).collect(),
            watermark: body.watermark.map(TimestampMs),
            input: body.input.map(TopicId),
            state: body.state.map(TopicId),
        }));
    }
    let key = decode_key(key)?;
    let (epoch, state) = decode_value(value)?;
    Ok(Row::Window(key, epoch, state))
}

/// Whether a changelog record may have this key: what a deletion, which has no value, is checked by.
///
/// # Errors
/// [`CodecError::Key`].
pub(crate) fn check_key(key: &[u8]) -> Result<(), CodecError> {
    if key == OWNER_KEY || key == PROGRESS_KEY { Ok(()) } else { decode_key(key).map(drop) }
}

/// The envelope of all values: version, epoch, body, CRC.
pub(crate) fn seal(epoch: Epoch, body: &impl Serialize, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(FORMAT_VERSION);
    out.extend_from_slice(&epoch.0.to_be_bytes());
    let body = postcard::to_allocvec(body).expect("writing a plain struct to memory cannot fail");
    out.extend_from_slice(&body);
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
}

/// Opens the envelope; the body must fill it.
pub(crate) fn unseal<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<(Epoch, T), CodecError> {
    // The version first: another one may seal differently.
    match value.first() {
        Some(&FORMAT_VERSION) => {}
        Some(&version) => return Err(CodecError::Version(version)),
        None => return Err(CodecError::Checksum),
    }
    let (sealed, crc) = value.split_last_chunk::<CRC_LEN>().ok_or(CodecError::Checksum)?;
    if crc32fast::hash(sealed) != u32::from_be_bytes(*crc) {
        return Err(CodecError::Checksum);
    }
    let (head, body) = sealed.split_first_chunk::<HEAD_LEN>().ok_or(CodecError::Body)?;
    let [_, epoch @ ..] = *head;
    match postcard::take_from_bytes::<T>(body) {
        Ok((decoded, [])) => Ok((Epoch(u64::from_be_bytes(epoch)), decoded)),
        _ => Err(CodecError::Body),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn evidence()(
            partition: u32,
            offset: i64,
            user_id in proptest::option::of(".{0,40}"),
            timestamp: i64,
        ) -> Evidence {
            let user_id = user_id.map(String::into_boxed_str);
            Evidence { partition: PartitionId(partition), offset, user_id, timestamp: TimestampMs(timestamp) }
        }
    }

    prop_compose! {
        fn state()(
            window_ms: i64,
            count: u64,
            first: i64,
            last: i64,
            crossed: bool,
            evidence in proptest::collection::vec(evidence(), 0..6),
        ) -> WindowState {
            let (first_event_at, last_event_at) = (TimestampMs(first), TimestampMs(last));
            WindowState { window_ms, count, first_event_at, last_event_at, crossed, evidence }
        }
    }

    prop_compose! {
        fn key()(rule in "[a-z0-9-]{1,60}", service in "\\PC{0,60}|[\\x00a]{0,4}", start: i64) -> WindowKey {
            WindowKey { rule: rule.into(), service: service.into(), start: TimestampMs(start) }
        }
    }

    fn encoded(key: &WindowKey, epoch: Epoch, state: &WindowState) -> (Vec<u8>, Vec<u8>) {
        let (mut raw_key, mut value) = (Vec::new(), Vec::new());
        encode_key(key, &mut raw_key);
        encode_value(epoch, state, &mut value);
        (raw_key, value)
    }

    proptest! {
        #[test]
        fn a_window_is_read_back_as_written(key in key(), epoch: u64, state in state()) {
            let (raw_key, value) = encoded(&key, Epoch(epoch), &state);
            prop_assert_eq!(decode(&raw_key, &value), Ok(Row::Window(key, Epoch(epoch), state)));
        }

        #[test]
        fn keys_of_a_service_are_sorted_by_start(key in key(), other_start: i64) {
            let other = WindowKey { start: TimestampMs(other_start), ..key.clone() };
            let (mut a, mut b) = (Vec::new(), Vec::new());
            encode_key(&key, &mut a);
            encode_key(&other, &mut b);
            prop_assert_eq!(a.cmp(&b), key.start.cmp(&other.start));
        }

        #[test]
        fn any_bytes_at_all_are_read_or_refused(
            kind in "w|owner|",
            key in proptest::collection::vec(any::<u8>(), 0..40),
            value in proptest::collection::vec(any::<u8>(), 0..80),
            seal_it: bool,
        ) {
            let key = [kind.as_bytes(), &key].concat();
            let mut value = [&[FORMAT_VERSION], value.as_slice()].concat();
            if seal_it {
                let crc = crc32fast::hash(&value);
                value.extend_from_slice(&crc.to_be_bytes());
            }
            let _ = decode(&key, &value);
            let _ = decode(OWNER_KEY, &value);
            let _ = decode(PROGRESS_KEY, &value);
        }

        #[test]
        fn a_flipped_bit_is_noticed(key in key(), state in state(), bit: proptest::sample::Index) {
            let (raw_key, mut value) = encoded(&key, Epoch(7), &state);
            let bit = bit.index(value.len() * 8);
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&raw_key, &value).is_err());
        }
    }

    #[test]
    fn a_progress_record_is_read_back_and_names_its_epoch() {
        let progress = ProgressRecord {
            epoch: Epoch(3),
            owner: 7,
            partitions: vec![(NextOffset(5), Some(TimestampMs(9))), (NextOffset(0), None)],
            watermark: Some(TimestampMs(-1)),
            input: Some(TopicId(u128::MAX)),
            state: None,
        };
        let mut value = Vec::new();
        encode_progress(&progress, &mut value);
        assert_eq!(decode(PROGRESS_KEY, &value), Ok(Row::Progress(progress)));
        assert_eq!(committed_epoch(Some(PROGRESS_KEY), Some(&value)), Some(Epoch(3)));
        assert_eq!(committed_epoch(Some(OWNER_KEY), Some(&value)), None);
        assert_eq!(committed_epoch(Some(PROGRESS_KEY), None), None);
    }

    #[test]
    fn an_owner_is_read_back_and_an_unknown_version_is_its_own_error() {
        let owner = OwnerRecord { epoch: Epoch(3), nonce: u64::MAX, started_at_ms: TimestampMs(5) };
        let mut value = Vec::new();
        encode_owner(&owner, &mut value);
        assert_eq!(decode(OWNER_KEY, &value), Ok(Row::Owner(owner)));
        value[0] = 9;
        assert_eq!(decode(OWNER_KEY, &value), Err(CodecError::Version(9)));
        assert_eq!(decode(b"window", &value), Err(CodecError::Key));
    }
}
