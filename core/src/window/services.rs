//! Short numbers for the services that have open windows.

use std::{collections::HashMap, sync::Arc};

/// Stands for a service while it has open windows; given to another one afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ServiceId(u32);

/// The services with open windows.
///
/// A service's name is hashed once per run of events, and kept once however many windows it has.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// Names come from events, so the hash is a seeded one.
    ids: HashMap<Arc<str>, ServiceId, foldhash::fast::RandomState>,
    slots: Vec<Slot>,
    free: Vec<ServiceId>,
}

#[derive(Debug)]
struct Slot {
    name: Arc<str>,
    windows: usize,
}

impl Services {
    /// The number of a service that has open windows.
    pub(super) fn get(&self, name: &str) -> Option<ServiceId> {
        self.ids.get(name).copied()
    }

    /// The number of a service that has open windows, or is about to open one.
    pub(super) fn get_or_insert(&mut self, name: &str) -> ServiceId {
        self.get(name).unwrap_or_else(|| self.insert(name))
    }

    /// The name of a service.
    pub(super) fn name(&self, id: ServiceId) -> &Arc<str> {
        &self.slots[id.0 as usize].name
    }

    /// A window of this service was opened.
    pub(super) fn opened(&mut self, id: ServiceId) {
        self.slots[id.0 as usize].windows += 1;
    }

    /// A window of this service was closed; with the last one the service is forgotten.
    pub(super) fn closed(&mut self, id: ServiceId) {
        let slot = &mut self.slots[id.0 as usize];
        slot.windows -= 1;
        if slot.windows == 0 {
            self.ids.remove(&slot.name);
            self.free.push(id);
        }
    }

    fn insert(&mut self, name: &str) -> ServiceId {
        let name: Arc<str> = name.into();
        let slot = Slot { name: Arc::clone(&name), windows: 0 };
        let id = if let Some(id) = self.free.pop() {
            self.slots[id.0 as usize] = slot;
            id
        } else {
            self.slots.push(slot);
            // Memory ends long before four billion services.
            ServiceId(self.slots.len() as u32 - 1)
        };
        self.ids.insert(name, id);
        id
    }
}
