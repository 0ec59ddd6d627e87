//! The client side of the load generator: many UDP sockets on one thread, epoll, and receiving in
//! batches with the kernel's time.
//!
//! Receive offload (`UDP_GRO`) stays off: with it loopback would never split what a server sent
//! with segmentation offload, which no network does.
#![allow(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::net::ancillary;

/// Datagrams per call.
const SLOTS: usize = 32;
/// Larger than any datagram of a WebRTC server.
const SLOT: usize = 2048;
/// Room for one `SCM_TIMESTAMPNS`, in words so that it is aligned.
const CONTROL_WORDS: usize = 8;
/// Enough that the reader, not the network, is never the reason of a loss: about 400 packets.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A socket with its own port, at `source` if given, that talks to one server address.
///
/// # Errors
/// Out of descriptors, or an address that this machine does not have.
pub fn open(server: SocketAddr, source: Option<IpAddr>) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((source.unwrap_or(any), 0))?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and value and length describe one live c_int.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(done)?;
    Ok(socket)
}

/// The machine's real-time clock, ns: the clock of the kernel's receive times.
#[must_use]
pub fn real_time_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Which descriptors are readable.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    /// A poll of nothing.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        // Few per call, so that the publisher's next packet waits for few viewers.
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; 64] })
    }

    /// Report `socket` as `index` while it is readable. It leaves when it is closed.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&self, socket: &impl AsRawFd, index: usize) -> io::Result<()> {
        self.change(libc::EPOLL_CTL_ADD, socket, index)
    }

    /// Report `socket` no more.
    ///
    /// # Errors
    /// It was not there.
    pub fn remove(&self, socket: &impl AsRawFd) -> io::Result<()> {
        self.change(libc::EPOLL_CTL_DEL, socket, 0)
    }

    fn change(&self, how: libc::c_int, socket: &impl AsRawFd, index: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
        let (epoll, fd) = (self.epoll.as_raw_fd(), socket.as_raw_fd());
        // SAFETY: both descriptors are open and the event lives through the call.
        check(unsafe { libc::epoll_ctl(epoll, how, fd, &raw mut event) })?;
        Ok(())
    }

    /// Wait, at most `timeout` rounded up to a millisecond; the indices that are readable.
    ///
    /// # Errors
    /// Anything but "interrupted".
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        let ms = timeout.as_micros().div_ceil(1000).min(1000) as libc::c_int;
        let (room, fd) = (self.events.len() as libc::c_int, self.epoll.as_raw_fd());
        // SAFETY: `events` has `room` elements and lives through the call.
        let count = unsafe { libc::epoll_wait(fd, self.events.as_mut_ptr(), room, ms) };
        let count = match check(count) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other? as usize,
        };
        ready.clear();
        ready.extend(self.events[..count].iter().map(|event| event.u64 as usize));
        Ok(())
    }
}

/// Buffers of a receive call.
#[derive(Debug)]
pub struct Datagrams {
    buffers: Vec<[u8; SLOT]>,
    controls: Vec<[u64; CONTROL_WORDS]>,
}

impl Default for Datagrams {
    fn default() -> Self {
        Self::new()
    }
}

impl Datagrams {
    /// Room for 32 datagrams.
    #[must_use]
    pub fn new() -> Self {
        Self { buffers: vec![[0; SLOT]; SLOTS], controls: vec![[0; CONTROL_WORDS]; SLOTS] }
    }

    /// Receive all that waits: `take` gets each datagram with the kernel's receive time in ns of
    /// the real-time clock.
    ///
    /// # Errors
    /// Anything but "would block": the server's port is closed, above all.
    pub fn drain(
        &mut self,
        socket: &UdpSocket,
        mut take: impl FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        while self.receive(socket, &mut take)? == SLOTS {}
        Ok(())
    }

    fn receive(
        &mut self,
        socket: &UdpSocket,
        mut take: impl FnMut(u64, &[u8]),
    ) -> io::Result<usize> {
        let mut vectors: [libc::iovec; SLOTS] = std::array::from_fn(|at| libc::iovec {
            iov_base: self.buffers[at].as_mut_ptr().cast(),
            iov_len: SLOT,
        });
        let mut messages: [libc::mmsghdr; SLOTS] = std::array::from_fn(|at| {
            // SAFETY: all zeros is a valid `mmsghdr`: null pointers with zero lengths.
            let mut message: libc::mmsghdr = unsafe { zeroed() };
            message.msg_hdr.msg_iov = &raw mut vectors[at];
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = self.controls[at].as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = size_of::<[u64; CONTROL_WORDS]>() as _;
            message
        });
        let (fd, list) = (socket.as_raw_fd(), messages.as_mut_ptr());
        let (slots, flags) = (SLOTS as libc::c_uint, libc::MSG_DONTWAIT);
        // SAFETY: the headers point to buffers, control space and vectors of the lengths they say,
        // all of which live through the call.
        let count = unsafe { libc::recvmmsg(fd, list, slots, flags as _, std::ptr::null_mut()) };
        let count = match check(count) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            other => other? as usize,
        };
        for (at, message) in messages[..count].iter().enumerate() {
            let len = (message.msg_len as usize).min(SLOT);
            // SAFETY: the kernel filled this header, and its control space is alive.
            let stamp = unsafe { ancillary::read(&message.msg_hdr) }.stamp;
            let stamp = stamp.unwrap_or_else(real_time_ns);
            take(stamp, &self.buffers[at][..len]);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_with_their_times() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = open(server.local_addr().unwrap(), Some([127, 0, 0, 9].into())).unwrap();
        let mut poll = Poll::new().unwrap();
        poll.add(&socket, 7).unwrap();
        let before = real_time_ns();
        let to = socket.local_addr().unwrap();
        assert_eq!(to.ip(), IpAddr::from([127, 0, 0, 9]));
        for n in 0..40u8 {
            server.send_to(&[n; 100], to).unwrap();
        }
        let (mut ready, mut datagrams, mut got) = (Vec::new(), Datagrams::new(), Vec::new());
        poll.wait(Duration::from_secs(1), &mut ready).unwrap();
        assert_eq!(ready, [7], "readable in time");
        datagrams
            .drain(&socket, |at, bytes| {
                assert!(at >= before && at <= real_time_ns() && bytes.len() == 100);
                got.push(bytes[0]);
            })
            .unwrap();
        assert_eq!(got, (0..40).collect::<Vec<u8>>());
        poll.remove(&socket).unwrap();
        server.send_to(&[0; 100], to).unwrap();
        poll.wait(Duration::ZERO, &mut ready).unwrap();
        assert!(ready.is_empty() && poll.remove(&socket).is_err());
    }
}
