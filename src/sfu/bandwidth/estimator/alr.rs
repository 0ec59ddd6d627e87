//! Application limited region: do we send less than we may? Then a quiet path proves nothing.
//!
//! Follows libwebrtc `modules/congestion_controller/goog_cc/alr_detector.cc` with the budget of
//! `modules/pacing/interval_budget.cc`, counted once for each feedback instead of for each packet.

use super::Micros;

/// Share of the estimate that counts as using it.
const USAGE: f64 = 0.65;
/// How much unused budget begins the region, and how much of it used again ends it.
const START: f64 = 0.80;
const STOP: f64 = 0.50;
/// What the budget holds, in seconds of the rate.
const WINDOW_S: f64 = 0.5;

/// The detector of one path.
#[derive(Debug)]
pub(super) struct AlrDetector {
    target_bps: f64,
    /// Bytes that could have been sent and were not, or the other way round.
    budget: f64,
    counted: Option<(Micros, u64)>,
    started: Option<Micros>,
}

impl AlrDetector {
    pub fn new(estimate_bps: f64) -> Self {
        Self { target_bps: estimate_bps * USAGE, budget: 0.0, counted: None, started: None }
    }

    pub fn set_estimate(&mut self, bps: f64) {
        self.target_bps = bps * USAGE;
    }

    /// Since when the source has been the limit.
    pub fn started(&self) -> Option<Micros> {
        self.started
    }

    /// `sent_bytes` were ever sent at `now`.
    pub fn update(&mut self, now: Micros, sent_bytes: u64) {
        let Some((before, bytes)) = self.counted.replace((now, sent_bytes)) else { return };
        let limit = self.target_bps / 8.0 * WINDOW_S;
        let elapsed_s = (now - before).max(0) as f64 / 1e6;
        let spent = sent_bytes.saturating_sub(bytes) as f64;
        self.budget =
            (self.budget - spent + self.target_bps / 8.0 * elapsed_s).clamp(-limit, limit);
        let level = self.budget / limit.max(1.0);
        if level > START && self.started.is_none() {
            self.started = Some(now);
        } else if level < STOP {
            self.started = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_estimate_is_application_limited_and_three_quarters_are_not() {
        for (share, limited) in [(0.5, true), (0.75, false)] {
            let mut alr = AlrDetector::new(1e6);
            for tick in 0..100 {
                let now = tick * 50_000;
                alr.update(now, (share * 1e6 / 8.0 * now as f64 / 1e6) as u64);
            }
            assert_eq!(alr.started().is_some(), limited, "{share}");
        }
    }

    #[test]
    fn using_it_again_ends_the_region() {
        let mut alr = AlrDetector::new(1e6);
        for tick in 0..100 {
            alr.update(tick * 50_000, 0);
        }
        assert!(alr.started().is_some());
        alr.update(5_000_000, 40_000);
        assert_eq!(alr.started(), None);
    }
}
