//! What one publisher may send, in bits and in packets.

use std::time::{Duration, Instant};

/// Abuse for this long ends the transport.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two token buckets, one second deep.
#[derive(Debug)]
pub struct Policer {
    bytes_per_second: f64,
    packets_per_second: f64,
    bytes: f64,
    packets: f64,
    refilled: Instant,
    /// Since when packets have been refused without a second of peace.
    over_since: Option<Instant>,
    last_refused: Instant,
}

/// The policer's word on a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Inside the limits.
    Pass,
    /// Over a limit: discard.
    Discard,
    /// Over a limit for ten seconds: end the transport.
    Abuse,
}

impl Policer {
    /// Full buckets.
    #[must_use]
    pub fn new(now: Instant, bits_per_second: u64, packets_per_second: u32) -> Self {
        let bytes_per_second = bits_per_second as f64 / 8.0;
        let packets_per_second = f64::from(packets_per_second);
        Self {
            bytes_per_second,
            packets_per_second,
            bytes: bytes_per_second,
            packets: packets_per_second,
            refilled: now,
            over_since: None,
            last_refused: now,
        }
    }

    /// Account for a packet of `bytes`.
    pub fn admit(&mut self, now: Instant, bytes: usize) -> Verdict {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.bytes = (self.bytes + elapsed * self.bytes_per_second).min(self.bytes_per_second);
        self.packets =
            (self.packets + elapsed * self.packets_per_second).min(self.packets_per_second);
        if self.bytes >= bytes as f64 && self.packets >= 1.0 {
            self.bytes -= bytes as f64;
            self.packets -= 1.0;
            return Verdict::Pass;
        }
        if now.saturating_duration_since(self.last_refused) > Duration::from_secs(1) {
            self.over_since = None;
        }
        self.last_refused = now;
        let since = *self.over_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= PATIENCE {
            Verdict::Abuse
        } else {
            Verdict::Discard
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::*;

    #[test]
    fn limit_passes_and_one_more_does_not() {
        let now = Instant::now();
        let mut policer = Policer::new(now, 8_000_000, 2_500);
        for _ in 0..2_500 {
            assert_eq!(policer.admit(now, 100), Verdict::Pass);
        }
        assert_eq!(policer.admit(now, 100), Verdict::Discard);
        assert_eq!(policer.admit(now + Duration::from_secs(1), 100), Verdict::Pass);

        let mut policer = Policer::new(now, 8_000_000, 2_500);
        assert_eq!(policer.admit(now, 1_000_000), Verdict::Pass);
        assert_eq!(policer.admit(now, 1), Verdict::Discard);
    }

    #[test]
    fn only_lasting_excess_is_abuse() {
        let mut now = Instant::now();
        let mut policer = Policer::new(now, 8_000, 1);
        let mut verdict = Verdict::Pass;
        for _ in 0..1_100 {
            now += Duration::from_millis(10);
            verdict = policer.admit(now, 900);
        }
        assert_eq!(verdict, Verdict::Abuse);
        now += Duration::from_secs(5);
        policer.admit(now, 900);
        assert_eq!(policer.admit(now, 900), Verdict::Discard);
    }
}
