//! What the store's content is: the one row that describes all the others.

use serde::{Deserialize, Serialize};
use tidegate_core::{Epoch, NextOffset};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::codec::{CodecError, seal, unseal};

/// Key of the row that holds the base. No changelog key begins with this byte, and it sorts before all.
pub(crate) const BASE_KEY: &[u8] = b"\0base";

/// What a store contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Every change up to this epoch is included.
    pub epoch: Epoch,
    /// No change of a later epoch than this is included. It differs from `epoch` only if the process ended
    /// while the more than 1,000 rows of `reaches` were applied in several batches. Such a store can be
    /// caught up to `reaches` or any later epoch like one that is behind; for an earlier epoch it is of no use,
    /// as one that is ahead.
    pub reaches: Epoch,
    /// Next offsets of the changelog's partitions: all records before them are included. A partition beyond
    /// the list starts at its beginning.
    pub positions: Vec<NextOffset>,
    /// Number of rows, windows and the owner.
    pub rows: u64,
}

/// A base with the hash of the rows it describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) base: Base,
    pub(crate) content: Content,
}

/// Number and hash of rows, kept up to date row by row.
///
/// The hash is the sum (mod 2^64) of a 64-bit hash of each row, so it does not depend on their order, and
/// rows can be taken out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Content {
    pub(crate) rows: u64,
    pub(crate) hash: u64,
}

impl Content {
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.hash = self.hash.wrapping_add(row_hash(key, value));
    }

    pub(crate) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.hash = self.hash.wrapping_sub(row_hash(key, value));
    }
}

fn row_hash(key: &[u8], value: &[u8]) -> u64 {
    // The key's hash seeds the value's, so that values that have changed places are noticed.
    xxh3_64_with_seed(value, xxh3_64(key))
}

#[derive(Serialize, Deserialize)]
struct BaseBody {
    reaches: u64,
    positions: Vec<i64>,
    rows: u64,
    hash: u64,
}

impl Described {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let body = BaseBody {
            reaches: self.base.reaches.0,
            positions: self.base.positions.iter().map(|next| next.0).collect(),
            rows: self.content.rows,
            hash: self.content.hash,
        };
        let mut value = Vec::new();
        seal(self.base.epoch, &body, &mut value);
        value
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, CodecError> {
        let (epoch, body) = unseal::<BaseBody>(value)?;
        let base = Base {
            epoch,
            reaches: Epoch(body.reaches),
            positions: body.positions.into_iter().map(NextOffset).collect(),
            rows: body.rows,
        };
        Ok(Self { base, content: Content { rows: body.rows, hash: body.hash } })
    }
}
