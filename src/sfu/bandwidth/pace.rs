//! How fast what a viewer is sent leaves: whole messages, never single packets, so that a burst of equal
//! packets stays one call into the kernel.
//!
//! After the pacing controller of libwebrtc (`modules/pacing/pacing_controller.cc`), whose bursts are as long.

use std::time::{Duration, Instant};

/// Times the estimate. libwebrtc has 2.5, and an encoder that keeps key frames small; what is forwarded here may be ten
/// times a frame. Trade: at 1.5 a queue of 100 ms takes it, and a viewer has caught up again after twice the time.
const FACTOR: f64 = 1.5;

/// What may leave ahead of its time. Trade: a frame of twice the usual size, or of two slabs at 4 Mbit/s, is never held,
/// so that steady media needs no timer; a queue in the network must hold this much and one slab.
const BURST: Duration = Duration::from_millis(20);

/// When what was sent would have left at the pace, and so when more may follow.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    clear_at: Instant,
    /// Nanoseconds a byte takes; 0 = at once.
    byte_ns: f64,
}

impl Pace {
    /// No pace yet: everything leaves at once.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { clear_at: now, byte_ns: 0.0 }
    }

    /// The network takes `bps` (bit/s).
    pub fn follow(&mut self, bps: u64) {
        self.byte_ns = 8e9 / (FACTOR * bps.max(1) as f64);
    }

    /// `bytes` leave now.
    pub fn note(&mut self, now: Instant, bytes: usize) {
        let takes = Duration::from_nanos((bytes as f64 * self.byte_ns) as u64);
        self.clear_at = self.clear_at.max(now) + takes;
    }

    /// Nothing leaves before then.
    pub fn hold(&mut self, until: Instant) {
        self.clear_at = self.clear_at.max(until + BURST);
    }

    /// What was held, or sent too early, is over.
    pub fn release(&mut self, now: Instant) {
        self.clear_at = self.clear_at.min(now);
    }

    /// When the next message may leave; it may now if that is not later.
    #[must_use]
    pub fn next(&self) -> Instant {
        self.clear_at.checked_sub(BURST).unwrap_or(self.clear_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that leave within `time`, in messages of 16 packets, if there is always more.
    fn sent(bps: u64, time: Duration) -> usize {
        #[expect(clippy::disallowed_methods, reason = "some start of virtual time")]
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.follow(bps);
        let mut bytes = 0;
        let mut now = start;
        while now < start + time {
            bytes += 19_200;
            pace.note(now, 19_200);
            now = now.max(pace.next());
        }
        bytes
    }

    #[test]
    fn a_long_burst_leaves_at_half_as_much_again_as_the_estimate() {
        // 19 200 bytes take 20.5 ms at 7.5 Mbit/s, 10.2 at 15.
        assert_eq!(sent(5_000_000, Duration::from_micros(400)), 19_200);
        assert_eq!(sent(10_000_000, Duration::from_micros(400)), 2 * 19_200);
        let second = sent(2_500_000, Duration::from_secs(1)) as f64 * 8.0;
        assert!((3_750_000.0..4_100_000.0).contains(&second), "{second} bit/s");
    }

    #[test]
    fn without_an_estimate_nothing_waits() {
        #[expect(clippy::disallowed_methods, reason = "some start of virtual time")]
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.note(start, 10_000_000);
        assert!(pace.next() <= start);
    }
}
