//! What topics are: their ids, and which of their partitions have a leader; and where their partitions end.

use std::{collections::BTreeMap, ffi::c_char, slice, time::Duration};

use rdkafka::{
    bindings::{
        self as sys, rd_kafka_AclOperation_t as AclOperation, rd_kafka_IsolationLevel_t as Isolation,
        rd_kafka_OffsetSpec_t as OffsetSpec, rd_kafka_admin_op_t as AdminOp, rd_kafka_t,
    },
    error::RDKafkaErrorCode as Code,
};
use tidegate_core::{NextOffset, TopicId};

use super::{admin::Request, c_string, text};
use crate::{
    LogError,
    kafka::failure::{by_code, code},
};

/// A topic that was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct Described {
    pub(in crate::kafka) name: String,
    /// `None` if it exists.
    pub(in crate::kafka) error: Option<Code>,
    /// Brokers before Kafka 2.8 have none.
    pub(in crate::kafka) id: Option<TopicId>,
    /// Whether each partition has a leader.
    pub(in crate::kafka) leaders: Vec<bool>,
    /// What the client's user may do with it.
    pub(in crate::kafka) may: Permissions,
}

/// What the client's user may do with a topic; nothing unless it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) struct Permissions {
    pub(in crate::kafka) read: bool,
    pub(in crate::kafka) write: bool,
}

/// A question about topics that is under way.
pub(in crate::kafka) struct Question(Request);

impl Question {
    /// Asks about topics; this never creates one. With `permissions` the broker says what the user may do.
    ///
    /// `client` must outlive the question.
    pub(in crate::kafka) fn ask(
        client: *mut rd_kafka_t,
        names: &[&str],
        permissions: bool,
        timeout: Duration,
    ) -> Result<Self, LogError> {
        let names = names.iter().map(|name| c_string(name)).collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let request = Request::new(client, AdminOp::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout);
        // SAFETY: handles and names are alive for the calls, which copy them; the error returned is ours.
        unsafe {
            let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(
                request.options,
                i32::from(permissions),
            );
            if !error.is_null() {
                sys::rd_kafka_error_destroy(error);
            }
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_DescribeTopics(client, topics, request.options, request.queue);
            sys::rd_kafka_TopicCollection_destroy(topics);
        }
        Ok(Self(request))
    }

    /// Waits for the answer: the topics, in the order of the question.
    pub(in crate::kafka) fn answer(mut self, what: &'static str) -> Result<Vec<Described>, LogError> {
        let answer = self.0.wait(what)?;
        // SAFETY: the answer lives as long as the request, and all that is read from it too.
        unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(answer);
            let mut count = 0;
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            Ok((0..count).map(|index| described(*topics.add(index))).collect())
        }
    }
}

/// # Safety
/// `topic` is alive.
unsafe fn described(topic: *const sys::rd_kafka_TopicDescription_t) -> Described {
    // SAFETY: the caller's promise; lists are null or have `count` elements, and live as long as the topic.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        let error = (!error.is_null()).then(|| code(sys::rd_kafka_error_code(error)));
        let uuid = sys::rd_kafka_TopicDescription_topic_id(topic);
        let half = |half: i64| u128::from(half.cast_unsigned());
        let id = (!uuid.is_null())
            .then(|| {
                half(sys::rd_kafka_Uuid_most_significant_bits(uuid)) << 64
                    | half(sys::rd_kafka_Uuid_least_significant_bits(uuid))
            })
            .filter(|id| *id != 0);
        let mut count = 0;
        let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &mut count);
        let mut leaders = vec![false; count];
        for index in 0..count {
            let partition = *partitions.add(index);
            let number = sys::rd_kafka_TopicPartitionInfo_partition(partition);
            let leader = sys::rd_kafka_TopicPartitionInfo_leader(partition);
            if let Some(has_leader) = leaders.get_mut(number as usize) {
                *has_leader = !leader.is_null() && sys::rd_kafka_Node_id(leader) >= 0;
            }
        }
        let operations = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        let operations = if operations.is_null() { &[] } else { slice::from_raw_parts(operations, count) };
        let may = |wanted| operations.contains(&wanted);
        Described {
            name: text(sys::rd_kafka_TopicDescription_name(topic)),
            error: error.filter(|error| *error != Code::NoError),
            id: id.map(TopicId),
            leaders,
            may: Permissions {
                read: may(AclOperation::RD_KAFKA_ACL_OPERATION_READ),
                write: may(AclOperation::RD_KAFKA_ACL_OPERATION_WRITE),
            },
        }
    }
}

/// Where partitions end: the high watermark, or with `stable` the last stable offset. In the order of the question.
///
/// `client` must be alive.
pub(in crate::kafka) fn ends(
    client: *mut rd_kafka_t,
    partitions: &[(&str, u32)],
    stable: bool,
    timeout: Duration,
) -> Result<Vec<NextOffset>, LogError> {
    const WHAT: &str = "asking for offsets";
    let names = partitions.iter().map(|(name, _)| c_string(name)).collect::<Result<Vec<_>, _>>()?;
    let mut request = Request::new(client, AdminOp::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout);
    let isolation = if stable {
        Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED
    } else {
        Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
    };
    // SAFETY: handles and names are alive for the calls, which copy them; an error returned is ours, and so is the
    // list, which is given back at once.
    unsafe {
        let error = sys::rd_kafka_AdminOptions_set_isolation_level(request.options, isolation);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
        }
        let list = sys::rd_kafka_topic_partition_list_new(partitions.len() as i32);
        for (name, (_, partition)) in names.iter().zip(partitions) {
            let element = sys::rd_kafka_topic_partition_list_add(list, name.as_ptr(), *partition as i32);
            (*element).offset = OffsetSpec::RD_KAFKA_OFFSET_SPEC_LATEST as i64;
        }
        sys::rd_kafka_ListOffsets(client, list, request.options, request.queue);
        sys::rd_kafka_topic_partition_list_destroy(list);
    }
    let answer = request.wait(WHAT)?;
    // The answer may come in another order.
    let places: BTreeMap<(&str, u32), usize> =
        partitions.iter().enumerate().map(|(place, asked)| (*asked, place)).collect();
    let mut ends = vec![None; partitions.len()];
    // SAFETY: the answer lives as long as the request, and all that is read from it too.
    unsafe {
        let result = sys::rd_kafka_event_ListOffsets_result(answer);
        let mut count = 0;
        let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
        for index in 0..count {
            let found = &*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
            let (name, partition) = (text(found.topic), found.partition as u32);
            let code = code(found.err);
            if code != Code::NoError {
                return Err(by_code(WHAT, code, format!("partition {partition} of {name}: {code}")));
            }
            if let Some(place) = places.get(&(name.as_str(), partition)) {
                ends[*place] = Some(NextOffset(found.offset));
            }
        }
    }
    let missing = || LogError::Unavailable { what: WHAT, cause: "the answer lacks a partition".into() };
    ends.into_iter().map(|end| end.filter(|end| end.0 >= 0).ok_or_else(missing)).collect()
}

/// What the client's user may do with each topic; nothing is touched.
pub(in crate::kafka) fn permissions(
    client: *mut rd_kafka_t,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<(String, Permissions)>, LogError> {
    let described = Question::ask(client, topics, true, timeout)?.answer("asking for permissions")?;
    Ok(described.into_iter().map(|topic| (topic.name, topic.may)).collect())
}
