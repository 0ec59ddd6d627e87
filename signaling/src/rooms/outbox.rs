//! What waits to be written to one client: bounded in messages and in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{mpsc, watch};

use crate::protocol::ByeReason;

/// How the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// What `bye` says.
    pub reason: ByeReason,
    /// WebSocket close code: 1000 done, 1008 policy, 1009 too big, 1012 restart, 1013 try again.
    pub code: u16,
}

impl Farewell {
    /// The client sent a message past the size limit.
    pub const TOO_LARGE: Self = Self { reason: ByeReason::ProtocolError, code: 1009 };
    /// The client went on sending past its rate.
    pub const FLOOD: Self = Self { reason: ByeReason::ProtocolError, code: 1013 };

    /// Whether the client may connect again by itself.
    #[must_use]
    pub const fn retry(self) -> bool {
        matches!(
            self.reason,
            ByeReason::SlowConsumer | ByeReason::ServerStopping | ByeReason::TokenExpired
        )
    }
}

impl From<ByeReason> for Farewell {
    fn from(reason: ByeReason) -> Self {
        let code = match reason {
            ByeReason::RoomEnded | ByeReason::MediaLost => 1000,
            ByeReason::ServerStopping => 1012,
            ByeReason::SlowConsumer => 1013,
            ByeReason::Replaced
            | ByeReason::Kicked
            | ByeReason::Banned
            | ByeReason::TokenExpired
            | ByeReason::ProtocolError => 1008,
        };
        Self { reason, code }
    }
}

/// The room's end: never waits.
#[derive(Debug, Clone)]
pub struct Outbox {
    messages: mpsc::Sender<Utf8Bytes>,
    queued: Arc<AtomicUsize>,
    max_bytes: usize,
    bye: watch::Sender<Option<Farewell>>,
}

/// The writer's end.
#[derive(Debug)]
pub struct OutboxReader {
    messages: mpsc::Receiver<Utf8Bytes>,
    queued: Arc<AtomicUsize>,
    bye: watch::Receiver<Option<Farewell>>,
}

impl Outbox {
    /// An outbox for `messages` messages and `bytes` bytes.
    #[must_use]
    pub fn new(messages: usize, bytes: usize) -> (Self, OutboxReader) {
        let (sender, receiver) = mpsc::channel(messages);
        let queued = Arc::new(AtomicUsize::new(0));
        let (bye, farewell) = watch::channel(None);
        let outbox = Self { messages: sender, queued: queued.clone(), max_bytes: bytes, bye };
        (outbox, OutboxReader { messages: receiver, queued, bye: farewell })
    }

    /// Queue one message. When it does not fit the connection is told to end with
    /// `slow_consumer`; it will resume, and what it missed is in its next snapshot.
    pub fn push(&self, message: Utf8Bytes) -> bool {
        let size = message.len();
        let before = self.queued.fetch_add(size, Ordering::AcqRel);
        if before + size <= self.max_bytes && self.messages.try_send(message).is_ok() {
            return true;
        }
        self.queued.fetch_sub(size, Ordering::AcqRel);
        self.close(ByeReason::SlowConsumer);
        false
    }

    /// End the connection after what is queued now; the first reason stays.
    pub fn close(&self, how: impl Into<Farewell>) {
        let farewell = how.into();
        self.bye.send_if_modified(|bye| {
            let first = bye.is_none();
            bye.get_or_insert(farewell);
            first
        });
    }

    /// Whether the connection is ending or gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.messages.is_closed() || self.bye.borrow().is_some()
    }
}

impl OutboxReader {
    /// The next message; `None` when every [`Outbox`] is gone.
    pub async fn next(&mut self) -> Option<Utf8Bytes> {
        let message = self.messages.recv().await?;
        self.queued.fetch_sub(message.len(), Ordering::AcqRel);
        Some(message)
    }

    /// A message that is queued already.
    pub fn try_next(&mut self) -> Option<Utf8Bytes> {
        let message = self.messages.try_recv().ok()?;
        self.queued.fetch_sub(message.len(), Ordering::AcqRel);
        Some(message)
    }

    /// A receiver that sees the reason to end.
    #[must_use]
    pub fn farewell(&self) -> watch::Receiver<Option<Farewell>> {
        self.bye.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_at_the_limit_and_one_more() {
        let (outbox, mut reader) = Outbox::new(3, 1000);
        assert!((0..3).all(|_| outbox.push("x".into())));
        assert!(!outbox.is_closed());
        assert!(!outbox.push("x".into()));
        assert_eq!(*reader.farewell().borrow(), Some(ByeReason::SlowConsumer.into()));
        assert!(reader.try_next().is_some());
    }

    #[test]
    fn bytes_at_the_limit_and_one_more() {
        let (outbox, mut reader) = Outbox::new(100, 10);
        assert!(outbox.push("12345".into()));
        assert!(outbox.push("12345".into()));
        assert!(reader.try_next().is_some());
        assert!(outbox.push("12345".into()), "reading makes room");
        assert!(!outbox.push("1".into()));
    }

    #[test]
    fn the_first_reason_stays() {
        let (outbox, reader) = Outbox::new(1, 10);
        outbox.close(ByeReason::Kicked);
        outbox.close(ByeReason::SlowConsumer);
        assert_eq!(*reader.farewell().borrow(), Some(ByeReason::Kicked.into()));
    }
}
