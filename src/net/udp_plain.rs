//! Datagrams anywhere: one call per datagram, by the standard library. The fallback where the
//! Linux calls do not exist, and what the feature `portable-udp` builds so that it is tested.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use crate::net::send_counters::SendCounters;
use crate::net::send_plan::{Piece, SendPlan};
use crate::net::socket::{self, BufferSizes, Origin};
use crate::sfu::egress::Batch;

/// Bytes of the largest datagram.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// One UDP socket of a shard, bound to one local address so that every reply has the right source.
#[derive(Debug)]
pub struct Socket {
    inner: UdpSocket,
    address: SocketAddr,
}

impl Socket {
    /// Bind `address` (port 0 = any free port).
    ///
    /// # Errors
    /// What the system says, `AddrInUse` above all.
    pub fn bind(address: SocketAddr, sizes: BufferSizes) -> io::Result<Self> {
        let inner = UdpSocket::from(socket::open(address, sizes)?);
        let address = inner.local_addr()?;
        Ok(Self { inner, address })
    }

    /// The address it is bound to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// For a poller.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    /// Receive once and give the datagram with its origin to `each`. Returns the slots filled:
    /// [`ReceiveArena::slots`] = there may be more, 0 = nothing waits.
    ///
    /// # Errors
    /// Anything but "would block" and "interrupted".
    pub fn receive_batch(
        &self,
        arena: &mut ReceiveArena,
        mut each: impl FnMut(Origin, &mut [u8]),
    ) -> io::Result<usize> {
        match self.inner.recv_from(&mut arena.bytes) {
            Ok((len, remote)) => {
                if let Some(datagram) = arena.bytes.get_mut(..len) {
                    each(Origin { remote, stamp: None }, datagram);
                }
                Ok(1)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            },
        }
    }

    /// Send the messages of `batch` that leave by this socket, number `local` of its shard.
    pub fn send_batch(
        &self,
        arena: &mut SendArena,
        batch: &Batch,
        local: u8,
        _now: Instant,
        counters: &mut SendCounters,
    ) {
        let mut plan = SendPlan::new(&batch.messages, local, false);
        while plan.fill(&mut arena.pieces, 1) {
            let answer = self.send(batch, &arena.pieces);
            plan.answer(&arena.pieces, answer, counters);
        }
    }

    fn send(&self, batch: &Batch, pieces: &[Piece]) -> Result<usize, i32> {
        let Some((bytes, message)) = pieces.first().and_then(|piece| {
            let bytes = batch.bytes.get(piece.start..piece.start + piece.len)?;
            Some((bytes, batch.messages.get(piece.message)?))
        }) else {
            debug_assert!(false, "a piece lies outside its batch");
            return Err(libc::EFAULT);
        };
        match self.inner.send_to(bytes, message.path.remote) {
            Ok(_) => Ok(1),
            Err(error) => Err(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

/// The reused memory of receiving: one per shard.
pub struct ReceiveArena {
    bytes: Box<[u8]>,
}

impl Default for ReceiveArena {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveArena {
    /// One datagram of any size.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; DATAGRAM_BYTES].into_boxed_slice() }
    }

    /// Datagrams one call can return.
    #[must_use]
    pub const fn slots(&self) -> usize {
        1
    }

    /// Kernel receive times: unknown here.
    pub fn stamps(&self) -> impl Iterator<Item = u64> {
        std::iter::empty()
    }
}

/// The reused memory of sending: one per shard.
#[derive(Debug, Default)]
pub struct SendArena {
    pieces: Vec<Piece>,
}

impl SendArena {
    /// Room for one datagram a call.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}
