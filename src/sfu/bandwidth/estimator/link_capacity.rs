//! What the path carried when it was full, and how far that varies.
//!
//! Follows libwebrtc `modules/congestion_controller/goog_cc/link_capacity_estimator.cc`.

/// Weight of a new sample.
const WEIGHT: f64 = 0.05;
/// Bounds of the variance over the estimate, kbit/s: 14 and 35 kbit/s of deviation at 500 kbit/s.
const MIN_DEVIATION: f64 = 0.4;
const MAX_DEVIATION: f64 = 2.5;

/// Known after the first overuse.
#[derive(Debug, Default)]
pub(super) struct LinkCapacity {
    kbps: Option<f64>,
    deviation: f64,
}

impl LinkCapacity {
    /// The estimate, bit/s.
    pub fn bps(&self) -> Option<f64> {
        Some(self.kbps? * 1e3)
    }

    /// A throughput outside of three deviations is another path.
    pub fn is_below(&self, bps: f64) -> bool {
        self.kbps.is_some_and(|kbps| bps / 1e3 > kbps + 3.0 * (self.deviation * kbps).sqrt())
    }

    /// See [`Self::is_below`].
    pub fn is_above(&self, bps: f64) -> bool {
        self.kbps.is_some_and(|kbps| bps / 1e3 < kbps - 3.0 * (self.deviation * kbps).sqrt())
    }

    pub fn forget(&mut self) {
        self.kbps = None;
    }

    /// The path was full and carried this much.
    pub fn note(&mut self, bps: f64) {
        let sample = bps / 1e3;
        let kbps = self.kbps.map_or(sample, |kbps| (1.0 - WEIGHT) * kbps + WEIGHT * sample);
        let error = kbps - sample;
        let variance = error * error / kbps.max(1.0);
        self.deviation = ((1.0 - WEIGHT) * self.deviation + WEIGHT * variance)
            .clamp(MIN_DEVIATION, MAX_DEVIATION);
        self.kbps = Some(kbps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_throughput_is_the_same_path_and_far_is_another() {
        let mut capacity = LinkCapacity::default();
        assert!(!capacity.is_below(1e9) && !capacity.is_above(0.0), "nothing is known");
        for _ in 0..10 {
            capacity.note(1e6);
        }
        assert_eq!(capacity.bps(), Some(1e6));
        assert!(!capacity.is_below(1.05e6) && capacity.is_below(1.1e6));
        assert!(!capacity.is_above(0.95e6) && capacity.is_above(0.9e6));
        capacity.forget();
        assert_eq!(capacity.bps(), None);
    }
}
