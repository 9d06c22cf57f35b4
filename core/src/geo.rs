//! Where an address is, from a MaxMind database, rendered as JSON.

mod cache;
mod record;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    panic::{AssertUnwindSafe, catch_unwind},
};

use maxminddb::{MaxMindDbError, Reader};

pub use cache::GeoCache;
use record::Record;

/// The JSON value of `geo` where nothing is known of the address.
pub const NULL_FRAGMENT: &[u8] = b"null";

/// Why a database cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeoError {
    /// It is of another type, as `GeoLite2-ASN`.
    #[error("`{0}` is not a City or Country database; use one whose type has City or Country in its name")]
    WrongType(String),
    /// It cannot be read.
    #[error("damaged, or not a MaxMind database ({0}); download it again")]
    Damaged(String),
}

/// A City or Country database, verified, in memory.
#[derive(Debug)]
pub struct GeoDatabase {
    reader: Reader<Vec<u8>>,
}

impl GeoDatabase {
    /// Opens a database and verifies all of it, which takes about 0.1 s for every 10 MB.
    ///
    /// # Errors
    /// [`GeoError::Damaged`] if it is not whole, [`GeoError::WrongType`] if it holds neither cities nor
    /// countries. Any bytes at all are an error at worst.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GeoError> {
        // the reader indexes by what the file says of itself; a file that makes it panic is a damaged one
        catch_unwind(AssertUnwindSafe(|| Self::open(bytes)))
            .unwrap_or_else(|_| Err(GeoError::Damaged("reading it panicked".into())))
    }

    fn open(bytes: Vec<u8>) -> Result<Self, GeoError> {
        let damaged = |error: MaxMindDbError| GeoError::Damaged(error.to_string());
        let database = Self { reader: Reader::from_source(bytes).map_err(damaged)? };
        let kind = database.database_type().to_ascii_lowercase();
        // Enterprise databases are City databases with more members
        if !["city", "country", "enterprise"].iter().any(|known| kind.contains(known)) {
            return Err(GeoError::WrongType(database.database_type().to_owned()));
        }
        database.reader.verify().map_err(damaged)?;
        database.try_addresses();
        Ok(database)
    }

    /// Looks up an address in each 256th of IPv4 and of IPv6, for a panic to show itself now and not later.
    fn try_addresses(&self) {
        for byte in 0..=u8::MAX {
            let v4 = IpAddr::V4(Ipv4Addr::new(byte, 1, 1, 1));
            let v6 = IpAddr::V6(Ipv6Addr::new(u16::from(byte) << 8 | 1, 1, 0, 0, 0, 0, 0, 1));
            for ip in [v4, v6] {
                let _ = self.offset(ip).map(|_| self.render(ip));
            }
        }
    }

    /// When the database was built, in seconds since the Unix epoch.
    #[must_use]
    pub fn build_time(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// Its type, as `GeoLite2-City`.
    #[must_use]
    pub fn database_type(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// Names the record of `ip`: addresses with the same record have the same number.
    fn offset(&self, ip: IpAddr) -> Option<usize> {
        self.reader.lookup(ip).ok()?.offset()
    }

    /// The JSON value of `geo` for `ip`; `None` if the database knows nothing of it that is wanted, or not in
    /// the form that a City database has it.
    fn render(&self, ip: IpAddr) -> Option<Vec<u8>> {
        self.reader.lookup(ip).ok()?.decode::<Record<'_>>().ok()??.render()
    }
}
