//! The local store as its owner has it: the state directory, and the store in it as long as that can be used.
//!
//! It only makes a restart fast. When the disk fails the pipeline goes on without it, and the next recovery fills a new
//! one from the changelog.

use std::time::Duration;

use tidegate_core::{
    Epoch, NextOffset,
    recovery::StoreFacts,
    window::{WindowKey, WindowState},
};

use crate::{MemoryImage, Opened, StateDir, StateError, Store};

/// The state directory, and the store in it if it is open and usable. All methods block.
#[derive(Debug)]
pub struct LocalStore {
    dir: StateDir,
    store: Option<Store>,
    /// How long ago it was last written to when it was opened; nothing once this process has written.
    age: Duration,
}

impl LocalStore {
    /// The store of a directory, which is opened when it is [asked for](Self::facts).
    #[must_use]
    pub fn new(dir: StateDir) -> Self {
        Self { dir, store: None, age: Duration::ZERO }
    }

    /// What the store is, after opening it if it is not open.
    pub fn facts(&mut self) -> StoreFacts {
        if let Some(facts) = self.facts_if_open() {
            return facts;
        }
        // An open store without a base is as good as none.
        self.store = None;
        let age = self.dir.store_written_at().and_then(|written_at| written_at.elapsed().ok());
        self.age = age.unwrap_or_default();
        match Store::open(&self.dir) {
            Ok(Opened::At(store) | Opened::Missing(store)) => {
                self.store = Some(store);
                self.facts_if_open().unwrap_or(StoreFacts::Missing)
            }
            Ok(Opened::Damaged { reason }) => {
                tracing::warn!(reason, "local state copy is damaged, rebuilding it from the state topic");
                StoreFacts::Damaged(reason)
            }
            Err(error) => {
                tracing::warn!(%error, "local state copy cannot be opened, going on without it");
                StoreFacts::Missing
            }
        }
    }

    fn facts_if_open(&self) -> Option<StoreFacts> {
        let base = self.store.as_ref()?.base()?;
        Some(StoreFacts::At { epoch: base.epoch, reaches: base.reaches, age: self.age })
    }

    /// The last epoch of which it has every change.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.store.as_ref()?.base().map(|base| base.epoch)
    }

    /// Puts the present store aside and opens a new one, if the disk lets us.
    pub fn put_aside(&mut self) {
        self.store = None;
        match Store::put_aside(&self.dir).and_then(|kept| Ok((kept, Store::open(&self.dir)?))) {
            Ok((kept, opened)) => {
                tracing::warn!(kept = %kept.display(), "local state copy put aside");
                self.store = match opened {
                    Opened::Missing(store) | Opened::At(store) => Some(store),
                    Opened::Damaged { .. } => None,
                };
            }
            Err(error) => {
                tracing::warn!(%error, "local state copy cannot be put aside, going on without it");
            }
        }
    }

    /// All windows in it.
    ///
    /// # Errors
    /// [`StateError::Broken`] if it is not open or cannot be read.
    pub fn windows(&self) -> Result<Vec<(WindowKey, WindowState)>, StateError> {
        let store = self.store.as_ref().ok_or_else(|| StateError::Broken("it is not open".into()))?;
        let mut windows = Vec::new();
        store.scan(|key, state| windows.push((key, state)))?;
        Ok(windows)
    }

    /// What it has, and the positions of the changelog that this includes, to catch up from; `None` if it has nothing.
    #[must_use]
    pub fn image(&self) -> Option<(Vec<NextOffset>, MemoryImage)> {
        let store = self.store.as_ref()?;
        Some((store.base()?.positions.clone(), store.image().ok()?))
    }

    /// Makes its content that of `image`; see [`Store::fill`]. One that cannot be written is given up.
    pub fn fill(&mut self, epoch: Epoch, positions: &[NextOffset], image: &MemoryImage) {
        let Some(store) = &mut self.store else { return };
        self.age = Duration::ZERO;
        if let Err(error) = store.fill(epoch, positions, image) {
            tracing::warn!(%error, "local state copy cannot be written, going on without it");
            self.store = None;
        }
    }

    /// Applies changes up to `epoch`; see [`Store::apply`]. Returns its size on disk in bytes. One that cannot be
    /// written is given up.
    pub fn apply(
        &mut self,
        epoch: Epoch,
        changes: &[(Vec<u8>, Option<Vec<u8>>)],
        positions: Option<&[NextOffset]>,
    ) -> Option<u64> {
        let store = self.store.as_mut()?;
        self.age = Duration::ZERO;
        match store.apply(epoch, changes, positions) {
            Ok(()) => Some(store.size_on_disk()),
            Err(error) => {
                tracing::error!(%epoch, %error, "local state copy failed, going on without it until the next recovery");
                self.store = None;
                None
            }
        }
    }
}
