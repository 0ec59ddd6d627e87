//! What a direction did with what it was given.

use std::time::Duration;

/// Packets by fate. `sent + duplicated` is `delivered` plus [`Counts::lost`] plus what is still on
/// its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets given to `push`.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets that `poll` returned, copies included.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Larger than the MTU.
    pub lost_mtu: u64,
    /// The queue was full.
    pub lost_queue: u64,
    /// In a scheduled outage.
    pub lost_outage: u64,
    /// In a burst of the two-state model.
    pub lost_burst: u64,
    /// By plain chance.
    pub lost_random: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Held back, so that later packets could pass.
    pub held_back: u64,
    /// Packets that went through the bottleneck; [`Counts::waited`] is over these.
    pub served: u64,
    /// The sum of their times in queue and on the wire of the bottleneck.
    pub waited: Duration,
    /// The longest of them.
    pub longest_wait: Duration,
}

impl Counts {
    /// Losses of all names.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost_mtu + self.lost_queue + self.lost_outage + self.lost_burst + self.lost_random
    }

    /// The mean time at the bottleneck; zero if nothing went through.
    #[must_use]
    pub fn mean_wait(&self) -> Duration {
        self.waited.div_f64(self.served.max(1) as f64)
    }

    /// Both together, as of one longer time.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            delivered: self.delivered + other.delivered,
            delivered_bytes: self.delivered_bytes + other.delivered_bytes,
            lost_mtu: self.lost_mtu + other.lost_mtu,
            lost_queue: self.lost_queue + other.lost_queue,
            lost_outage: self.lost_outage + other.lost_outage,
            lost_burst: self.lost_burst + other.lost_burst,
            lost_random: self.lost_random + other.lost_random,
            duplicated: self.duplicated + other.duplicated,
            held_back: self.held_back + other.held_back,
            served: self.served + other.served,
            waited: self.waited + other.waited,
            longest_wait: self.longest_wait.max(other.longest_wait),
        }
    }
}
