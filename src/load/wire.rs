//! What a peer of a run sends and receives datagrams by: a UDP socket, or a TCP connection with each
//! datagram behind its length (RFC 4571).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use rtc_shared::tcp_framing::{TcpFrameDecoder, frame_packet};

use crate::load::http;
use crate::net::client::{Datagrams, real_time_ns};

/// Bytes per read of a connection.
const READ: usize = 64 * 1024;
/// Bytes that may wait for a connection to take them; what does not fit is lost, as a full socket's is.
const WAITING: usize = 1 << 20;

pub enum Wire {
    Udp(UdpSocket),
    Tcp(Box<Tcp>),
}

/// A connection. The framing is not the server's.
pub struct Tcp {
    stream: TcpStream,
    decoder: TcpFrameDecoder,
    read: Vec<u8>,
    waiting: Vec<u8>,
}

impl Tcp {
    /// Connect, as the side that is active (RFC 6544 4.1), from `source` if given.
    pub fn connect(server: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let stream = http::connect(server, source)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let decoder = TcpFrameDecoder::new();
        Ok(Self { stream, decoder, read: vec![0; READ], waiting: Vec::new() })
    }

    fn send(&mut self, datagram: &[u8]) {
        if self.waiting.len() < WAITING {
            self.waiting.extend(frame_packet(datagram));
        }
        self.flush();
    }

    fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(taken) => drop(self.waiting.drain(..taken)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Full, or over, which reading tells.
                Err(_) => return,
            }
        }
    }

    fn drain(&mut self, mut take: impl FnMut(u64, &[u8])) -> io::Result<()> {
        self.flush();
        loop {
            let count = match self.stream.read(&mut self.read) {
                Ok(0) => return Err(ErrorKind::ConnectionAborted.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let now = real_time_ns();
            self.decoder.extend_from_slice(&self.read[..count]);
            while let Some(datagram) = self.decoder.next_packet() {
                take(now, &datagram);
            }
        }
    }
}

impl Wire {
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(tcp) => tcp.stream.local_addr(),
        }
    }

    /// What is refused is a loss, and counted as one by who misses it.
    pub fn send(&mut self, datagram: &[u8]) {
        match self {
            Self::Udp(socket) => drop(socket.send(datagram)),
            Self::Tcp(tcp) => tcp.send(datagram),
        }
    }

    /// Receive all that waits: `take` gets each datagram with its time of arrival, which for TCP is that of
    /// the read.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn drain(
        &mut self,
        datagrams: &mut Datagrams,
        take: impl FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        match self {
            Self::Udp(socket) => datagrams.drain(socket, take),
            Self::Tcp(tcp) => tcp.drain(take),
        }
    }
}

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Udp(socket) => socket.as_raw_fd(),
            Self::Tcp(tcp) => tcp.stream.as_raw_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn datagrams_keep_their_edges_on_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::Tcp(Box::new(
            Tcp::connect(listener.local_addr().unwrap(), Some([127, 0, 0, 5].into())).unwrap(),
        ));
        let (mut server, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 5]));
        wire.send(b"one");
        wire.send(&[7; 1200]);
        let mut bytes = vec![0; 2 + 3 + 2 + 1200];
        server.read_exact(&mut bytes).unwrap();
        assert_eq!((&bytes[..7], bytes[7]), (&b"\0\x03one\x04\xb0"[..], 7));
        server.write_all(&bytes).unwrap();
        drop(server);
        let (mut datagrams, mut got) = (Datagrams::new(), Vec::new());
        // The last read says that it is over.
        while wire.drain(&mut datagrams, |_, bytes| got.push(bytes.len())).is_ok() {}
        assert_eq!(got, [3, 1200]);
    }
}
