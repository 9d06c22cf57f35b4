//! Answers of one database, kept.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use rustc_hash::FxHashMap;

use super::{GeoDatabase, NULL_FRAGMENT};

/// Addresses kept; beyond it the cache starts anew. About 1 MiB.
const MAX_ADDRESSES: usize = 16_384;

/// Rendered records kept; beyond it the cache starts anew. About 5 MiB with records of 100 bytes.
const MAX_FRAGMENTS: usize = 32_768;

/// Index of [`NULL_FRAGMENT`].
const NULL: u32 = 0;

/// Looks addresses up in one database and keeps the rendered answers; for one worker.
///
/// A record is rendered once: a database has far fewer records than networks, and traffic has far fewer
/// addresses than events. Holds its database until it is dropped, so a new database takes a new cache.
#[derive(Debug)]
pub struct GeoCache {
    database: Option<Arc<GeoDatabase>>,
    /// Seeded, because clients choose their addresses.
    by_address: HashMap<IpAddr, u32, foldhash::fast::RandomState>,
    by_offset: FxHashMap<usize, u32>,
    fragments: Vec<Box<[u8]>>,
}

impl GeoCache {
    /// An empty cache; without a database every answer is [`NULL_FRAGMENT`].
    #[must_use]
    pub fn new(db: Option<Arc<GeoDatabase>>) -> Self {
        Self {
            database: db,
            by_address: HashMap::default(),
            by_offset: FxHashMap::default(),
            fragments: vec![NULL_FRAGMENT.into()],
        }
    }

    /// The JSON value of `geo` for `ip`: an object of `country`, `city`, `lat` and `lon` without what the
    /// database lacks, or [`NULL_FRAGMENT`] for private, loopback and unknown addresses.
    pub fn fragment(&mut self, ip: IpAddr) -> &[u8] {
        let ip = ip.to_canonical();
        let index = match self.by_address.get(&ip) {
            Some(index) => *index,
            None => self.look_up(ip),
        };
        &self.fragments[index as usize]
    }

    fn look_up(&mut self, ip: IpAddr) -> u32 {
        let Some(database) = self.database.as_deref() else { return NULL };
        if is_local(ip) {
            return NULL;
        }
        if self.by_address.len() >= MAX_ADDRESSES {
            self.by_address.clear();
        }
        if self.fragments.len() >= MAX_FRAGMENTS {
            self.by_address.clear();
            self.by_offset.clear();
            self.fragments.truncate(1);
        }
        let index = match database.offset(ip) {
            None => NULL,
            Some(offset) => *self.by_offset.entry(offset).or_insert_with(|| match database.render(ip) {
                None => NULL,
                Some(fragment) => {
                    self.fragments.push(fragment.into());
                    (self.fragments.len() - 1) as u32
                }
            }),
        };
        self.by_address.insert(ip, index);
        index
    }
}

/// Whether the address means something only to who wrote it: private or loopback.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback(),
    }
}
