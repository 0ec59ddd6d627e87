//! Which messages stand in a queue that one burst made: a probe, or a key frame.
//!
//! Not in libwebrtc, whose pacer keeps media back behind a probe and spreads a key frame. We do
//! neither, so for a moment a queue is there that says nothing of the rate; a detector that saw it
//! would call every probe an overuse.

use super::{MessageArrival, Micros};

/// What is sent within this time behind a probe waits for it. Trade: an overuse that begins just then
/// is noticed so much later.
const PROBE_US: Micros = 150_000;
/// A burst that takes the path longer than this is more than a frame at a rate that the path carries:
/// two frames at 30 a second.
const LARGE_US: f64 = 66_000.0;
/// Its queue empties in this many times as long, beside the media that goes on, up to a limit.
const DRAIN: f64 = 2.0;
const MAX_DRAIN_US: f64 = 500_000.0;
/// Time between two large bursts; if all are large, the rate is too high, and that must be seen.
const REST_US: Micros = 500_000;

/// The burst of one path whose queue may not be empty yet.
#[derive(Debug, Default)]
pub(super) struct Echo {
    until: Micros,
    large_sent: Micros,
    rested: Micros,
    burst_sent: Micros,
    burst_bytes: u32,
}

impl Echo {
    /// The message waits, or waited, for a burst before it or is part of one. `bps` is the estimate.
    pub fn covers(&mut self, message: &MessageArrival, bps: f64) -> bool {
        if message.probe.is_some() {
            self.until = self.until.max(message.sent + PROBE_US);
        }
        if message.sent != self.burst_sent {
            self.burst_sent = message.sent;
            self.burst_bytes = 0;
        }
        let covered = message.sent < self.until;
        self.burst_bytes = self.burst_bytes.saturating_add(message.bytes);
        let takes_us = f64::from(self.burst_bytes) * 8e6 / bps.max(1.0);
        let same = message.sent == self.large_sent;
        if takes_us > LARGE_US && (same || message.sent >= self.rested) {
            let until = message.sent + (takes_us * DRAIN).min(MAX_DRAIN_US) as Micros;
            self.large_sent = message.sent;
            self.rested = until + REST_US;
            self.until = self.until.max(until);
        }
        covered
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sent::ProbeId;
    use super::*;

    const BPS: f64 = 4e6;

    fn covers(echo: &mut Echo, sent_ms: i64, bytes: u32, probe: Option<ProbeId>) -> bool {
        let sent = sent_ms * 1000;
        echo.covers(&MessageArrival { sent, bytes, probe, ..MessageArrival::default() }, BPS)
    }

    #[test]
    fn media_behind_a_probe_is_covered_and_other_media_is_not() {
        let mut echo = Echo::default();
        let id = Some(ProbeId::next(None));
        assert!(!covers(&mut echo, 100, 16_000, None));
        assert!(covers(&mut echo, 120, 2_000, id));
        assert!(covers(&mut echo, 133, 16_000, None));
        assert!(covers(&mut echo, 269, 16_000, None));
        assert!(!covers(&mut echo, 271, 16_000, None));
    }

    #[test]
    fn media_behind_a_key_frame_in_several_messages_is_covered() {
        let mut echo = Echo::default();
        assert!(!covers(&mut echo, 100, 48_000, None), "it waits for nothing itself");
        assert!(covers(&mut echo, 100, 32_000, None), "behind its own first half");
        // 80 kB take 160 ms.
        assert!(covers(&mut echo, 400, 16_000, None));
        assert!(!covers(&mut echo, 433, 16_000, None));
    }

    #[test]
    fn a_rate_that_is_too_high_is_not_covered_for_good() {
        let mut echo = Echo::default();
        let frames = 300;
        let covered = (0..frames).filter(|frame| covers(&mut echo, frame * 100, 50_000, None));
        let covered = covered.count();
        assert!(covered < frames as usize * 2 / 5, "{covered} of {frames}");
    }
}
