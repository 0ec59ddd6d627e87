//! A network path as a pure model: seeded, with time as an argument, for any kind of packet.
//!
//! ```text
//! push -> MTU -> queue (tail drop) -> rate -> outage | burst | random loss
//!      -> delay + jitter -> order, held back, duplicates -> poll
//! ```
//! What is lost on the way has taken its share of the rate before, as on a radio link behind a
//! bottleneck: capacity cannot be won by losing. Kernel netem does not exist on every machine;
//! this model runs anywhere, under virtual time in tests and under real time in `examples/link`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, reason = "a core")]

mod conditions;
mod counts;
mod direction;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub use conditions::{Burst, Conditions, Queue};
pub use counts::Counts;
pub use direction::Direction;

/// Both directions of a path; each has conditions and randomness of its own.
#[derive(Debug)]
pub struct Link<P> {
    /// From the client to the server.
    pub up: Direction<P>,
    /// From the server to the client.
    pub down: Direction<P>,
}

impl<P> Link<P> {
    /// A path whose losses and jitter follow from `seed` and from what is sent when.
    #[must_use]
    pub fn new(seed: u64, up: Conditions, down: Conditions) -> Self {
        // The two directions must not lose the same packets.
        let (first, second) = (seed.wrapping_mul(2), seed.wrapping_mul(2).wrapping_add(1));
        Self { up: Direction::new(first, up), down: Direction::new(second, down) }
    }

    /// The same conditions both ways.
    #[must_use]
    pub fn symmetric(seed: u64, conditions: Conditions) -> Self {
        Self::new(seed, conditions, conditions)
    }

    /// When to poll next, whichever direction is first; `None` while nothing is on its way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.up.poll_timeout(), self.down.poll_timeout()].into_iter().flatten().min()
    }
}
