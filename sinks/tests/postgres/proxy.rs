//! A way to the server that is cut at a chosen moment.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tidegate_config::{Postgres, SslMode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What becomes of the next COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Commit {
    Pass,
    /// The server never gets it.
    Lose,
    /// The server gets and answers it; the answer is lost.
    LoseAnswer,
    /// It never arrives, and nobody is told.
    Hold,
}

/// A proxy; one COMMIT at most meets with something.
pub struct Proxy {
    /// The server's, by way of the proxy.
    pub settings: Postgres,
    next: Arc<AtomicU8>,
    /// The COMMIT has met with it.
    pub met: Arc<Notify>,
}

impl Proxy {
    pub async fn to(server: &Postgres) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            settings: Postgres {
                host: "127.0.0.1".to_owned(),
                port: listener.local_addr().unwrap().port(),
                // It has to see the COMMIT.
                sslmode: SslMode::Disable,
                ..server.clone()
            },
            next: Arc::new(AtomicU8::new(Commit::Pass as u8)),
            met: Arc::new(Notify::new()),
        };
        let (server, next, met) =
            (format!("{}:{}", server.host, server.port), proxy.next.clone(), proxy.met.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let (next, met) = (next.clone(), met.clone());
                // The end of a connection is an error here, and none to speak of.
                tokio::spawn(async move { _ = relay(client, server, &next, &met).await });
            }
        });
        proxy
    }

    pub fn on_commit(&self, commit: Commit) {
        self.next.store(commit as u8, Ordering::SeqCst);
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    next: &AtomicU8,
    met: &Notify,
) -> io::Result<()> {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let sent = &up[..some(read?)?];
                let is_commit = sent.ends_with(b"commit\0");
                let commit = if is_commit { next.swap(Commit::Pass as u8, Ordering::SeqCst) } else { 0 };
                if commit == Commit::LoseAnswer as u8 {
                    server.write_all(sent).await?;
                    some(server.read(&mut down).await?)?;
                }
                if commit != Commit::Pass as u8 {
                    met.notify_one();
                }
                if commit == Commit::Hold as u8 {
                    // Until the client has had enough of it.
                    some(client.read(&mut down).await?)?;
                }
                if commit != Commit::Pass as u8 {
                    return Ok(());
                }
                server.write_all(sent).await?;
            }
            read = server.read(&mut down) => client.write_all(&down[..some(read?)?]).await?,
        }
    }
}

/// Nothing is the end.
fn some(bytes: usize) -> io::Result<usize> {
    if bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}
