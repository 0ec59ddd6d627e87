//! Does the trend mean that we send too much?
//!
//! Follows `TrendlineEstimator::Detect` and `UpdateThreshold` of libwebrtc
//! `modules/congestion_controller/goog_cc/trendline_estimator.cc`. The threshold adapts so that a
//! path with jitter, or a flow beside ours that fills queues, does not starve us.
//!
//! Not in libwebrtc: a plunge. Its line through twenty smoothed delays needs four frames to see that a path takes a sixth
//! of what it did; by then 300 ms are in the queue, and the picture that replaces what does not fit waits behind them.

use super::Micros;
use super::arrival_groups::Deltas;

/// Amplifies the slope.
const GAIN: f64 = 4.0;
/// Groups until the slope counts in full.
const FULL_TRUST_GROUPS: u16 = 60;
/// An overuse must last this long.
const OVERUSE_MS: f64 = 10.0;
/// Speeds at which the threshold follows the trend, per millisecond.
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// Where it begins and how far it goes.
const FIRST_THRESHOLD: f64 = 12.5;
const MIN_THRESHOLD: f64 = 6.0;
const MAX_THRESHOLD: f64 = 600.0;
/// A trend so far above it is a sudden drop of capacity, not something to get used to.
const MAX_ADAPT_OFFSET: f64 = 15.0;
/// Longest time one step of adaptation covers.
const MAX_STEP_US: Micros = 100_000;

/// A plunge of the path: groups in a row that each came so much later after the one before than it was sent,
const PLUNGE_STEP_MS: f64 = 25.0;
const PLUNGE_STEPS: u8 = 2;
/// and together by so much. Trade: jitter takes back what it added with the next group, so two steps are enough; a path
/// that lost less than half of what it carried is left to the trend.
const PLUNGE_MS: f64 = 100.0;

/// What the delay says about our rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Usage {
    /// The queue keeps its length.
    #[default]
    Normal,
    /// It grows: we send more than the path carries.
    Over,
    /// It empties: not the time for more.
    Under,
}

/// The detector of one path.
#[derive(Debug)]
pub(super) struct OveruseDetector {
    threshold: f64,
    groups: u16,
    previous_slope: f64,
    /// How long the trend has been above the threshold, and for how many groups.
    over_ms: Option<f64>,
    over_groups: u16,
    adapted: Option<Micros>,
    /// The steps of what may be a plunge, and how far they go together.
    steps: u8,
    steps_ms: f64,
    usage: Usage,
}

impl OveruseDetector {
    pub fn new() -> Self {
        Self {
            threshold: FIRST_THRESHOLD,
            groups: 0,
            previous_slope: 0.0,
            over_ms: None,
            over_groups: 0,
            adapted: None,
            steps: 0,
            steps_ms: 0.0,
            usage: Usage::Normal,
        }
    }

    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// One more group: `slope` with it.
    pub fn detect(&mut self, slope: f64, deltas: &Deltas) -> Usage {
        let Deltas { sent_ms, arrival_ms, arrival } = *deltas;
        let plunges = self.plunges(arrival_ms - sent_ms);
        self.groups = (self.groups + 1).min(FULL_TRUST_GROUPS);
        if self.groups < 2 {
            return self.usage;
        }
        let trend = f64::from(self.groups) * slope * GAIN;
        if trend > self.threshold {
            // At first we assume half of the time since the last group.
            let over_ms = self.over_ms.map_or(sent_ms / 2.0, |over| over + sent_ms);
            self.over_ms = Some(over_ms);
            self.over_groups = self.over_groups.saturating_add(1);
            if over_ms > OVERUSE_MS && self.over_groups > 1 && slope >= self.previous_slope {
                self.over_ms = Some(0.0);
                self.over_groups = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_ms = None;
            self.over_groups = 0;
            self.usage = if trend < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        if plunges {
            self.usage = Usage::Over;
        }
        self.previous_slope = slope;
        self.adapt(trend.abs(), arrival);
        self.usage
    }

    /// The group came so much later than the one before; whether the path has plunged.
    fn plunges(&mut self, later_ms: f64) -> bool {
        if later_ms < PLUNGE_STEP_MS {
            (self.steps, self.steps_ms) = (0, 0.0);
            return false;
        }
        self.steps = self.steps.saturating_add(1);
        self.steps_ms += later_ms;
        self.steps >= PLUNGE_STEPS && self.steps_ms >= PLUNGE_MS
    }

    fn adapt(&mut self, trend: f64, arrival: Micros) {
        let before = self.adapted.replace(arrival).unwrap_or(arrival);
        if trend > self.threshold + MAX_ADAPT_OFFSET {
            return;
        }
        let speed = if trend < self.threshold { THRESHOLD_DOWN } else { THRESHOLD_UP };
        let step_ms = (arrival - before).clamp(0, MAX_STEP_US) as f64 / 1e3;
        // Groups a frame apart would make it fall through the trend and swing.
        let share = (speed * step_ms).min(1.0);
        let threshold = self.threshold + share * (trend - self.threshold);
        self.threshold = threshold.clamp(MIN_THRESHOLD, MAX_THRESHOLD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(detector: &mut OveruseDetector, from: i64, slopes: &[f64]) -> Usage {
        let mut usage = detector.usage();
        for (group, slope) in slopes.iter().enumerate() {
            let arrival = from + group as i64 * 33_000;
            usage = detector.detect(*slope, &Deltas { sent_ms: 33.0, arrival_ms: 33.0, arrival });
        }
        usage
    }

    #[test]
    fn a_growing_queue_is_overuse_and_an_emptying_one_is_not() {
        let mut detector = OveruseDetector::new();
        assert_eq!(run(&mut detector, 0, &[0.0; 60]), Usage::Normal);
        assert_eq!(run(&mut detector, 2_000_000, &[0.1]), Usage::Normal, "one group is chance");
        assert_eq!(run(&mut detector, 2_033_000, &[0.12]), Usage::Over);
        assert_eq!(run(&mut detector, 2_066_000, &[-0.1]), Usage::Under);
        assert_eq!(run(&mut detector, 2_100_000, &[0.0]), Usage::Normal);
    }

    /// Groups that come so much later, each after the one before.
    fn later(detector: &mut OveruseDetector, steps_ms: &[f64]) -> Usage {
        let mut usage = detector.usage();
        for step in steps_ms {
            let deltas = Deltas { sent_ms: 33.0, arrival_ms: 33.0 + step, arrival: 3_000_000 };
            usage = detector.detect(0.0, &deltas);
        }
        usage
    }

    #[test]
    fn a_plunge_is_told_at_the_second_late_frame_and_jitter_is_none() {
        let mut detector = OveruseDetector::new();
        run(&mut detector, 0, &[0.0; 60]);
        assert_eq!(later(&mut detector, &[PLUNGE_MS]), Usage::Normal, "one group is chance");
        assert_eq!(later(&mut detector, &[-33.0, 60.0, -60.0, 90.0]), Usage::Normal);
        let step = PLUNGE_MS - 90.0;
        assert!(step < PLUNGE_STEP_MS);
        assert_eq!(later(&mut detector, &[step]), Usage::Normal, "not by enough");
        assert_eq!(
            later(&mut detector, &[PLUNGE_STEP_MS, PLUNGE_STEP_MS]),
            Usage::Normal,
            "not far"
        );
        assert_eq!(later(&mut detector, &[PLUNGE_MS - 2.0 * PLUNGE_STEP_MS]), Usage::Over);
        assert_eq!(later(&mut detector, &[0.0]), Usage::Normal, "it has ended");
    }

    #[test]
    fn an_overuse_that_recedes_is_not_told_again() {
        let mut detector = OveruseDetector::new();
        run(&mut detector, 0, &[0.0; 60]);
        assert_eq!(run(&mut detector, 2_000_000, &[0.3, 0.2, 0.1]), Usage::Normal);
    }

    #[test]
    fn the_threshold_gets_used_to_jitter() {
        let mut detector = OveruseDetector::new();
        let jitter: Vec<f64> = (0..600).map(|n| if n % 4 < 2 { 0.08 } else { -0.08 }).collect();
        assert_eq!(run(&mut detector, 0, &jitter[..2]), Usage::Normal);
        run(&mut detector, 66_000, &jitter[2..]);
        assert_eq!(run(&mut detector, 20_000_000, &[0.079, 0.08]), Usage::Normal);
        let mut fresh = OveruseDetector::new();
        run(&mut fresh, 0, &[0.0; 60]);
        assert_eq!(run(&mut fresh, 2_000_000, &[0.079, 0.08]), Usage::Over);
    }
}
