//! What sending did, as plain integers of one shard.

use crate::sfu::drop_reason::DropReason;

/// Upper bounds of the buckets of [`SendCounters::runs`], in datagrams per message.
pub const RUN_BOUNDS: [usize; 9] = [1, 2, 3, 5, 8, 12, 16, 32, 64];

/// Counts of everything a shard's sockets sent and did not send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendCounters {
    /// System calls.
    pub calls: u64,
    /// Messages the kernel took (one walk of the network stack each).
    pub messages: u64,
    /// Datagrams in them.
    pub datagrams: u64,
    /// UDP payload bytes in them.
    pub bytes: u64,
    /// Messages by number of datagrams; bucket `i` counts those up to [`RUN_BOUNDS`]`[i]`.
    pub runs: [u64; RUN_BOUNDS.len()],
    /// Times segmentation offload was halted on a socket.
    pub segmentation_halts: u64,
    /// Datagrams dropped because the kernel's buffer was full.
    pub buffer_full: u64,
    /// Datagrams the kernel would not route or a firewall refused.
    pub unreachable: u64,
    /// Datagrams larger than the path takes.
    pub too_large: u64,
    /// Datagrams refused for another reason.
    pub failed: u64,
    /// Messages written to a TCP connection or to its buffer, one or more framed datagrams each.
    pub tcp_messages: u64,
    /// Bytes of them, framing included.
    pub tcp_bytes: u64,
    /// Datagrams that a TCP connection's buffer had no room for.
    pub tcp_full: u64,
    /// Datagrams for a TCP connection that has ended.
    pub tcp_closed: u64,
    /// The `errno` behind the last count of `failed`, for a log line.
    pub last_error: Option<i32>,
}

impl SendCounters {
    /// Count one message of `datagrams` datagrams and `bytes` bytes as sent.
    pub(crate) fn sent(&mut self, datagrams: usize, bytes: usize) {
        self.messages += 1;
        self.datagrams += datagrams as u64;
        self.bytes += bytes as u64;
        let bucket = RUN_BOUNDS.iter().position(|bound| datagrams <= *bound);
        if let Some(count) = self.runs.get_mut(bucket.unwrap_or(RUN_BOUNDS.len() - 1)) {
            *count += 1;
        }
    }

    /// Datagrams not sent, by reason.
    #[must_use]
    pub const fn drops(&self) -> [(DropReason, u64); 6] {
        [
            (DropReason::SendBufferFull, self.buffer_full),
            (DropReason::SendUnreachable, self.unreachable),
            (DropReason::SendTooLarge, self.too_large),
            (DropReason::SendFailed, self.failed),
            (DropReason::TcpBufferFull, self.tcp_full),
            (DropReason::TcpClosed, self.tcp_closed),
        ]
    }
}
