//! What a connection has to send and the kernel does not take yet: bounded, and whole datagrams only.

/// Memory kept by an empty backlog, so that a path that stalls now and then does not allocate each time.
const KEPT: usize = 32 * 1024;

/// Bytes waiting for a connection. The beginning may be the rest of a datagram that the kernel took in
/// part, which must go out whatever else is dropped: the other end has no way to find the next length.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// Bytes at the front that are sent.
    sent: usize,
}

impl Backlog {
    /// What waits, oldest first.
    pub(super) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Keep the rest of what the kernel took in part. Only for an empty backlog, so bounded by one
    /// message beyond any limit.
    pub(super) fn keep_rest(&mut self, rest: &[u8]) {
        debug_assert!(self.is_empty(), "the rest would come behind something else");
        self.bytes.extend_from_slice(rest);
    }

    /// Add whole framed datagrams if they fit below `limit`; `false` = dropped.
    pub(super) fn offer(&mut self, framed: &[u8], limit: usize) -> bool {
        if self.waiting().len() + framed.len() > limit {
            return false;
        }
        // Moving is paid at most once for each byte that was sent.
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(framed);
        true
    }

    /// The kernel took `count` of [`Self::waiting`].
    pub(super) fn took(&mut self, count: usize) {
        self.sent = (self.sent + count).min(self.bytes.len());
        if self.is_empty() {
            self.sent = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::tcp::framing;

    #[test]
    fn at_the_limit_and_one_byte_more() {
        let mut backlog = Backlog::default();
        assert!(backlog.offer(&[1; 60], 100) && backlog.offer(&[2; 40], 100));
        assert!(!backlog.offer(&[3], 100));
        assert_eq!(backlog.waiting().len(), 100);
        backlog.took(1);
        assert!(backlog.offer(&[4], 100) && !backlog.offer(&[5], 100));
        backlog.took(100);
        assert!(backlog.is_empty() && backlog.waiting().is_empty());
    }

    #[test]
    fn a_large_backlog_gives_its_memory_back() {
        let mut backlog = Backlog::default();
        assert!(backlog.offer(&vec![0; 1 << 20], 1 << 20));
        backlog.took(1 << 20);
        assert!(backlog.bytes.capacity() <= KEPT);
    }

    proptest! {
        /// However the kernel takes it, the other end reads whole messages in order, some dropped.
        #[test]
        fn a_stream_never_breaks_inside_a_datagram(
            steps in proptest::collection::vec((1usize..900, 0usize..1500), 1..200),
            limit in 500usize..3000,
        ) {
            let (mut backlog, mut wire) = (Backlog::default(), Vec::new());
            for (number, (len, room)) in steps.iter().enumerate() {
                let mut framed = Vec::new();
                framing::frame(&mut framed, &vec![number as u8; *len], 300);
                let mut room = *room;
                if backlog.is_empty() {
                    let now = room.min(framed.len());
                    wire.extend_from_slice(&framed[..now]);
                    backlog.keep_rest(&framed[now..]);
                    room -= now;
                } else {
                    backlog.offer(&framed, limit);
                }
                let more = room.min(backlog.waiting().len());
                wire.extend_from_slice(&backlog.waiting()[..more]);
                backlog.took(more);
                // The rest of the largest message may be more than a small limit.
                prop_assert!(backlog.waiting().len() <= limit.max(906));
            }
            wire.extend_from_slice(backlog.waiting());
            let len = wire.len();
            let mut before = 0;
            let taken = framing::split(&mut wire, |datagram| {
                assert!(datagram.iter().all(|byte| *byte == datagram[0]));
                assert!(datagram[0] >= before);
                before = datagram[0];
            });
            prop_assert_eq!(taken, Ok(len));
        }
    }
}
