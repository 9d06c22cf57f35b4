//! Connections with limits: how many there are, and how long one may go without an answer.

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};

use super::{
    limits::{Limits, PROGRESS_BYTES},
    slots::{Slot, Slots},
};

/// A listener whose connections are [`Connection`]s.
#[derive(Debug)]
pub(super) struct LimitedListener {
    listener: TcpListener,
    slots: Arc<Slots>,
    silence: Duration,
}

impl LimitedListener {
    pub(super) fn new(listener: TcpListener, limits: Limits) -> Self {
        Self { listener, slots: Arc::new(Slots::new(limits)), silence: limits.silence }
    }
}

impl Listener for LimitedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let slot = Held { slot: self.slots.admit(), slots: Arc::clone(&self.slots) };
        let deadline = Box::pin(sleep(self.silence));
        (Connection { stream, silence: self.silence, deadline, until_earned: 1, slot }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when nothing could be sent on it for too long.
///
/// The deadline moves with every byte sent: a client earns time by getting answers, and a stream of events keeps
/// itself alive. It also moves with the first byte received after one was sent, so that a request on a connection
/// that was idle has all its time, and with every [`PROGRESS_BYTES`] received from there on.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    silence: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Bytes to receive until the deadline moves.
    until_earned: usize,
    slot: Held,
}

/// A place that is given back when the connection ends.
#[derive(Debug)]
struct Held {
    slot: Arc<Slot>,
    slots: Arc<Slots>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.slots.leave(&self.slot);
    }
}

impl Connection {
    /// Its place.
    pub(super) fn slot(&self) -> Arc<Slot> {
        Arc::clone(&self.slot.slot)
    }

    /// Fails once the deadline has passed or the place was given to another; otherwise arranges to be woken then.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.slot.slot.poll_evicted(cx) {
            return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    fn move_deadline(&mut self, until_earned: usize) {
        self.deadline.as_mut().reset(Instant::now() + self.silence);
        self.until_earned = until_earned;
        self.slot.slot.note_progress();
    }

    /// Counts what was received.
    fn after_read(&mut self, received: usize) {
        match self.until_earned.checked_sub(received) {
            None | Some(0) => self.move_deadline(PROGRESS_BYTES),
            Some(missing) => self.until_earned = missing,
        }
    }

    /// Passes on what became of a write, moving the deadline or looking at it.
    fn after_write(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(n)) if n > 0 => {
                self.move_deadline(1);
                Poll::Ready(Ok(n))
            }
            Poll::Pending => self.poll_deadline(cx).map(Err),
            done => done,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_deadline(cx) {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let received = buf.filled().len() - before;
        self.after_read(received);
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.after_write(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.after_write(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
