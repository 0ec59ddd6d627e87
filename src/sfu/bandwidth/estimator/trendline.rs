//! Is the delay growing? A line fitted through the last delays.
//!
//! Follows `TrendlineEstimator::UpdateTrendline` of libwebrtc
//! `modules/congestion_controller/goog_cc/trendline_estimator.cc`; what the slope means is decided in
//! [`super::overuse`].

use super::Micros;
use super::arrival_groups::Deltas;

/// Groups the line goes through.
const WINDOW: usize = 20;
/// Weight of what was in the smoothed delay.
const SMOOTHING: f64 = 0.9;

/// Smoothed delays over arrival times. A line does not care about the order of its points, so the
/// rings are read as they lie.
#[derive(Debug)]
pub(super) struct Trendline {
    arrivals_ms: [f64; WINDOW],
    delays_ms: [f64; WINDOW],
    next: u8,
    full: bool,
    first_arrival: Option<Micros>,
    accumulated_ms: f64,
    smoothed_ms: f64,
    slope: f64,
}

impl Trendline {
    pub fn new() -> Self {
        Self {
            arrivals_ms: [0.0; WINDOW],
            delays_ms: [0.0; WINDOW],
            next: 0,
            full: false,
            first_arrival: None,
            accumulated_ms: 0.0,
            smoothed_ms: 0.0,
            slope: 0.0,
        }
    }

    /// The slope with one more group: (send rate - capacity) / capacity while a queue grows, 0 while
    /// there is none or the window is not full, negative while one empties.
    pub fn add(&mut self, deltas: &Deltas) -> f64 {
        let first = *self.first_arrival.get_or_insert(deltas.arrival);
        self.accumulated_ms += deltas.arrival_ms - deltas.sent_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.accumulated_ms;
        let at = usize::from(self.next);
        if let Some((x, y)) = self.arrivals_ms.get_mut(at).zip(self.delays_ms.get_mut(at)) {
            (*x, *y) = ((deltas.arrival - first) as f64 / 1e3, self.smoothed_ms);
        }
        self.next = ((at + 1) % WINDOW) as u8;
        self.full |= self.next == 0;
        if self.full {
            self.slope = self.fit().unwrap_or(self.slope);
        }
        self.slope
    }

    /// Least squares.
    fn fit(&self) -> Option<f64> {
        let mean_x = self.arrivals_ms.iter().sum::<f64>() / WINDOW as f64;
        let mean_y = self.delays_ms.iter().sum::<f64>() / WINDOW as f64;
        let (mut numerator, mut denominator) = (0.0, 0.0);
        for (x, y) in self.arrivals_ms.iter().zip(&self.delays_ms) {
            let dx = x - mean_x;
            numerator += dx * (y - mean_y);
            denominator += dx * dx;
        }
        (denominator > 0.0).then(|| numerator / denominator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slope(groups: usize, per_group_ms: f64) -> f64 {
        let mut line = Trendline::new();
        let mut slope = 0.0;
        for group in 0..groups {
            slope = line.add(&Deltas {
                sent_ms: 33.0,
                arrival_ms: 33.0 + per_group_ms,
                arrival: group as i64 * (33_000 + (per_group_ms * 1e3) as i64),
            });
        }
        slope
    }

    #[test]
    fn no_slope_before_the_window_is_full_or_without_a_queue() {
        assert_eq!(slope(19, 5.0), 0.0);
        assert_eq!(slope(200, 0.0), 0.0);
    }

    #[test]
    fn the_slope_is_the_growth_of_the_queue() {
        // 3.3 ms more delay every 33 ms sent: 10 % over capacity.
        assert!((slope(200, 3.3) - 3.3 / 36.3).abs() < 0.003, "{}", slope(200, 3.3));
        assert!((slope(200, -3.3) + 3.3 / 29.7).abs() < 0.003, "{}", slope(200, -3.3));
    }

    #[test]
    fn arrivals_at_one_instant_have_no_line() {
        let mut line = Trendline::new();
        for _ in 0..40 {
            let slope = line.add(&Deltas { sent_ms: 6.0, arrival_ms: 0.0, arrival: 7 });
            assert_eq!(slope, 0.0);
        }
    }
}
