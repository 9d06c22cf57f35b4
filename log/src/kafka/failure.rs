//! librdkafka's errors, sorted by what a caller can do about them.

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode as Code},
    types::RDKafkaRespErr,
};

use crate::LogError;

/// Sorts an error of a call.
pub(super) fn classify(what: &'static str, error: &KafkaError) -> LogError {
    match error {
        // The value is left out: it may be a secret.
        KafkaError::ClientConfig(_, reason, name, _) => {
            LogError::Misconfigured(format!("kafka.properties: `{name}`: {reason}"))
        }
        KafkaError::ClientCreation(reason) => LogError::Misconfigured(format!("kafka client: {reason}")),
        KafkaError::Transaction(error) => {
            let sorted = by_code(what, error.code(), error.string());
            match sorted {
                LogError::Unavailable { what, cause } if error.is_fatal() || error.txn_requires_abort() => {
                    LogError::Broken { what, cause }
                }
                sorted => sorted,
            }
        }
        error => match error.rdkafka_error_code() {
            Some(code) => by_code(what, code, code.to_string()),
            None => LogError::Broken { what, cause: error.to_string() },
        },
    }
}

/// Sorts an error code.
pub(super) fn by_code(what: &'static str, code: Code, cause: String) -> LogError {
    match code {
        // librdkafka reports a transaction that timed out at the broker in the same way as a take-over.
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => LogError::Fenced(cause),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::UnsupportedSASLMechanism => LogError::NotPermitted { what, cause },
        Code::InvalidTransactionTimeout => LogError::Misconfigured(format!(
            "{what}: {cause}: `transaction.timeout.ms` is above the broker's `transaction.max.timeout.ms`"
        )),
        _ if is_passing(code) => LogError::Unavailable { what, cause },
        _ => LogError::Broken { what, cause },
    }
}

/// Whether a code speaks of a broker that is away, moving or slow: the client goes on trying by itself.
pub(super) fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::Resolve
            | Code::WaitingForCoordinator
            | Code::WaitCache
            | Code::InProgress
            | Code::Retry
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::ConcurrentTransactions
            | Code::UnstableOffsetCommit
            | Code::KafkaStorageError
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::PreferredLeaderNotAvailable
            | Code::EligibleLeadersNotAvailable
            | Code::NotController
            | Code::ThrottlingQuotaExceeded
    )
}

/// Whether a topic or partition does not exist.
pub(super) fn is_missing(code: Code) -> bool {
    matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition)
}

/// A native code as an enum with a text.
pub(super) fn code(native: RDKafkaRespErr) -> Code {
    native.into()
}
