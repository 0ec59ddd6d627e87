//! ICE-TCP (RFC 6544): clients on networks without UDP connect to one TCP port of the whole server.
//!
//! ```text
//! door         accept, limits, first frame = authentic STUN of a transport we made  (tasks)
//! hello        libwebrtc's pseudo-TLS in front of it, if it is on
//! directory    user name fragment -> shard and password                             (director writes)
//! connections  read, split, hand to the core; frame, write, bounded backlog         (shard's thread)
//! ```
//! Nothing of a stranger reaches a shard: the door checks the integrity of the first frame before it
//! hands the socket over. In the shard a connection is one more [`Path`](crate::sfu::egress::Path), so the
//! core decides nothing differently; only what leaves and enters is framed (RFC 4571).

mod backlog;
pub mod connections;
pub mod directory;
pub mod door;
pub mod framing;
pub mod hello;

use std::net::SocketAddr;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::addresses::Permit;

/// Limits of TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpConfig {
    /// The port, on every address media listens on; 0 = no TCP.
    pub port: u16,
    /// Answer the hello of libwebrtc's pseudo-TLS (`ssltcp`) and offer it to our own clients.
    ///
    /// Trade: it passes firewalls that look for TLS at the first bytes; whoever sends the hello is answered,
    /// authentic or not, and clients without UDP try each address twice.
    pub hello: bool,
    /// Connections in all, those included that have not said anything.
    ///
    /// Trade: each holds a descriptor, and a slow reader's backlog at most; browsers that end up with
    /// UDP hold one or two for some seconds as well.
    pub connections: usize,
    /// Connections of one address (a /64 of IPv6); 0 = no limit.
    ///
    /// Trade: a company without UDP is behind one address, and so is somebody who wants all places.
    pub per_address: u32,
    /// How long a connection may be of no use: before its first valid STUN, and later without being the
    /// way its transport sends on.
    ///
    /// Trade: STUN comes one round trip after the connection; a browser tries TCP beside UDP and has
    /// chosen after a few.
    pub patience: Duration,
    /// Bytes that wait for one slow connection beyond what the kernel holds; what does not fit is dropped.
    ///
    /// Trade: a key frame must fit, and the frames a join begins with at the start of a slow connection;
    /// what waits is delay: a second at 2 Mbit/s.
    pub backlog: usize,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            port: 7882,
            hello: false,
            connections: 2000,
            per_address: 256,
            patience: Duration::from_secs(5),
            backlog: 256 * 1024,
        }
    }
}

/// A connection that said who it is, on its way to its shard.
#[derive(Debug)]
pub struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) remote: SocketAddr,
    /// What was read: the first frame, and possibly more.
    pub(super) read: Vec<u8>,
    pub(super) places: Places,
}

/// The places a connection takes, given back on drop.
#[derive(Debug)]
pub struct Places {
    _address: Option<Permit>,
    _total: OwnedSemaphorePermit,
    open: IntGauge,
}

impl Drop for Places {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Connections waiting for one shard.
///
/// Trade: more than a join storm brings in a turn; a full queue makes the door wait, within its patience.
const QUEUE: usize = 256;

/// The way from the door to one shard: put it in, then wake the shard.
#[must_use]
pub fn queue() -> (mpsc::Sender<Accepted>, mpsc::Receiver<Accepted>) {
    mpsc::channel(QUEUE)
}

#[cfg(test)]
mod tests;
