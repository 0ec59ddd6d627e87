//! A rate from the losses of receiver reports, for peers without transport-wide feedback.
//!
//! Follows `SendSideBandwidthEstimation::UpdatePacketsLost` and `UpdateEstimate` of libwebrtc
//! `modules/congestion_controller/goog_cc/send_side_bandwidth_estimation.cc`.

use super::Micros;

/// Up to this share of losses the rate grows, from the next one on it shrinks.
const LOW_LOSS: f64 = 0.02;
const HIGH_LOSS: f64 = 0.10;
/// Growth a second, on the least rate of the last second.
const GROWTH: f64 = 1.08;
/// Time between two decreases, beside a round trip.
const DECREASE_INTERVAL_US: Micros = 300_000;
/// A report after a longer silence grows the rate by this much time only.
const MAX_GROWTH_S: f64 = 1.0;

/// The controller of one path.
#[derive(Debug)]
pub(super) struct LossReports {
    bps: f64,
    loss: f64,
    reported: Option<Micros>,
    decreased: Option<Micros>,
}

impl LossReports {
    pub fn new(start_bps: f64) -> Self {
        Self { bps: start_bps, loss: 0.0, reported: None, decreased: None }
    }

    pub fn bps(&self) -> f64 {
        self.bps
    }

    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// The receiver estimates `bps` itself: trusted while little is lost, a limit always.
    pub fn limit(&mut self, bps: f64) {
        if self.loss <= LOW_LOSS || bps < self.bps {
            self.bps = bps;
        }
    }

    /// A report block came. `limit_bps` is what the receiver or the configuration allows.
    pub fn on_report(&mut self, now: Micros, loss: f64, rtt_us: Micros, limit_bps: f64) {
        self.loss = loss;
        let elapsed = self.reported.replace(now).map_or(0, |reported| now - reported);
        if loss <= LOW_LOSS {
            let elapsed_s = (elapsed.max(0) as f64 / 1e6).min(MAX_GROWTH_S);
            self.bps = (self.bps * GROWTH.powf(elapsed_s) + 1_000.0 * elapsed_s).min(limit_bps);
        } else if loss > HIGH_LOSS
            && self.decreased.is_none_or(|at| now - at >= DECREASE_INTERVAL_US + rtt_us)
        {
            self.decreased = Some(now);
            self.bps *= 1.0 - 0.5 * loss;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_loss_grows_some_holds_and_much_shrinks() {
        for (loss, expected) in [(0.01, 1.081e6), (0.05, 1e6), (0.2, 0.81e6)] {
            let mut reports = LossReports::new(1e6);
            reports.on_report(0, loss, 50_000, 1e7);
            reports.on_report(1_000_000, loss, 50_000, 1e7);
            assert!((reports.bps() / expected - 1.0).abs() < 1e-6, "{loss}: {}", reports.bps());
        }
    }

    #[test]
    fn a_receivers_estimate_raises_only_without_loss() {
        let mut reports = LossReports::new(1e6);
        reports.limit(2e6);
        assert_eq!(reports.bps(), 2e6);
        reports.on_report(0, 0.05, 0, 1e7);
        reports.limit(3e6);
        assert_eq!(reports.bps(), 2e6);
        reports.limit(5e5);
        assert_eq!(reports.bps(), 5e5);
    }
}
