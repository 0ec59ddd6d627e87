//! A probe on its way: how much is due when.
//!
//! Follows libwebrtc `modules/pacing/bitrate_prober.cc`.

use std::time::{Duration, Instant};

use super::Probe;

/// A probe whose turn comes this much too late is ended: its rate would be another one.
const MAX_DELAY: Duration = Duration::from_millis(50);
/// Most that is due at once: one message of the network path.
const MAX_BURST_BYTES: u64 = 64_000;

/// Sends a [`Probe`] in bursts. Whoever drives it asks [`Self::due`] at [`Self::next`], and counts
/// what was sent, media included.
#[derive(Debug, Clone, Copy)]
pub struct ProbePacer {
    probe: Probe,
    started: Instant,
    burst: u32,
    bytes: u64,
    packets: u32,
}

impl ProbePacer {
    /// Begins with a burst at `now`.
    #[must_use]
    pub fn new(now: Instant, probe: Probe) -> Self {
        Self { probe, started: now, burst: 0, bytes: 0, packets: 0 }
    }

    /// What is sent.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// When the next burst is due; `None` when all is sent.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let done = self.bytes >= u64::from(self.probe.bytes)
            && self.packets >= u32::from(self.probe.min_packets);
        (!done).then(|| self.started + self.probe.interval * self.burst)
    }

    /// Bytes to send at `now`, one burst; `None` when it is not time. A probe that was held up is over:
    /// see [`Self::next`].
    pub fn due(&mut self, now: Instant) -> Option<usize> {
        let at = self.next().filter(|at| *at <= now)?;
        if now - at > MAX_DELAY {
            self.bytes = u64::from(self.probe.bytes);
            self.packets = u32::from(self.probe.min_packets);
            return None;
        }
        // A burst carries the interval until the next one.
        let until = now.saturating_duration_since(self.started) + self.probe.interval;
        let total = (until.as_micros() as u64).saturating_mul(self.probe.target_bps) / 8_000_000;
        let passed = now.saturating_duration_since(self.started).as_nanos()
            / self.probe.interval.as_nanos().max(1);
        self.burst = passed as u32 + 1;
        Some(total.saturating_sub(self.bytes).min(MAX_BURST_BYTES) as usize)
    }

    /// This much went out, whatever it was.
    pub fn sent(&mut self, bytes: usize, packets: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.packets = self.packets.saturating_add(packets as u32);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::super::super::super::sent::ProbeId;
    use super::*;

    fn probe() -> Probe {
        Probe {
            id: ProbeId::next(None),
            target_bps: 4_000_000,
            bytes: 7_500,
            min_packets: 5,
            interval: Duration::from_millis(5),
        }
    }

    #[test]
    fn bursts_make_the_rate() {
        let start = Instant::now();
        let mut pacer = ProbePacer::new(start, probe());
        let (mut total, mut last) = (0, start);
        while let Some(at) = pacer.next() {
            let due = pacer.due(at).expect("it is time");
            let packets = due.div_ceil(1200);
            pacer.sent(packets * 1200, packets);
            total += packets * 1200;
            last = at;
        }
        assert_eq!(last - start, Duration::from_millis(10));
        // Whole packets make it a little more than asked for.
        let rate = (total - 2400) as f64 * 8.0 / 0.010;
        assert!((1.0..1.25).contains(&(rate / 4e6)), "{rate}");
    }

    #[test]
    fn media_sent_meanwhile_counts_and_a_late_turn_ends_it() {
        let start = Instant::now();
        let mut pacer = ProbePacer::new(start, probe());
        assert_eq!(pacer.due(start), Some(2500));
        assert_eq!(pacer.due(start + Duration::from_millis(1)), None);
        pacer.sent(6_000, 5);
        assert_eq!(pacer.due(start + Duration::from_millis(5)), Some(0));
        pacer.sent(1_500, 1);
        assert_eq!(pacer.next(), None);
        let mut pacer = ProbePacer::new(start, probe());
        assert_eq!(pacer.due(start + Duration::from_millis(51)), None);
        assert_eq!(pacer.next(), None);
    }
}
