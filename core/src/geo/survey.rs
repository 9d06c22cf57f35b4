//! A look at some records of a database, to see what they tell and in which layout.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use maxminddb::{LookupResult, Reader, WithinOptions};

use super::record::{Layout, Place};

/// So many of the first networks are looked at, which is all of a small database.
const FIRST_NETWORKS: usize = 2048;

const NAMES: [&str; 4] = ["country", "city", "lat", "lon"];

/// Which fields the records have that were looked at, in each layout.
#[derive(Debug, Default)]
pub(super) struct Survey {
    records: usize,
    nested: [bool; 4],
    flat: [bool; 4],
}

impl Survey {
    /// Looks at an address in each 256th of IPv4 and IPv6 and at the first networks, until every field was seen.
    /// Bounded, whatever the file holds.
    pub(super) fn of(reader: &Reader<Vec<u8>>) -> Self {
        let mut survey = Self::default();
        let probes = (0..=u8::MAX).flat_map(|byte| {
            let v4 = IpAddr::V4(Ipv4Addr::new(byte, 1, 1, 1));
            [v4, IpAddr::V6(Ipv6Addr::new(u16::from(byte) << 8 | 1, 1, 0, 0, 0, 0, 0, 1))]
        });
        let probed = probes.filter_map(|ip| reader.lookup(ip).ok());
        // With those without data, for otherwise a damaged tree could be walked for ever to find the next one.
        let all = WithinOptions::default().include_networks_without_data();
        let first = reader.networks(all).into_iter().flatten().take(FIRST_NETWORKS).filter_map(Result::ok);
        for found in probed.chain(first) {
            survey.look(&found);
            if survey.nested == [true; 4] || survey.flat == [true; 4] {
                break;
            }
        }
        survey
    }

    /// The layout in which the records tell most.
    pub(super) fn layout(&self) -> Layout {
        let told = |fields: [bool; 4]| fields.into_iter().filter(|has| *has).count();
        if told(self.flat) > told(self.nested) { Layout::Flat } else { Layout::Nested }
    }

    /// Whether no record told anything, though there are some, and the type does not promise it either.
    pub(super) fn is_useless(&self, database_type: &str) -> bool {
        let says_so = ["city", "country", "enterprise"].iter().any(|kind| is_of(database_type, kind));
        self.records > 0 && self.has() == [false; 4] && !says_so
    }

    /// The fields that no record had. A database of countries need not have the others.
    pub(super) fn missing(&self, database_type: &str) -> Vec<&'static str> {
        let wanted = if is_of(database_type, "country") { 1 } else { NAMES.len() };
        NAMES.into_iter().zip(self.has()).take(wanted).filter(|(_, has)| !has).map(|(name, _)| name).collect()
    }

    fn has(&self) -> [bool; 4] {
        match self.layout() {
            Layout::Nested => self.nested,
            Layout::Flat => self.flat,
        }
    }

    fn look(&mut self, found: &LookupResult<'_, Vec<u8>>) {
        self.records += usize::from(found.has_data());
        for (layout, has) in [(Layout::Nested, &mut self.nested), (Layout::Flat, &mut self.flat)] {
            let here = Place::of(found, layout).map(|place| place.fields()).unwrap_or_default();
            has.iter_mut().zip(here).for_each(|(has, here)| *has |= here);
        }
    }
}

fn is_of(database_type: &str, kind: &str) -> bool {
    database_type.to_ascii_lowercase().contains(kind)
}
