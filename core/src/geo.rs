//! Where an address is, from a MaxMind DB file of any common layout, rendered as JSON.

mod cache;
mod metadata;
mod record;
mod survey;

use std::{
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
};

use maxminddb::{MaxMindDbError, Reader};

pub use cache::GeoCache;
use record::{Layout, Place};
use survey::Survey;

/// The JSON value of `geo` where nothing is known of the address.
pub const NULL_FRAGMENT: &[u8] = b"null";

/// Why a database cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeoError {
    /// It tells something else, as `GeoLite2-ASN` does, or in a layout that is not known.
    #[error(
        "`{0}` has no country, city, latitude or longitude where City and Country databases of MaxMind, DB-IP, \
         IPinfo and ip-location-db have them; use one of those"
    )]
    WrongType(String),
    /// It cannot be read.
    #[error("damaged, or not a MaxMind DB file ({0}); download it again")]
    Damaged(String),
}

/// A database of cities or countries, in memory.
///
/// It may be damaged as long as it is not verified. A lookup ends even so and does not panic; what cannot be read is
/// as good as not there.
#[derive(Debug)]
pub struct GeoDatabase {
    reader: Reader<Vec<u8>>,
    layout: Layout,
    missing: Vec<&'static str>,
}

impl GeoDatabase {
    /// Opens a database and verifies all of it, which takes about 0.1 s for every 10 MB.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`verify`](Self::verify) do.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GeoError> {
        let database = Self::open(bytes)?;
        database.verify()?;
        Ok(database)
    }

    /// Opens a database after a look at its structure and at some of its records, however large it is.
    ///
    /// # Errors
    /// [`GeoError::Damaged`] if it is not a database or was cut off, [`GeoError::WrongType`] if neither its records
    /// nor its type tell anything that is wanted. Any bytes at all are an error at worst.
    pub fn open(mut bytes: Vec<u8>) -> Result<Self, GeoError> {
        metadata::complete(&mut bytes);
        guarded(|| {
            let reader = Reader::from_source(bytes).map_err(damaged)?;
            let survey = Survey::of(&reader);
            let kind = &reader.metadata().database_type;
            if survey.is_useless(kind) {
                return Err(GeoError::WrongType(kind.clone()));
            }
            Ok(Self { missing: survey.missing(kind), layout: survey.layout(), reader })
        })
    }

    /// Reads all of it, which takes about 0.1 s for every 10 MB.
    ///
    /// # Errors
    /// [`GeoError::Damaged`] if it is not whole.
    pub fn verify(&self) -> Result<(), GeoError> {
        guarded(|| self.reader.verify().map_err(damaged))
    }

    /// What of `country`, `city`, `lat` and `lon` none of the records has that were looked at when it was opened.
    /// A Country database lacks nothing if it has countries.
    #[must_use]
    pub fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    /// When the database was built, in seconds since the Unix epoch, if it says so.
    #[must_use]
    pub fn build_time(&self) -> Option<u64> {
        Some(self.reader.metadata().build_epoch).filter(|seconds| *seconds > 0)
    }

    /// Its type, as `GeoLite2-City`.
    #[must_use]
    pub fn database_type(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// Names the record of `ip`: addresses with the same record have the same number.
    fn offset(&self, ip: IpAddr) -> Option<usize> {
        quiet(|| self.reader.lookup(ip).ok()?.offset())
    }

    /// The JSON value of `geo` for `ip`; `None` if the database knows nothing of it that is wanted, or not in
    /// the layout that its other records have.
    fn render(&self, ip: IpAddr) -> Option<Vec<u8>> {
        quiet(|| Place::of(&self.reader.lookup(ip).ok()?, self.layout)?.render())
    }
}

fn damaged(error: MaxMindDbError) -> GeoError {
    GeoError::Damaged(error.to_string())
}

/// The reader indexes by what the file says of itself; a file that makes it panic is a damaged one.
fn guarded<T>(read: impl FnOnce() -> Result<T, GeoError>) -> Result<T, GeoError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(GeoError::Damaged("reading it panicked".into())))
}

/// The same for a lookup, which is made before all of the file is verified.
fn quiet<T>(look_up: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(look_up)).unwrap_or(None)
}
