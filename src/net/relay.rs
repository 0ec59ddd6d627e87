//! Rings between shards: what one shard's core has for another crosses here, once per shard and
//! flush, never once per viewer.
//!
//! One bounded single-producer ring per ordered pair, so no lock and no shared write position. A
//! full ring refuses: media that cannot cross now is late, and late is dropped.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::net::wait::Waker;

/// Messages per ring.
///
/// Trade: a shard that is 1024 frames behind is more than a second late at 30 seats; more would
/// only queue what must be dropped.
pub const RING_MESSAGES: usize = 1024;

/// One shard's ends of the rings to and from every other shard.
pub struct Relay<T> {
    /// By shard; `None` at our own index.
    outgoing: Vec<Option<Outgoing<T>>>,
    /// By shard; `None` at our own index.
    incoming: Vec<Option<Consumer<T>>>,
}

struct Outgoing<T> {
    ring: Producer<T>,
    waker: Waker,
    /// Something was pushed since the last wake.
    pushed: bool,
}

impl<T> Relay<T> {
    /// Connect every pair of shards; `wakers` has one per shard. The result has one end per shard.
    #[must_use]
    pub fn connect(wakers: &[Waker], capacity: usize) -> Vec<Self> {
        let mut ends: Vec<Self> =
            wakers.iter().map(|_| Self { outgoing: Vec::new(), incoming: Vec::new() }).collect();
        for from in 0..wakers.len() {
            for (to, waker) in wakers.iter().enumerate() {
                let (outgoing, incoming) = if from == to {
                    (None, None)
                } else {
                    let (ring, consumer) = RingBuffer::new(capacity);
                    let outgoing = Outgoing { ring, waker: waker.clone(), pushed: false };
                    (Some(outgoing), Some(consumer))
                };
                ends[from].outgoing.push(outgoing);
                ends[to].incoming.push(incoming);
            }
        }
        ends
    }

    /// Push `message` for shard `to`; it is woken by [`Self::wake`].
    ///
    /// # Errors
    /// The message back, when the ring is full or `to` is no other shard.
    pub fn push(&mut self, to: u8, message: T) -> Result<(), T> {
        let Some(Some(outgoing)) = self.outgoing.get_mut(usize::from(to)) else {
            return Err(message);
        };
        match outgoing.ring.push(message) {
            Ok(()) => {
                outgoing.pushed = true;
                Ok(())
            }
            Err(rtrb::PushError::Full(message)) => {
                // The other side may be asleep with a full ring if our last wake was lost to it.
                outgoing.pushed = true;
                Err(message)
            }
        }
    }

    /// Wake every shard something was pushed for: at most one call per shard.
    pub fn wake(&mut self) {
        for outgoing in self.outgoing.iter_mut().flatten() {
            if std::mem::take(&mut outgoing.pushed) {
                outgoing.waker.wake();
            }
        }
    }

    /// How many messages wait in each ring that has some.
    pub fn waiting(&self) -> impl Iterator<Item = u64> {
        let rings = self.incoming.iter().flatten().map(|ring| ring.slots() as u64);
        rings.filter(|messages| *messages > 0)
    }

    /// Take what the other shards pushed, at most `limit` per ring so that none starves the rest.
    /// `true` = something may be left.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(u8, T)) -> bool {
        let mut more = false;
        for (from, ring) in self.incoming.iter_mut().enumerate() {
            let Some(ring) = ring else { continue };
            for _ in 0..limit {
                let Ok(message) = ring.pop() else { break };
                each(from as u8, message);
            }
            more |= !ring.is_empty();
        }
        more
    }
}

#[cfg(test)]
mod tests;
