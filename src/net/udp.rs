//! Datagrams on Linux: many per system call, and one walk of the network stack per run.
//!
//! Receiving is `recvmmsg` with `UDP_GRO`: the kernel glues equal datagrams of one sender together
//! and a control message says where to cut. Sending is `sendmmsg` in which **each** message has its
//! own `UDP_SEGMENT` control message, so that runs of different sizes share a call.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use libc::{c_int, c_void};

use crate::net::ancillary::{self, Ancillary};
use crate::net::send_counters::SendCounters;
use crate::net::send_plan::{CALL_PIECES, Piece, SendPlan};
use crate::net::socket::{self, BufferSizes, Origin};
use crate::sfu::egress::Batch;

/// Messages per `recvmmsg`.
///
/// Trade: 64 slots save nothing when `UDP_GRO` already glues ten datagrams into one, and cost 3 MiB
/// more of cache per shard.
pub const RECEIVE_SLOTS: usize = 16;

/// Bytes per slot: the largest glued message.
const SLOT_BYTES: usize = 64 * 1024;

/// How long a socket sends without segmentation after a device refused it.
///
/// Trade: a route can change to a device that can, and a try costs one failed call.
const SEGMENTATION_HALT: Duration = Duration::from_secs(60);

/// One UDP socket of a shard, bound to one local address so that every reply has the right source.
#[derive(Debug)]
pub struct Socket {
    inner: socket2::Socket,
    address: SocketAddr,
    /// When runs may be tried again; a cell, as sending happens inside a receive callback.
    segmentation_from: Cell<Option<Instant>>,
}

impl Socket {
    /// Bind `address` (port 0 = any free port).
    ///
    /// # Errors
    /// What the system says, `AddrInUse` above all.
    pub fn bind(address: SocketAddr, sizes: BufferSizes) -> io::Result<Self> {
        let inner = socket::open(address, sizes)?;
        // No IP_RECVERR: forged ICMP must not become errors of ours.
        let fd = inner.as_raw_fd();
        // Forged "fragmentation needed" is ignored, and no IP id is drawn per datagram.
        if address.is_ipv4() {
            set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
        } else {
            set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
        }
        // Both are conveniences: a kernel without them delivers datagrams one by one, unstamped.
        let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
        let address = inner.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { inner, address, segmentation_from: Cell::new(None) })
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

    /// Receive once and give every datagram with its origin to `each`. Returns the slots filled:
    /// [`ReceiveArena::slots`] = there may be more, 0 = nothing waits.
    ///
    /// # Errors
    /// Anything but "would block" and "interrupted".
    pub fn receive_batch(
        &self,
        arena: &mut ReceiveArena,
        mut each: impl FnMut(Origin, &mut [u8]),
    ) -> io::Result<usize> {
        let filled = match arena.receive(self.fd()) {
            Ok(filled) => filled,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(0),
                _ => return Err(error),
            },
        };
        for slot in arena.filled.iter().take(filled) {
            let Some(remote) = slot.remote else { continue };
            let origin = Origin { remote, stamp: slot.stamp };
            let start = slot.index * SLOT_BYTES;
            match arena.bytes.get_mut(start..start + slot.len) {
                // An empty datagram is still one, and is counted as such.
                None | Some([]) => each(origin, &mut []),
                Some(bytes) => {
                    bytes.chunks_mut(slot.segment.max(1)).for_each(|part| each(origin, part));
                }
            }
        }
        Ok(filled)
    }

    /// Send the messages of `batch` that leave by this socket, number `local` of its shard.
    pub fn send_batch(
        &self,
        arena: &mut SendArena,
        batch: &Batch,
        local: u8,
        now: Instant,
        counters: &mut SendCounters,
    ) {
        let segmentation = self.segmentation_from.get().is_none_or(|from| now >= from);
        let mut plan = SendPlan::new(&batch.messages, local, segmentation);
        let mut pieces = mem::take(&mut arena.pieces);
        while plan.fill(&mut pieces, CALL_PIECES) {
            let answer = arena.send(self.fd(), batch, &pieces);
            plan.answer(&pieces, answer, counters);
        }
        arena.pieces = pieces;
        if plan.halted_segmentation() {
            counters.segmentation_halts += 1;
            self.segmentation_from.set(Some(now + SEGMENTATION_HALT));
        }
    }
}

/// One filled slot of a receive call.
#[derive(Debug, Clone, Copy)]
struct Filled {
    index: usize,
    remote: Option<SocketAddr>,
    len: usize,
    /// Datagram length; equals `len` for a single datagram.
    segment: usize,
    stamp: Option<u64>,
}

/// Room for the two control messages we ask for: segment size and receive time.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct ReceiveControl([u8; 64]);

/// The reused memory of receiving: one per shard.
pub struct ReceiveArena {
    bytes: Box<[u8]>,
    names: Box<[MaybeUninit<libc::sockaddr_in6>; RECEIVE_SLOTS]>,
    controls: Box<[ReceiveControl; RECEIVE_SLOTS]>,
    filled: Vec<Filled>,
}

impl Default for ReceiveArena {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveArena {
    /// One mebibyte, allocated once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: vec![0; RECEIVE_SLOTS * SLOT_BYTES].into_boxed_slice(),
            names: Box::new([MaybeUninit::uninit(); RECEIVE_SLOTS]),
            controls: Box::new([ReceiveControl([0; 64]); RECEIVE_SLOTS]),
            filled: Vec::with_capacity(RECEIVE_SLOTS),
        }
    }

    /// Messages one call can return.
    #[must_use]
    pub const fn slots(&self) -> usize {
        RECEIVE_SLOTS
    }

    /// When the kernel received each slot of the last call, in ns since the Unix epoch.
    pub fn stamps(&self) -> impl Iterator<Item = u64> {
        self.filled.iter().filter_map(|slot| slot.stamp)
    }

    fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        self.filled.clear();
        let bytes = self.bytes.as_mut_ptr();
        let mut iovecs: [libc::iovec; RECEIVE_SLOTS] = std::array::from_fn(|slot| libc::iovec {
            // SAFETY: `slot` < RECEIVE_SLOTS, so the offset stays inside the allocation.
            iov_base: unsafe { bytes.add(slot * SLOT_BYTES) }.cast(),
            iov_len: SLOT_BYTES,
        });
        let mut headers: [libc::mmsghdr; RECEIVE_SLOTS] =
            // SAFETY: every field of `mmsghdr` is an integer or a pointer; all zeroes is valid.
            unsafe { mem::zeroed() };
        let slots = iovecs.iter_mut().zip(self.names.iter_mut()).zip(self.controls.iter_mut());
        for (header, ((iovec, name), control)) in headers.iter_mut().zip(slots) {
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_in6>() as _;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control.0.len() as _;
        }
        // SAFETY: `headers` holds RECEIVE_SLOTS headers whose pointers are valid for the lengths
        // beside them until the call returns, and nothing else borrows that memory meanwhile.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                RECEIVE_SLOTS as _,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (index, header) in headers.iter().enumerate().take(received) {
            // SAFETY: the kernel filled this header, its name and its control messages.
            self.filled.push(unsafe { read_slot(index, header) });
        }
        Ok(received)
    }
}

/// Sender, length, segment size and receive time of one filled header.
///
/// # Safety
/// `header` must have been filled by a successful `recvmmsg` with a `sockaddr_in6` as name, and
/// its name and control memory must still be alive.
unsafe fn read_slot(index: usize, header: &libc::mmsghdr) -> Filled {
    let len = (header.msg_len as usize).min(SLOT_BYTES);
    // SAFETY: the caller's promise.
    let Ancillary { segment, stamp } = unsafe { ancillary::read(&header.msg_hdr) };
    // SAFETY: the name points at a sockaddr_in6, which the kernel filled up to `msg_namelen`.
    let remote = unsafe { decode(header.msg_hdr.msg_name, header.msg_hdr.msg_namelen as usize) };
    Filled { index, remote, len, segment: segment.unwrap_or(len), stamp }
}

/// The address at `name`; `None` for a family we did not open a socket of.
///
/// # Safety
/// `name` must point at `len` readable bytes that the kernel wrote as a socket address.
unsafe fn decode(name: *const c_void, len: usize) -> Option<SocketAddr> {
    if len < mem::size_of::<libc::sockaddr_in>() {
        return None;
    }
    // SAFETY: `len` covers the family, which every socket address begins with.
    let family = unsafe { name.cast::<libc::sa_family_t>().read_unaligned() };
    match c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: `len` covers a sockaddr_in and the family says that it is one.
            let v4 = unsafe { name.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 if len >= mem::size_of::<libc::sockaddr_in6>() => {
            // SAFETY: `len` covers a sockaddr_in6 and the family says that it is one.
            let v6 = unsafe { name.cast::<libc::sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

/// A destination in the kernel's form.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

fn encode(address: SocketAddr) -> (Name, usize) {
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: sockaddr_in is integers only; all zeroes is valid on every system.
            let mut v4: libc::sockaddr_in = unsafe { mem::zeroed() };
            v4.sin_family = libc::AF_INET as _;
            v4.sin_port = address.port().to_be();
            v4.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            (Name { v4 }, mem::size_of::<libc::sockaddr_in>())
        }
        SocketAddr::V6(address) => {
            // SAFETY: sockaddr_in6 is integers only; all zeroes is valid on every system.
            let mut v6: libc::sockaddr_in6 = unsafe { mem::zeroed() };
            v6.sin6_family = libc::AF_INET6 as _;
            v6.sin6_port = address.port().to_be();
            v6.sin6_addr.s6_addr = address.ip().octets();
            v6.sin6_scope_id = address.scope_id();
            (Name { v6 }, mem::size_of::<libc::sockaddr_in6>())
        }
    }
}

/// Room for one `UDP_SEGMENT` control message.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct SegmentControl([u8; SEGMENT_CONTROL_BYTES]);

// SAFETY: CMSG_SPACE only computes a length.
const SEGMENT_CONTROL_BYTES: usize =
    unsafe { libc::CMSG_SPACE(mem::size_of::<u16>() as u32) } as usize;

/// The reused memory of sending: one per shard. Not `Send`: it lives in the shard's thread.
pub struct SendArena {
    pieces: Vec<Piece>,
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    names: Vec<(Name, usize)>,
    controls: Box<[SegmentControl; CALL_PIECES]>,
}

impl Default for SendArena {
    fn default() -> Self {
        Self::new()
    }
}

impl SendArena {
    /// Room for [`CALL_PIECES`] messages a call.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pieces: Vec::with_capacity(CALL_PIECES),
            headers: Vec::with_capacity(CALL_PIECES),
            iovecs: Vec::with_capacity(CALL_PIECES),
            names: Vec::with_capacity(CALL_PIECES),
            controls: Box::new([SegmentControl([0; SEGMENT_CONTROL_BYTES]); CALL_PIECES]),
        }
    }

    /// One `sendmmsg` over `pieces`: how many went, or the `errno` of the first.
    fn send(&mut self, fd: RawFd, batch: &Batch, pieces: &[Piece]) -> Result<usize, i32> {
        self.headers.clear();
        self.iovecs.clear();
        self.names.clear();
        for piece in pieces.iter().take(CALL_PIECES) {
            let (Some(bytes), Some(message)) = (
                batch.bytes.get(piece.start..piece.start + piece.len),
                batch.messages.get(piece.message),
            ) else {
                debug_assert!(false, "a piece lies outside its batch");
                return Err(libc::EFAULT);
            };
            self.names.push(encode(message.path.remote));
            self.iovecs.push(libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            });
        }
        let parts = self.names.iter_mut().zip(self.iovecs.iter_mut()).zip(self.controls.iter_mut());
        for (piece, (((name, name_len), iovec), control)) in pieces.iter().zip(parts) {
            // SAFETY: every field of `mmsghdr` is an integer or a pointer; all zeroes is valid.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = *name_len as _;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            if piece.datagrams() > 1 {
                header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = SEGMENT_CONTROL_BYTES as _;
                // SAFETY: the control memory just set is SEGMENT_CONTROL_BYTES long and aligned.
                unsafe { write_segment(&header.msg_hdr, piece.segment) };
            }
            self.headers.push(header);
        }
        // SAFETY: each header points at an address, one iovec into `batch` and at most one control
        // message, all alive and unmoved until the call returns; the kernel only reads them.
        let sent = unsafe {
            libc::sendmmsg(
                fd,
                self.headers.as_mut_ptr(),
                self.headers.len() as _,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(sent)
            .map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }
}

/// Write the `UDP_SEGMENT` control message of `header`.
///
/// # Safety
/// The header's control memory must be aligned and [`SEGMENT_CONTROL_BYTES`] long.
unsafe fn write_segment(header: &libc::msghdr, segment: usize) {
    // SAFETY: the caller's promise: there is room for one whole control message.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        if control.is_null() {
            return;
        }
        (*control).cmsg_level = libc::SOL_UDP;
        (*control).cmsg_type = libc::UDP_SEGMENT;
        (*control).cmsg_len = libc::CMSG_LEN(mem::size_of::<u16>() as u32) as _;
        let segment = u16::try_from(segment).unwrap_or(u16::MAX);
        libc::CMSG_DATA(control).cast::<u16>().write_unaligned(segment);
    }
}

fn set_option(fd: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the value pointer and length describe one c_int on this stack.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            mem::size_of::<c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
