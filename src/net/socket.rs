//! What every UDP socket of a shard has in common, on all systems.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Protocol, Type};

/// Kernel buffers of one socket, in bytes.
///
/// Trade: a 12 KB run fills the usual default of 212 992 bytes after about fifteen viewers, and
/// what does not fit is dropped; too much lets a slow device queue media that is already late.
/// 4 MiB is 30 ms of a 1 Gbit/s link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferSizes {
    /// `SO_SNDBUF`.
    pub send: usize,
    /// `SO_RCVBUF`.
    pub receive: usize,
}

impl Default for BufferSizes {
    fn default() -> Self {
        Self { send: 4 << 20, receive: 4 << 20 }
    }
}

/// Where a datagram came from, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The sender.
    pub remote: SocketAddr,
    /// When the kernel received it, in ns since the Unix epoch; `None` where it does not say.
    pub stamp: Option<u64>,
}

/// Open and bind a non-blocking UDP socket with large buffers.
pub(crate) fn open(address: SocketAddr, sizes: BufferSizes) -> io::Result<socket2::Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Too small is a warning and a metric, not a reason not to start.
    let _ = socket.set_send_buffer_size(sizes.send);
    let _ = socket.set_recv_buffer_size(sizes.receive);
    socket.bind(&address.into())?;
    warn_if_small(&socket, sizes);
    Ok(socket)
}

/// Whether the warning about small buffers was given.
static WARNED: AtomicBool = AtomicBool::new(false);

/// Say once per process, not once per shard and address, which settings limit the buffers.
fn warn_if_small(socket: &socket2::Socket, wanted: BufferSizes) {
    let given = [
        ("wmem_max", socket.send_buffer_size(), wanted.send),
        ("rmem_max", socket.recv_buffer_size(), wanted.receive),
    ];
    // Linux reports twice what it grants, to pay for its own bookkeeping.
    let share = if cfg!(target_os = "linux") { 2 } else { 1 };
    let small: Vec<String> = given
        .into_iter()
        .filter(|(_, given, wanted)| given.as_ref().is_ok_and(|given| given / share < *wanted))
        .map(|(setting, _, wanted)| format!("net.core.{setting}={wanted}"))
        .collect();
    if !small.is_empty() && !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "the system limits UDP buffers, so media may be dropped under load; allow more with: \
             sysctl -w {}",
            small.join(" ")
        );
    }
}
