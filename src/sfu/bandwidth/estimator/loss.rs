//! Which bandwidth explains the losses? A model of the path with an inherent loss, that is there at
//! any rate, and a bandwidth, above which everything is lost; the pair that makes the last seconds
//! most likely wins.
//!
//! Follows libwebrtc `modules/congestion_controller/goog_cc/loss_based_bwe_v2.cc` with the defaults of
//! its field trials. Instead of padding while it increases we probe, and what a probe
//! measured counts like what arrives. Left out is everything those defaults switch off. While nothing
//! is lost nothing is computed.

use super::Micros;

/// Observations kept, and how long each at least is.
const WINDOW: usize = 15;
const OBSERVATION_US: Micros = 250_000;
/// Observations before the result counts.
const REQUIRED: u32 = 3;
/// Weight of an observation over that of the next newer one.
const AGING: f64 = 0.9;
/// So little is lost on any radio link, and does not limit: the low threshold of
/// `send_side_bandwidth_estimation.cc`. The model alone takes it for a full path now and then.
const LOW_LOSS: f64 = 0.02;
/// Bandwidths tried, over the present one.
const CANDIDATES: [f64; 3] = [1.02, 1.0, 0.95];
/// Bounds of the inherent loss; the upper one is `offset + balance / bandwidth`.
const MIN_INHERENT: f64 = 1.0e-3;
const INHERENT_OFFSET: f64 = 0.05;
const INHERENT_BALANCE_BPS: f64 = 100_000.0;
const FIRST_INHERENT: f64 = 0.01;
/// Step of the only iteration of Newton's method.
const NEWTON_STEP: f64 = 0.75;
/// Above this loss the higher one of two bandwidths is not preferred any more.
const PREFERENCE_LOSS: f64 = 0.2;
const PREFERENCE_SMOOTHING: f64 = 0.002;
const PREFERENCE: f64 = 0.0002;
const LOG_PREFERENCE: f64 = 0.02;
/// At a loss above the offset no more than `balance / (loss - offset)`.
const INSTANT_OFFSET: f64 = 0.05;
const INSTANT_BALANCE_BPS: f64 = 100_000.0;
/// While limited by loss: growth in one window of time, and over what arrives.
const MAX_INCREASE: f64 = 1.3;
const INCREASE_WINDOW_US: Micros = 300_000;
const RAMP_UP: f64 = 1.5;
const RAMP_UP_IN_HOLD: f64 = 1.2;
const HOLD_THRESHOLD: f64 = 1.3;
/// A decrease is held for this long, twice as long after each failed increase.
const FIRST_HOLD_US: Micros = 300_000;
const MAX_HOLD_US: Micros = 60_000_000;
/// A worst observation sent at less than this times the median rate is a spike, and left out of the
/// average.
const MEDIAN_FACTOR: f32 = 2.0;

/// What one stretch of time lost.
#[derive(Debug, Clone, Copy, Default)]
struct Observation {
    kilobytes: f32,
    lost: f32,
    rate_bps: f32,
}

/// What is fitted.
#[derive(Debug, Clone, Copy)]
struct Channel {
    inherent: f64,
    bps: f64,
}

/// What limits the estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LossState {
    /// Not the losses.
    NotLimiting,
    /// They do, and it grows.
    Increasing,
    /// They do.
    Decreasing,
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    until: Micros,
    duration_us: Micros,
    bps: f64,
}

const NO_HOLD: Hold = Hold { until: Micros::MIN, duration_us: FIRST_HOLD_US, bps: f64::INFINITY };

/// What one update goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The delay-based estimate.
    pub delay_bps: f64,
    /// What arrives.
    pub acknowledged: Option<f64>,
    /// We send less than we may.
    pub application_limited: bool,
}

/// The loss-based controller of one path.
#[derive(Debug)]
pub(super) struct LossController {
    observations: [Observation; WINDOW],
    count: u32,
    partial: Observation,
    /// What was sent before this was sent at another rate.
    since: Micros,
    /// Newest send time of the last observation.
    observed: Option<Micros>,
    best: Option<Channel>,
    average_loss: f64,
    state: LossState,
    result_bps: f64,
    hold: Hold,
    /// Since when the present window of increase, and its limit.
    recovering: Option<Micros>,
    recovering_limit_bps: f64,
    /// What a probe has measured since losses last lowered the estimate.
    proven_bps: f64,
    min_bps: f64,
    max_bps: f64,
}

impl LossController {
    pub fn new(min_bps: f64, max_bps: f64) -> Self {
        Self {
            observations: [Observation::default(); WINDOW],
            count: 0,
            partial: Observation::default(),
            since: Micros::MIN,
            observed: None,
            best: None,
            average_loss: 0.0,
            state: LossState::NotLimiting,
            result_bps: f64::INFINITY,
            hold: NO_HOLD,
            recovering: None,
            recovering_limit_bps: f64::INFINITY,
            proven_bps: 0.0,
            min_bps,
            max_bps,
        }
    }

    pub fn state(&self) -> LossState {
        self.state
    }

    /// The share of bytes lost in the last seconds.
    pub fn average_loss(&self) -> f64 {
        self.average_loss
    }

    /// What the losses allow of `delay_bps`.
    pub fn limit(&self, delay_bps: f64) -> f64 {
        match self.state {
            LossState::NotLimiting => delay_bps,
            LossState::Increasing | LossState::Decreasing => self.result_bps.min(delay_bps),
        }
    }

    /// A probe measured this much: growth may go as far without more of it arriving all the time.
    pub fn on_probe(&mut self, bps: f64) {
        self.proven_bps = bps;
        // What was likely before it would be taken for a limit.
        if self.state == LossState::NotLimiting
            && let Some(best) = &mut self.best
        {
            best.bps = best.bps.max(bps);
        }
    }

    /// The delay has made the rate much lower. What was lost before was lost by the higher one, and would
    /// for seconds outweigh the little that is sent now.
    pub fn forget(&mut self, now: Micros) {
        self.since = now;
        self.count = 0;
        self.partial = Observation::default();
        self.observed = None;
        self.average_loss = 0.0;
        self.state = LossState::NotLimiting;
        self.hold = NO_HOLD;
    }

    /// Packets whose fate is known, sent between `oldest` and `newest`.
    pub fn on_settled(
        &mut self,
        bytes: u64,
        lost_bytes: u64,
        oldest: Micros,
        newest: Micros,
        known: &Known,
    ) {
        if newest < self.since {
            return;
        }
        self.partial.kilobytes += bytes as f32 / 1e3;
        self.partial.lost += lost_bytes as f32 / 1e3;
        let since = *self.observed.get_or_insert(oldest);
        let elapsed = newest - since;
        if elapsed < OBSERVATION_US {
            return;
        }
        self.observed = Some(newest);
        let mut observation = std::mem::take(&mut self.partial);
        observation.rate_bps = observation.kilobytes * 8e3 / (elapsed as f32 / 1e6);
        self.observations[self.count as usize % WINDOW] = observation;
        self.count = self.count.saturating_add(1);
        self.average_loss = self.average();
        self.update(newest, known);
    }

    /// Observations from the newest to the oldest with their weights.
    fn weighted(&self) -> impl Iterator<Item = (f64, &Observation)> {
        let kept = (self.count as usize).min(WINDOW);
        let mut weight = 1.0 / AGING;
        (0..kept).map(move |age| {
            weight *= AGING;
            (weight, &self.observations[(self.count as usize - 1 - age) % WINDOW])
        })
    }

    fn lossless(&self) -> bool {
        self.weighted().all(|(_, observation)| observation.lost == 0.0)
    }

    fn update(&mut self, now: Micros, known: &Known) {
        if self.average_loss <= LOW_LOSS || self.lossless() {
            // Nothing to limit for, or whatever was lost is out of the window.
            self.state = LossState::NotLimiting;
            self.hold = NO_HOLD;
            let inherent = self.best.map_or(FIRST_INHERENT, |best| best.inherent);
            let inherent = (inherent * 0.5).max(MIN_INHERENT);
            self.best = Some(Channel { inherent, bps: known.delay_bps });
            self.result_bps = known.delay_bps;
            return;
        }
        let current =
            self.best.unwrap_or(Channel { inherent: FIRST_INHERENT, bps: known.delay_bps });
        let mut best = self.most_likely(current, known);
        if self.average_loss > best.inherent && current.bps < best.bps {
            best.bps = current.bps;
        }
        if self.state != LossState::NotLimiting {
            best.bps = self.restrain(now, current.bps, best.bps, known);
        }
        let floor = known.acknowledged.unwrap_or(0.0).max(self.min_bps);
        let bounded = best.bps.min(self.instant_limit()).min(known.delay_bps).max(floor);
        self.best = Some(if bounded < best.bps {
            Channel { inherent: MIN_INHERENT, bps: bounded }
        } else {
            Channel { bps: best.bps.max(floor), ..best }
        });
        if self.count >= REQUIRED {
            self.conclude(now, bounded, floor, known);
        }
    }

    /// While losses limit, growth is slow and follows what arrives.
    fn restrain(&self, now: Micros, current: f64, mut best: f64, known: &Known) -> f64 {
        if self.recovering.is_some_and(|since| since + INCREASE_WINDOW_US > now) {
            best = best.min(self.recovering_limit_bps);
        }
        let increasing = current < best || (current == best && self.state == LossState::Increasing);
        if let (true, Some(acknowledged)) = (increasing, known.acknowledged) {
            let held = self.hold.bps.is_finite() && acknowledged < HOLD_THRESHOLD * self.hold.bps;
            let factor = if held { RAMP_UP_IN_HOLD } else { RAMP_UP };
            best = best.min((factor * acknowledged).max(self.proven_bps)).max(current);
            if self.state == LossState::Decreasing && best == current {
                best += 1.0;
            }
        }
        best
    }

    fn conclude(&mut self, now: Micros, bounded: f64, floor: f64, known: &Known) {
        let limiting = bounded < known.delay_bps;
        if self.state == LossState::Decreasing && self.hold.until > now && limiting {
            self.hold.bps = self.hold.bps.max(floor);
            self.result_bps = self.hold.bps.min(bounded);
            return;
        }
        let rising = self.result_bps < bounded
            || (self.result_bps == bounded && self.state == LossState::Increasing);
        if limiting && bounded < self.max_bps {
            if self.state != LossState::NotLimiting && rising {
                self.state = LossState::Increasing;
            } else {
                if self.state != LossState::Decreasing {
                    self.proven_bps = 0.0;
                    let duration_us = self.hold.duration_us;
                    self.hold = Hold {
                        until: now + duration_us,
                        duration_us: (duration_us * 2).min(MAX_HOLD_US),
                        bps: bounded,
                    };
                }
                self.state = LossState::Decreasing;
            }
        } else {
            self.hold = NO_HOLD;
            self.state = LossState::NotLimiting;
        }
        self.result_bps = bounded;
        let window_over = self.recovering.is_none_or(|since| since + INCREASE_WINDOW_US < now);
        if self.state != LossState::NotLimiting && window_over {
            let best = self.best.map_or(bounded, |best| best.bps);
            self.recovering_limit_bps = (best * MAX_INCREASE).max(self.min_bps);
            self.recovering = Some(now);
        }
    }

    fn most_likely(&self, current: Channel, known: &Known) -> Channel {
        let limit = if self.state == LossState::NotLimiting {
            self.max_bps
        } else {
            self.recovering_limit_bps
        };
        let acknowledged = known.acknowledged.filter(|_| !known.application_limited);
        let delay = Some(known.delay_bps).filter(|delay| *delay > current.bps);
        let candidates = CANDIDATES.map(|factor| factor * current.bps);
        let candidates = candidates.into_iter().chain(acknowledged).chain(delay);
        let mut best = current;
        let mut best_objective = f64::NEG_INFINITY;
        for bps in candidates {
            let mut channel = Channel { bps: bps.min(current.bps.max(limit)), ..current };
            channel.inherent = feasible(channel.inherent, channel.bps);
            channel.inherent = self.newton(&channel);
            let objective = self.objective(&channel);
            let tied = objective == best_objective && channel.bps > best.bps;
            if objective > best_objective || tied {
                (best, best_objective) = (channel, objective);
            }
        }
        best
    }

    /// One step towards the inherent loss that makes what was seen most likely.
    fn newton(&self, channel: &Channel) -> f64 {
        let (mut first, mut second) = (0.0, 0.0);
        for (weight, observation) in self.weighted() {
            let probability = channel.loss_at(f64::from(observation.rate_bps));
            let lost = f64::from(observation.lost);
            let kept = f64::from(observation.kilobytes) - lost;
            first += weight * (lost / probability - kept / (1.0 - probability));
            second -= weight
                * (lost / (probability * probability)
                    + kept / ((1.0 - probability) * (1.0 - probability)));
        }
        let step = if second < 0.0 { NEWTON_STEP * first / second } else { 0.0 };
        feasible(channel.inherent - step, channel.bps)
    }

    /// How likely what was seen is on this path, with a preference for more bandwidth.
    fn objective(&self, channel: &Channel) -> f64 {
        let kbps = channel.bps / 1e3;
        let towards = (PREFERENCE_LOSS - self.average_loss)
            / (PREFERENCE_SMOOTHING + (PREFERENCE_LOSS - self.average_loss).abs());
        let preference = towards * (PREFERENCE * kbps + LOG_PREFERENCE * (1.0 + kbps).ln());
        let mut objective = 0.0;
        for (weight, observation) in self.weighted() {
            let probability = channel.loss_at(f64::from(observation.rate_bps));
            let lost = f64::from(observation.lost);
            let all = f64::from(observation.kilobytes);
            objective += weight
                * (lost * probability.ln()
                    + (all - lost) * (1.0 - probability).ln()
                    + preference * all);
        }
        objective
    }

    /// The share lost, without the best and the worst observation.
    fn average(&self) -> f64 {
        let (mut all, mut lost) = (0.0, 0.0);
        let (mut least, mut most) = ((f32::INFINITY, 0.0, 0.0), (0.0, 0.0, 0.0));
        let mut worst_rate = 0.0;
        for (weight, observation) in self.weighted() {
            let bytes = weight * f64::from(observation.kilobytes);
            let bytes_lost = weight * f64::from(observation.lost);
            all += bytes;
            lost += bytes_lost;
            let share = observation.lost / observation.kilobytes.max(f32::MIN_POSITIVE);
            if self.count > 3 && share > most.0 {
                most = (share, bytes, bytes_lost);
                worst_rate = observation.rate_bps;
            }
            if self.count > 3 && share < least.0 {
                least = (share, bytes, bytes_lost);
            }
        }
        let rest = all - least.1 - most.1;
        let spike = self.median_rate() * MEDIAN_FACTOR > worst_rate;
        if spike && rest > 0.0 {
            ((lost - least.2 - most.2) / rest).clamp(0.0, 1.0)
        } else if all > 0.0 {
            (lost / all).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    fn median_rate(&self) -> f32 {
        let kept = (self.count as usize).min(WINDOW);
        let mut rates = self.observations.map(|observation| observation.rate_bps);
        let Some(rates) = rates.get_mut(..kept).filter(|rates| !rates.is_empty()) else {
            return 0.0;
        };
        rates.sort_unstable_by(f32::total_cmp);
        rates[kept / 2]
    }

    fn instant_limit(&self) -> f64 {
        let over = self.average_loss - INSTANT_OFFSET;
        if over > 0.0 { INSTANT_BALANCE_BPS / over } else { self.max_bps }
    }
}

impl Channel {
    fn loss_at(&self, rate_bps: f64) -> f64 {
        let over = ((rate_bps - self.bps) / rate_bps.max(1.0)).max(0.0);
        (self.inherent + (1.0 - self.inherent) * over).clamp(1e-6, 1.0 - 1e-6)
    }
}

fn feasible(inherent: f64, bps: f64) -> f64 {
    let upper = (INHERENT_OFFSET + INHERENT_BALANCE_BPS / bps.max(1.0)).min(1.0);
    inherent.max(MIN_INHERENT).min(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `seconds` of 100 ms each at `rate`, of which `loss` is lost.
    fn run(controller: &mut LossController, from_ms: i64, rate: f64, loss: f64, delay: f64) -> i64 {
        let known = Known {
            delay_bps: delay,
            acknowledged: Some(rate * (1.0 - loss)),
            application_limited: false,
        };
        let mut now = from_ms;
        for _ in 0..100 {
            let bytes = (rate / 80.0) as u64;
            let lost = (bytes as f64 * loss) as u64;
            controller.on_settled(bytes, lost, now * 1000, (now + 100) * 1000, &known);
            now += 100;
        }
        now
    }

    #[test]
    fn no_loss_is_no_limit() {
        let mut controller = LossController::new(3e4, 1e7);
        run(&mut controller, 0, 2e6, 0.0, 2.5e6);
        assert_eq!(controller.limit(2.5e6), 2.5e6);
        assert_eq!(controller.state(), LossState::NotLimiting);
    }

    #[test]
    fn a_little_loss_at_any_rate_does_not_limit() {
        let mut controller = LossController::new(3e4, 1e7);
        run(&mut controller, 0, 2e6, 0.02, 2.5e6);
        assert!(controller.limit(2.5e6) > 2.4e6, "{}", controller.limit(2.5e6));
        assert!((controller.average_loss() - 0.02).abs() < 0.005);
    }

    #[test]
    fn heavy_loss_limits_to_what_arrives() {
        let mut controller = LossController::new(3e4, 1e7);
        let now = run(&mut controller, 0, 2e6, 0.0, 2.5e6);
        run(&mut controller, now, 2e6, 0.4, 2.5e6);
        let limit = controller.limit(2.5e6);
        assert!((1.2e6..1.3e6).contains(&limit), "{limit}");
    }

    #[test]
    fn it_comes_back_when_the_loss_is_over() {
        let mut controller = LossController::new(3e4, 1e7);
        let now = run(&mut controller, 0, 2e6, 0.4, 2.5e6);
        assert_ne!(controller.state(), LossState::NotLimiting);
        let mut now = now;
        for _ in 0..3 {
            let rate = controller.limit(2.5e6);
            now = run(&mut controller, now, rate, 0.0, 2.5e6);
        }
        assert!(controller.limit(2.5e6) > 2e6, "{}", controller.limit(2.5e6));
    }

    #[test]
    fn a_probe_lets_it_grow_without_more_arriving() {
        for (probe, expected) in [(None, false), (Some(2.4e6), true)] {
            let mut controller = LossController::new(3e4, 1e7);
            let now = run(&mut controller, 0, 1e6, 0.3, 2.5e6);
            assert_ne!(controller.state(), LossState::NotLimiting);
            // A layer of 600 kbit/s, with a loss that has always been there.
            let now = run(&mut controller, now, 6e5, 0.03, 2.5e6);
            if let Some(probe) = probe {
                controller.on_probe(probe);
            }
            run(&mut controller, now, 6e5, 0.03, 2.5e6);
            let limit = controller.limit(2.5e6);
            assert_eq!(limit > 1.5e6, expected, "{limit}");
        }
    }

    #[test]
    fn what_was_lost_before_a_deep_drop_does_not_count() {
        let mut controller = LossController::new(3e4, 1e7);
        let now = run(&mut controller, 0, 4e6, 0.3, 5e6);
        controller.forget(now * 1000);
        assert_eq!((controller.average_loss(), controller.state()), (0.0, LossState::NotLimiting));
        // The last of it is told afterwards.
        let known = Known { delay_bps: 8e5, acknowledged: Some(6e5), application_limited: false };
        controller.on_settled(50_000, 25_000, (now - 400) * 1000, (now - 10) * 1000, &known);
        run(&mut controller, now, 6e5, 0.0, 8e5);
        assert_eq!(controller.limit(8e5), 8e5);
    }
}
