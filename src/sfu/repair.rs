//! How much one viewer's slot may ask for again.

use std::time::{Duration, Instant};

use super::drop_reason::DropReason;

/// Retransmissions per second and viewer. Trade: repairs 4 % loss of a 2 500 packets/s stream, and
/// a NACK storm buys an attacker no more than this.
const PER_SECOND: f64 = 100.0;
/// Share of a viewer's media bytes that may be spent on retransmissions.
const SHARE: f64 = 0.25;
/// Bytes a new viewer starts with: one key frame of a 2.5 Mbit/s stream.
const START_BYTES: f64 = 64.0 * 1024.0;
/// Wait between two retransmissions of one packet while the round trip is unknown.
const INTERVAL: Duration = Duration::from_millis(40);
/// Recently repaired numbers remembered per viewer.
const MEMORY: usize = 64;

/// Retransmission budget and memory; made at a viewer's first NACK.
#[derive(Debug)]
pub struct Repair {
    packets: f64,
    bytes: f64,
    refilled: Instant,
    octets_at_refill: u64,
    recent: [(u64, Instant); MEMORY],
    next: usize,
}

impl Repair {
    /// A full budget for a slot that has sent `octets` of media.
    #[must_use]
    pub fn new(now: Instant, octets: u64) -> Self {
        Self {
            packets: PER_SECOND,
            bytes: START_BYTES,
            refilled: now,
            octets_at_refill: octets,
            recent: [(u64::MAX, now); MEMORY],
            next: 0,
        }
    }

    /// Take one retransmission of `bytes` of packet `index` from the budget of a slot that has sent
    /// `octets` of media.
    ///
    /// # Errors
    /// `nack_repeated` within a round trip, `nack_budget` when it is used up.
    pub fn spend(
        &mut self,
        now: Instant,
        index: u64,
        bytes: usize,
        octets: u64,
        round_trip: Option<Duration>,
    ) -> Result<(), DropReason> {
        let interval = round_trip.unwrap_or(INTERVAL);
        let repeated = self
            .recent
            .iter()
            .any(|(i, at)| *i == index && now.saturating_duration_since(*at) < interval);
        if repeated {
            return Err(DropReason::NackRepeated);
        }
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.packets = (self.packets + elapsed * PER_SECOND).min(PER_SECOND);
        let media = (octets - self.octets_at_refill) as f64;
        self.octets_at_refill = octets;
        self.bytes = (self.bytes + media * SHARE).min(START_BYTES);
        if self.packets < 1.0 || self.bytes < bytes as f64 {
            return Err(DropReason::NackBudget);
        }
        self.packets -= 1.0;
        self.bytes -= bytes as f64;
        self.recent[self.next] = (index, now);
        self.next = (self.next + 1) % MEMORY;
        Ok(())
    }
}
