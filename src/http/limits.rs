//! Limits of the server.

use std::time::Duration;

/// Bytes to receive within [`Limits::silence`] for a request to go on: about 100 KiB a second, so that the largest
/// one may take three minutes.
pub(super) const PROGRESS_BYTES: usize = 1 << 20;

/// Limits of the server. Sizes of request lines and headers are limited by hyper.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections open at a time, beside the reserve; when there are more, the one idle for longest is closed.
    pub(super) connections: usize,
    /// More connections, for health and metrics alone, while all others are busy.
    pub(super) reserve: usize,
    /// Streams of events at a time, far fewer than connections: a stream is never idle.
    pub(super) streams: usize,
    /// A connection on which the server could send nothing for this long is closed, unless the client makes
    /// [progress](PROGRESS_BYTES) with a large request. That covers a request that dribbles in, a client that does
    /// not read, and one that keeps an idle connection.
    pub(super) silence: Duration,
}

impl Default for Limits {
    /// Ample for some scrapers, probes and people, and for many producers of events; well below the 1,024 files that a
    /// process may have open by default.
    fn default() -> Self {
        Self { connections: 512, reserve: 64, streams: 64, silence: Duration::from_secs(10) }
    }
}
