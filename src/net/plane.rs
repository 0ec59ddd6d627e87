//! Starting and stopping the media plane.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, anyhow, bail};

use crate::net::interfaces::bind_addresses;
use crate::net::socket::BufferSizes;
use crate::net::udp::Socket;
use crate::net::wait::MAX_WATCHED;

/// What the media plane is started with.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Media threads, 1-255.
    pub shards: usize,
    /// Local addresses to listen on; empty = loopback and every LAN address.
    pub addresses: Vec<IpAddr>,
    /// UDP port of the first shard, each further shard takes the next; 0 = any free ones.
    pub port: u16,
    /// The address clients reach this machine at, behind a one-to-one NAT.
    pub public_ip: Option<IpAddr>,
    /// Kernel buffers of each socket.
    pub buffers: BufferSizes,
    /// Keep each shard's thread on one core.
    pub pin_threads: bool,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            addresses: Vec::new(),
            port: 7882,
            public_ip: None,
            buffers: BufferSizes::default(),
            pin_threads: true,
        }
    }
}

impl MediaConfig {
    /// The sockets of `shard`, one per local address.
    fn bind(&self, shard: usize) -> anyhow::Result<Vec<Socket>> {
        let port = match self.port {
            0 => 0,
            first => u16::try_from(usize::from(first) + shard).context("media.port is too high")?,
        };
        let addresses = bind_addresses(&self.addresses).context("reading the local addresses")?;
        if addresses.len() > MAX_WATCHED {
            tracing::warn!(
                "this machine has {} addresses; media listens on the first {MAX_WATCHED}. Name the \
                 ones to use in media.addresses",
                addresses.len()
            );
        }
        let mut sockets = Vec::new();
        for address in addresses.into_iter().take(MAX_WATCHED) {
            let address = SocketAddr::new(address, port);
            match Socket::bind(address, self.buffers) {
                Ok(socket) => sockets.push(socket),
                Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                    "port {port}/udp is in use on {}: set media.port to the first of {} free ports, \
                     or stop the other program",
                    address.ip(),
                    self.shards
                ),
                // An address may be tentative or gone by now; one the operator named may not.
                Err(error) if self.addresses.is_empty() => {
                    tracing::warn!(%address, %error, "media does not listen here");
                }
                Err(error) => {
                    return Err(anyhow!(
                        "cannot listen on {address}/udp (media.addresses): {error}"
                    ));
                }
            }
        }
        if sockets.is_empty() {
            bail!("no local address to listen on for media: set media.addresses");
        }
        Ok(sockets)
    }
}
