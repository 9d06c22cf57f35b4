//! How much a window remembers of the events that it counted.

use crate::{PartitionId, TimestampMs};

/// One counted event that an alert can show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Input partition of the event.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: i64,
    /// Its top-level `user_id`, if that is a string.
    pub user_id: Option<Box<str>>,
    /// Its event time.
    pub timestamp: TimestampMs,
}

/// The first events are remembered, at most so many, and only as long as they fit the alert that shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EvidenceLimit {
    pub(super) events: usize,
    /// Room for all of them, as JSON.
    pub(super) bytes: usize,
    /// What each takes beside its user.
    pub(super) bytes_per_event: usize,
}

impl Default for EvidenceLimit {
    fn default() -> Self {
        Self { events: 0, bytes: usize::MAX, bytes_per_event: 0 }
    }
}

impl EvidenceLimit {
    /// Whether one more event fits behind those remembered.
    pub(super) fn has_room(&self, remembered: &[Evidence], user_id: Option<&str>) -> bool {
        if self.bytes == usize::MAX {
            return true;
        }
        let taken: usize = remembered.iter().map(|seen| self.size_bytes(seen.user_id.as_deref())).sum();
        taken.saturating_add(self.size_bytes(user_id)) <= self.bytes
    }

    /// How many of these, from the first on, fit.
    pub(super) fn fitting(&self, evidence: &[Evidence]) -> usize {
        let mut room = self.bytes;
        let fits = |seen: &&Evidence| match room.checked_sub(self.size_bytes(seen.user_id.as_deref())) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        evidence.iter().take_while(fits).count()
    }

    fn size_bytes(&self, user_id: Option<&str>) -> usize {
        let escaped = |byte: u8| match byte {
            b'"' | b'\\' => 2,
            // As \u00XX.
            0..0x20 => 6,
            _ => 1,
        };
        self.bytes_per_event + user_id.map_or(0, |id| id.bytes().map(escaped).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PartitionId, TimestampMs};

    fn seen(user_id: &str) -> Evidence {
        Evidence {
            partition: PartitionId(0),
            offset: 0,
            user_id: Some(user_id.into()),
            timestamp: TimestampMs(0),
        }
    }

    #[test]
    fn events_are_remembered_as_long_as_they_fit_and_escapes_count() {
        let limit = EvidenceLimit { events: 5, bytes: 100, bytes_per_event: 40 };
        assert!(limit.has_room(&[], Some("user")));
        assert!(limit.has_room(&[seen("user")], Some("sixteen letters.")));
        assert!(!limit.has_room(&[seen("user")], Some("\u{1}\u{1}\u{1}")));
        assert_eq!(limit.fitting(&[seen("user"), seen("user"), seen("user")]), 2);
        assert!(EvidenceLimit::default().has_room(&[seen("user")], Some("user")));
    }
}
