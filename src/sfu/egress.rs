//! The send buffer a shard lends the core: messages of one or more equal datagrams, handed to the
//! sink sixteen at a time.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// Messages per hand-over to the sink.
///
/// Trade: more gains nothing measurable from `sendmmsg`; 16 messages of a 12 KB frame stay inside
/// a 1 MB L2 cache.
pub const BATCH_MESSAGES: usize = 16;

/// Bytes after which a batch is handed over even if it is not full: room for one more message of
/// the largest size always remains.
const BATCH_BYTES: usize = 256 * 1024;

/// Datagrams of a message that others may still join: a slab's, so that a message stays below the 64
/// datagrams and 64 KiB that a kernel takes as one.
const MAX_RIDDEN: usize = 32;

/// Where a datagram goes: which of the shard's sockets (one per local address), and to whom.
///
/// A TCP connection is a path as well, made by [`Path::tcp`]. The core does not tell the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Index of the local UDP socket, or [`Path::TCP`].
    pub local: u8,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// Which TCP connection of a shard: a place in its table, and how often that was used before, so that a
/// path to a connection that has ended never leads to the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionId {
    /// Index in the shard's table.
    pub slot: u32,
    /// Connections that were in this place before.
    pub generation: u32,
}

impl Path {
    /// The `local` of every TCP connection; no UDP socket has this index.
    pub const TCP: u8 = u8::MAX;

    /// The path of a TCP connection from `remote`. Flow label and scope of an IPv6 address mean nothing
    /// for a connection that exists, so they name it: sending needs no look-up. IPv4 addresses are
    /// mapped (RFC 4291 2.5.5.2).
    #[must_use]
    pub const fn tcp(remote: SocketAddr, id: ConnectionId) -> Self {
        let ip = match remote.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let remote = SocketAddrV6::new(ip, remote.port(), id.slot, id.generation);
        Self { local: Self::TCP, remote: SocketAddr::V6(remote) }
    }

    /// The connection, if this is a path of [`Path::tcp`].
    #[must_use]
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self.remote {
            SocketAddr::V6(remote) if self.local == Self::TCP => {
                Some(ConnectionId { slot: remote.flowinfo(), generation: remote.scope_id() })
            }
            _ => None,
        }
    }
}

/// One message: `len` bytes at `start` for `path`, cut by the kernel (UDP GSO) into datagrams of
/// `segment` bytes, the last of which may be shorter.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Where to.
    pub path: Path,
    /// Offset in [`Batch::bytes`].
    pub start: usize,
    /// Total length.
    pub len: usize,
    /// Datagram length; equals `len` for a single datagram.
    pub segment: usize,
}

impl Message {
    /// Datagrams in this message.
    #[must_use]
    pub const fn segments(&self) -> usize {
        self.len.div_ceil(self.segment)
    }
}

/// The reused buffer behind an [`Egress`].
#[derive(Debug, Default)]
pub struct Batch {
    /// The bytes of all messages.
    pub bytes: Vec<u8>,
    /// The messages, in order.
    pub messages: Vec<Message>,
}

impl Batch {
    /// An empty batch with its final capacity.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(BATCH_BYTES + 64 * 1024),
            messages: Vec::with_capacity(BATCH_MESSAGES),
        }
    }

    /// Forget all messages, keep the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
    }
}

/// A batch and the sink that sends it. The sink must leave the batch cleared.
pub struct Egress<'a> {
    batch: &'a mut Batch,
    sink: &'a mut dyn FnMut(&mut Batch),
}

impl<'a> Egress<'a> {
    /// Lend `batch` and `sink` to the core.
    pub fn new(batch: &'a mut Batch, sink: &'a mut dyn FnMut(&mut Batch)) -> Self {
        Self { batch, sink }
    }

    /// Queue one datagram.
    pub fn datagram(&mut self, path: Path, bytes: &[u8]) {
        let start = self.begin();
        self.batch.bytes.extend_from_slice(bytes);
        self.commit(path, start, bytes.len());
    }

    /// Start a message: append its bytes to [`Self::buffer`], then [`Self::commit`] it.
    pub fn begin(&mut self) -> usize {
        if self.batch.messages.len() >= BATCH_MESSAGES || self.batch.bytes.len() >= BATCH_BYTES {
            self.flush();
        }
        self.batch.bytes.len()
    }

    /// The send buffer.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.batch.bytes
    }

    /// End the message begun at `start`; nothing is queued if nothing was appended.
    pub fn commit(&mut self, path: Path, start: usize, segment: usize) {
        let len = self.batch.bytes.len() - start;
        if len > 0 {
            self.batch.messages.push(Message { path, start, len, segment });
        }
    }

    /// Whether `len` bytes for `path` can travel as the last, shorter datagram of the newest message:
    /// one walk of the network stack less.
    #[must_use]
    pub fn can_ride(&self, path: Path, len: usize) -> bool {
        self.batch.messages.last().is_some_and(|last| {
            last.path == path
                && last.start + last.len == self.batch.bytes.len()
                && last.len.is_multiple_of(last.segment)
                && len <= last.segment
                && last.len / last.segment < MAX_RIDDEN
        })
    }

    /// Count what was appended to [`Self::buffer`] since [`Self::can_ride`] said yes to the newest message.
    pub fn ride(&mut self) {
        let end = self.batch.bytes.len();
        if let Some(last) = self.batch.messages.last_mut() {
            last.len = end - last.start;
        }
    }

    /// Hand everything queued to the sink.
    pub fn flush(&mut self) {
        if !self.batch.messages.is_empty() {
            (self.sink)(self.batch);
        }
        self.batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_named_by_its_path_and_no_other_is_the_same() {
        let id = |slot, generation| ConnectionId { slot, generation };
        for text in ["192.0.2.7:50000", "[2001:db8::7]:50000"] {
            let remote: SocketAddr = text.parse().expect("an address");
            let path = Path::tcp(remote, id(3, u32::MAX));
            assert_eq!(path.connection(), Some(id(3, u32::MAX)));
            assert_eq!((path.remote.ip().to_canonical(), path.remote.port()), (remote.ip(), 50000));
            assert_ne!(path, Path::tcp(remote, id(3, 0)), "its successor");
            assert_ne!(path, Path::tcp(remote, id(4, u32::MAX)));
            assert_eq!(Path { local: 0, remote }.connection(), None);
        }
    }
}
