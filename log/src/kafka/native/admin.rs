//! Requests of the admin protocol that the safe wrapper lacks.

use std::{ptr, time::Duration};

use rdkafka::{
    admin::AdminClient,
    bindings::{
        self as sys, rd_kafka_AlterConfigOpType_t as AlterOp, rd_kafka_ResourceType_t as ResourceType,
        rd_kafka_admin_op_t as AdminOp, rd_kafka_queue_t, rd_kafka_t,
    },
    error::RDKafkaErrorCode as Code,
};

use super::{c_string, text, timeout_ms};
use crate::{
    LogError,
    kafka::{
        failure::{by_code, code},
        health::Context,
    },
};

/// A request of the admin protocol: options, a queue for the answer, and the answer.
pub(super) struct Request {
    pub(super) options: *mut sys::rd_kafka_AdminOptions_t,
    pub(super) queue: *mut rd_kafka_queue_t,
    answer: *mut sys::rd_kafka_event_t,
}

impl Request {
    pub(super) fn new(client: *mut rd_kafka_t, kind: AdminOp, timeout: Duration) -> Self {
        // SAFETY: the client outlives the request, which is a local of the functions below; a time-out that is
        // refused leaves the default.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client, kind);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms(timeout), ptr::null_mut(), 0);
            Self { options, queue: sys::rd_kafka_queue_new(client), answer: ptr::null_mut() }
        }
    }

    /// Waits for the answer; librdkafka always sends one, a time-out at the latest.
    pub(super) fn wait(&mut self, what: &'static str) -> Result<*mut sys::rd_kafka_event_t, LogError> {
        // SAFETY: queue and answer are ours; the error's text lives as long as the answer.
        unsafe {
            self.answer = sys::rd_kafka_queue_poll(self.queue, -1);
            match code(sys::rd_kafka_event_error(self.answer)) {
                Code::NoError => Ok(self.answer),
                code => Err(by_code(what, code, text(sys::rd_kafka_event_error_string(self.answer)))),
            }
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: all three are ours and given back once.
        unsafe {
            if !self.answer.is_null() {
                sys::rd_kafka_event_destroy(self.answer);
            }
            sys::rd_kafka_queue_destroy(self.queue);
            sys::rd_kafka_AdminOptions_destroy(self.options);
        }
    }
}

/// Sets configuration entries of a topic and leaves all others as they are.
pub(in crate::kafka) fn set_topic_config(
    admin: &AdminClient<Context>,
    topic: &str,
    entries: &[(&str, &str)],
    timeout: Duration,
) -> Result<(), LogError> {
    const WHAT: &str = "changing a topic's configuration";
    let client = admin.inner().native_ptr();
    let topic = c_string(topic)?;
    let mut request = Request::new(client, AdminOp::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS, timeout);
    // SAFETY: client and strings are alive; librdkafka copies the strings and, when it is called, the resource.
    let mut resource =
        unsafe { sys::rd_kafka_ConfigResource_new(ResourceType::RD_KAFKA_RESOURCE_TOPIC, topic.as_ptr()) };
    let mut refused = None;
    for (name, value) in entries {
        let (name, value) = (c_string(name)?, c_string(value)?);
        // SAFETY: as above; an error returned is ours.
        unsafe {
            let error = sys::rd_kafka_ConfigResource_add_incremental_config(
                resource,
                name.as_ptr(),
                AlterOp::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
                value.as_ptr(),
            );
            if !error.is_null() {
                refused = Some(text(sys::rd_kafka_error_string(error)));
                sys::rd_kafka_error_destroy(error);
            }
        }
    }
    if refused.is_none() {
        // SAFETY: all handles are alive.
        unsafe {
            sys::rd_kafka_IncrementalAlterConfigs(client, &mut resource, 1, request.options, request.queue);
        }
    }
    // SAFETY: the resource is ours and not used again.
    unsafe { sys::rd_kafka_ConfigResource_destroy(resource) };
    if let Some(cause) = refused {
        return Err(LogError::Broken { what: WHAT, cause });
    }
    let answer = request.wait(WHAT)?;
    // SAFETY: the answer lives as long as the request, and so do the resources it has.
    unsafe {
        let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(answer);
        let mut count = 0;
        let resources = sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &mut count);
        for index in 0..count {
            let resource = *resources.add(index);
            let code = code(sys::rd_kafka_ConfigResource_error(resource));
            if code != Code::NoError {
                return Err(by_code(WHAT, code, text(sys::rd_kafka_ConfigResource_error_string(resource))));
            }
        }
    }
    Ok(())
}
