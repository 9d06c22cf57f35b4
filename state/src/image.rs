//! The window state in memory, as a changelog gives it when it is replayed.

use std::collections::BTreeMap;

use tidegate_core::{
    Epoch,
    window::{WindowKey, WindowState},
};

use crate::codec::{
    CodecError, OWNER_KEY, OwnerRecord, PROGRESS_KEY, ProgressRecord, Row, check_key, decode,
};

/// The rows that a changelog's records leave: the last value of each key, none for a deleted one. Its size
/// is that of the live rows, however long the changelog.
#[derive(Debug, Clone, Default)]
pub struct MemoryImage {
    rows: BTreeMap<Box<[u8]>, Box<[u8]>>,
    owner: Option<OwnerRecord>,
    progress: Option<ProgressRecord>,
    highest_epoch: Option<Epoch>,
}

impl MemoryImage {
    /// Applies the next record of the changelog.
    ///
    /// # Errors
    /// If it is not one: someone else writes to the topic, or another version does. The image is unchanged.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), CodecError> {
        let Some(value) = value else {
            check_key(key)?;
            self.rows.remove(key);
            if key == OWNER_KEY {
                self.owner = None;
            } else if key == PROGRESS_KEY {
                self.progress = None;
            }
            return Ok(());
        };
        let row = decode(key, value)?;
        self.highest_epoch = self.highest_epoch.max(Some(row.epoch()));
        match row {
            Row::Owner(owner) => self.owner = Some(owner),
            Row::Progress(progress) => self.progress = Some(progress),
            Row::Window(..) => {}
        }
        self.rows.insert(key.into(), value.into());
        Ok(())
    }

    /// The open windows, sorted by rule and service.
    ///
    /// # Errors
    /// None is expected: every row was read once when it was applied.
    pub fn windows(&self) -> impl Iterator<Item = Result<(WindowKey, WindowState), CodecError>> {
        self.rows.iter().filter_map(|(key, value)| match decode(key, value) {
            Ok(Row::Window(key, _, state)) => Some(Ok((key, state))),
            Ok(Row::Owner(_) | Row::Progress(_)) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// The highest epoch seen in any record, also in one that was overwritten since. An epoch that only
    /// deleted windows leaves no trace, so the last epoch may be a later one.
    #[must_use]
    pub fn highest_epoch(&self) -> Option<Epoch> {
        self.highest_epoch
    }

    /// The last owner.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerRecord> {
        self.owner
    }

    /// What the last epoch had read.
    #[must_use]
    pub fn progress(&self) -> Option<&ProgressRecord> {
        self.progress.as_ref()
    }

    /// Number of rows: open windows, the owner and the progress.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rows.iter().map(|(key, value)| (&**key, &**value))
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.rows.contains_key(key)
    }
}
