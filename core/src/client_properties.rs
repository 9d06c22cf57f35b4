//! Properties of librdkafka that a user cannot set, because exactly-once or the daemon itself decides them.

/// Properties that are refused, and why. Aliases of librdkafka stand beside their names.
pub const REFUSED: [(&[&str], &str); 16] = [
    (&["bootstrap.servers", "metadata.broker.list"], "it is `kafka.bootstrap_servers`"),
    (&["group.id"], "it is `kafka.group_id`"),
    (&["transactional.id"], "it is `kafka.transactional_id`"),
    (&["auto.offset.reset"], "the first start is `kafka.start`, and offsets are never reset later"),
    (&["enable.auto.commit", "auto.commit.enable"], "offsets are committed with the epoch's transaction"),
    (&["enable.auto.offset.store"], "offsets are committed with the epoch's transaction"),
    (&["group.instance.id"], "nothing joins the group, partitions are assigned by hand"),
    (&["group.protocol"], "nothing joins the group, partitions are assigned by hand"),
    (&["isolation.level"], "the input is read with `read_committed`"),
    (&["enable.idempotence"], "transactions need it, so it is always on"),
    (&["enable.gapless.guarantee"], "a transaction that fails is read again as a whole"),
    (&["acks", "request.required.acks"], "transactions need `all`"),
    (&["enable.partition.eof"], "the end of a partition tells when it is idle"),
    (&["delivery.report.only.error"], "delivery errors decide whether an epoch is committed"),
    (&["statistics.interval.ms"], "health and lag are read from the client's statistics"),
    (&["allow.auto.create.topics"], "topics are created by `tidegate topics apply` alone"),
];

/// Why a property is refused; `None` if it is not.
#[must_use]
pub fn refusal(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(names, _)| names.contains(&name)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_property_stands_there_once_with_its_aliases() {
        let names: Vec<&str> = REFUSED.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        let unique: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), unique.len());
        for name in names {
            assert!(refusal(name).is_some());
        }
        assert_eq!(refusal("linger.ms"), None);
    }
}
