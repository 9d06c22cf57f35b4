//! `Content-Encoding` of a request's body: gzip and zstd.

use std::{
    io::{self, Read},
    sync::Arc,
};

use axum::http::{HeaderMap, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MAX_BODY;

/// Bytes that are decoded at a time.
const PIECE: usize = 64 << 10;
/// A zstd frame may ask for a window of up to 2^23 bytes, as the encoding is defined for HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// What the headers of a request say; `None` if it cannot be decoded here.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let (value, None) = (values.next(), values.next()) else { return None };
        let Some(value) = value else { return Some(Self::Identity) };
        match value.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Why a body cannot be decoded.
#[derive(Debug)]
pub(super) enum Undecodable {
    /// It becomes larger than a body may be.
    TooLarge,
    /// There is no memory left for it at this moment.
    Busy,
    /// It is not what its header says.
    Broken(io::Error),
}

/// Decodes a whole body. What it grows to is taken from `memory`, in KiB, and held by the permit that comes back, so
/// that a small body that becomes a large one takes no more than a large one.
pub(super) fn decode(
    encoding: Encoding,
    body: Vec<u8>,
    memory: &Arc<Semaphore>,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Undecodable> {
    match encoding {
        Encoding::Identity => Ok((body, None)),
        Encoding::Gzip => drain(flate2::read::MultiGzDecoder::new(&body[..]), memory),
        Encoding::Zstd => {
            let mut decoder = zstd::Decoder::new(&body[..]).map_err(Undecodable::Broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(Undecodable::Broken)?;
            drain(decoder, memory)
        }
    }
}

fn drain(
    decoder: impl Read,
    memory: &Arc<Semaphore>,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Undecodable> {
    // One byte more than allowed tells that it is too large.
    let mut decoder = decoder.take(MAX_BODY as u64 + 1);
    let mut decoded = Vec::new();
    let mut held: Option<OwnedSemaphorePermit> = None;
    loop {
        let piece = Arc::clone(memory).try_acquire_many_owned((PIECE >> 10) as u32);
        let piece = piece.map_err(|_| Undecodable::Busy)?;
        match &mut held {
            Some(held) => held.merge(piece),
            None => held = Some(piece),
        }
        let read =
            (&mut decoder).take(PIECE as u64).read_to_end(&mut decoded).map_err(Undecodable::Broken)?;
        if decoded.len() > MAX_BODY {
            return Err(Undecodable::TooLarge);
        }
        if read < PIECE {
            return Ok((decoded, held));
        }
    }
}
