//! What shards say to each other. A publication's packets cross once per shard, not per viewer.
//!
//! The rings are bounded and may drop, so nothing here is lost for good: slabs are media (late is
//! dropped), and `Want` is repeated every second while it holds.

use std::sync::Arc;

use signaling::media::TransportId;

use super::bandwidth::allocation::Layers;
use super::slab::{PublicationId, Slab};

/// NTP and RTP time of the same instant, from a publisher's sender report (RFC 3550 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockPair {
    /// NTP time, 32.32 fixed point, on the publisher's clock.
    pub ntp: u64,
    /// RTP timestamp in the publication's own numbering.
    pub rtp: u32,
}

/// From one shard to another.
#[derive(Debug, Clone)]
pub enum RelayMessage {
    /// The sender has viewers of this publication of yours: send its slabs for three seconds.
    Want(PublicationId),
    /// The sender has no viewers of it any more.
    Unwant(PublicationId),
    /// A viewer of the sender needs a key frame.
    KeyFrame(PublicationId),
    /// A flushed part of a frame.
    Slab(Arc<Slab>),
    /// A sound packet that may wait for the video frame which is about to come.
    Rider(Arc<Slab>),
    /// What the layers of a transport's video cost now.
    Layers(TransportId, Box<Layers>),
    /// A sender report arrived.
    Clock(PublicationId, ClockPair),
}
