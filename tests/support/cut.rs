//! A network that can be cut: a TCP proxy in the test's process, in front of any server.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, tcp},
    runtime,
    sync::watch,
    time::sleep,
};

use super::{server::port_of, wait};

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Passes,
    /// Every piece of data takes this long.
    Delays(Duration),
    /// Connections can be made, but nothing goes through them; nothing is lost either.
    Hangs,
    /// The connections that there were are reset, new ones are refused.
    Refuses,
}

#[derive(Debug, Clone, Copy)]
struct Orders {
    network: Network,
    /// How often all connections were to be reset.
    resets: usize,
}

/// The proxy; it is gone when this is dropped.
pub struct Cut {
    /// Clients connect here instead of to the server.
    pub address: SocketAddr,
    orders: watch::Sender<Orders>,
    listens: watch::Receiver<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Cut {
    /// In front of the server at this port of this machine; passes.
    pub fn before(port: u16) -> Self {
        let (orders, obeyed) = watch::channel(Orders { network: Network::Passes, resets: 0 });
        let (listening, listens) = watch::channel(false);
        let (bound, address) = mpsc::channel();
        let proxy = async move {
            // The port stays ours also while nobody listens at it.
            let reserved = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
            let address = reserved.local_addr().unwrap();
            bound.send(address).unwrap();
            // It ends when there is nobody left to give orders.
            let _ = proxy(address, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), obeyed, listening).await;
        };
        let thread = thread::spawn(|| {
            runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(proxy);
        });
        let cut = Self { address: address.recv().unwrap(), orders, listens, thread: Some(thread) };
        cut.set(Network::Passes);
        cut
    }

    /// A URL of the server, by way of this.
    pub fn on_the_way_to(&self, url: &str) -> String {
        let port = format!(":{}", port_of(url));
        let (before, after) = url.rsplit_once(&port).unwrap();
        format!("{before}:{}{after}", self.address.port())
    }

    /// From now on the network does this.
    pub fn set(&self, network: Network) {
        let refuses = network == Network::Refuses;
        self.orders.send_modify(|orders| {
            orders.network = network;
            orders.resets += usize::from(refuses);
        });
        wait::until_true("the proxy to obey", || *self.listens.borrow() != refuses);
    }

    /// Resets all connections that there are, with whatever is under way in them.
    pub fn reset(&self) {
        self.orders.send_modify(|orders| orders.resets += 1);
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.orders = watch::Sender::new(Orders { network: Network::Refuses, resets: 0 });
        let _ = self.thread.take().unwrap().join();
    }
}

/// A socket that shares its address with another that was made in the same way.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn proxy(
    address: SocketAddr,
    server: SocketAddr,
    mut orders: watch::Receiver<Orders>,
    listening: watch::Sender<bool>,
) -> Result<(), watch::error::RecvError> {
    let at_accept = orders.clone();
    loop {
        orders.wait_for(|orders| orders.network != Network::Refuses).await?;
        let listener = bind(address).and_then(|socket| socket.listen(128)).unwrap();
        listening.send_replace(true);
        let accept_all = async {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(connection(client, server, at_accept.clone()));
            }
        };
        tokio::select! {
            () = accept_all => {}
            refused = orders.wait_for(|orders| orders.network == Network::Refuses) => drop(refused?),
        }
        drop(listener);
        listening.send_replace(false);
    }
}

/// Carries what the two sides send each other, until both have ended or the connection is reset.
async fn connection(mut client: TcpStream, server: SocketAddr, orders: watch::Receiver<Orders>) {
    let mut upstream = None;
    let mut reset = orders.clone();
    let resets = orders.borrow().resets;
    let carried = async {
        orders.clone().wait_for(passes).await.map_err(io::Error::other)?;
        let (client_in, client_out) = client.split();
        let (server_in, server_out) = upstream.insert(TcpStream::connect(server).await?).split();
        let there = forward(client_in, server_out, orders.clone());
        tokio::try_join!(there, forward(server_in, client_out, orders)).map(|_| ())
    };
    let outcome = tokio::select! {
        outcome = carried => outcome,
        _ = reset.wait_for(|orders| orders.resets != resets) => Err(io::ErrorKind::ConnectionReset.into()),
    };
    if outcome.is_err() {
        // Closing them resets them now.
        [Some(client), upstream].iter().flatten().for_each(|stream| _ = stream.set_zero_linger());
    }
}

async fn forward(
    mut from: tcp::ReadHalf<'_>,
    mut to: tcp::WriteHalf<'_>,
    mut orders: watch::Receiver<Orders>,
) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut piece).await?;
        let network = orders.wait_for(passes).await.map_err(io::Error::other)?.network;
        if let Network::Delays(time) = network {
            sleep(time).await;
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
    }
}

fn passes(orders: &Orders) -> bool {
    orders.network != Network::Hangs
}
