//! From overuse to a rate: additive or multiplicative increase, multiplicative decrease.
//!
//! Follows libwebrtc `modules/remote_bitrate_estimator/aimd_rate_control.cc`, and of
//! `modules/congestion_controller/goog_cc/delay_based_bwe.cc` the part that decides when it runs.

use super::Micros;
use super::link_capacity::LinkCapacity;
use super::overuse::Usage;

/// What remains of the measured throughput after an overuse: less than the path carries, so that
/// the queue we made empties.
const BACK_OFF: f64 = 0.85;
/// Growth a second while the capacity is unknown.
const GROWTH: f64 = 1.08;
/// The estimate stays within this factor of what arrives, and a little, so that a low rate is not
/// stuck. libwebrtc has 1.5; a layered source does not follow the estimate upwards, so what lies
/// between two layers is found by probing, and a free ride to 1.5 would be called capacity.
const MAX_OVER_THROUGHPUT: f64 = 1.25;
const THROUGHPUT_SLACK_BPS: f64 = 10_000.0;
/// Least additive increase a second.
const MIN_INCREASE_BPS: f64 = 4_000.0;
/// Time from an increase to its overuse being noticed, beside the round trip.
const DETECTION_S: f64 = 0.1;
/// Round trip until one is measured.
const DEFAULT_RTT_US: Micros = 200_000;
/// A path that delivers this share of what is sent is not full, or not for long: see
/// [`Aimd::decrease`].
const DELIVERS: f64 = 0.93;
/// The estimate is not lowered for it below this many times what arrives.
const EASE_OVER: f64 = 1.1;
/// Time between two steps for an overuse that is not of our making: what another flow does for a
/// moment is one.
const EASE_US: Micros = 1_000_000;

/// What an update goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    /// The detector's word.
    pub usage: Usage,
    /// What arrives, bit/s.
    pub acknowledged: Option<f64>,
    /// What was sent in the same time, bit/s.
    pub sent: Option<f64>,
    /// Packets wait in a queue.
    pub queued: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Hold,
    Increase,
}

/// The rate controller of one path.
#[derive(Debug)]
pub(super) struct Aimd {
    bps: f64,
    min_bps: f64,
    max_bps: f64,
    state: State,
    capacity: LinkCapacity,
    rtt_us: Micros,
    changed: Option<Micros>,
    eased: Option<Micros>,
}

impl Aimd {
    pub fn new(start_bps: f64, min_bps: f64, max_bps: f64) -> Self {
        Self {
            bps: start_bps.clamp(min_bps, max_bps),
            min_bps,
            max_bps,
            state: State::Hold,
            capacity: LinkCapacity::default(),
            rtt_us: DEFAULT_RTT_US,
            changed: None,
            eased: None,
        }
    }

    pub fn bps(&self) -> f64 {
        self.bps
    }

    pub fn set_rtt(&mut self, rtt_us: Micros) {
        self.rtt_us = rtt_us;
    }

    /// A probe measured this much.
    pub fn set(&mut self, now: Micros, bps: f64) {
        self.bps = bps.clamp(self.min_bps, self.max_bps);
        self.changed = Some(now);
    }

    /// One feedback later. Whether it showed that the path is full.
    pub fn update(&mut self, now: Micros, input: &Input) -> bool {
        match input.usage {
            Usage::Over => return self.on_overuse(now, input),
            Usage::Under => self.state = State::Hold,
            Usage::Normal => {
                if self.state == State::Hold {
                    self.state = State::Increase;
                    self.changed = Some(now);
                }
                self.increase(now, input);
            }
        }
        false
    }

    fn on_overuse(&mut self, now: Micros, input: &Input) -> bool {
        let interval = self.rtt_us.clamp(10_000, 200_000);
        let waited = self.changed.is_none_or(|changed| now - changed >= interval);
        match input.acknowledged {
            Some(acknowledged) if waited || acknowledged < 0.5 * self.bps => {
                self.decrease(now, acknowledged, input)
            }
            None if waited => {
                self.set(now, self.bps / 2.0);
                true
            }
            _ => false,
        }
    }

    /// To a little below what arrives. An overuse while the path delivers what we send, without a queue
    /// to speak of, is not of our making: another flow's probe or key frame. There the step is one
    /// back-off from the present rate, not below what arrives; a queue that grows will tell. libwebrtc
    /// goes down to what arrives in any case, which costs a viewer of layers seconds of probing.
    fn decrease(&mut self, now: Micros, acknowledged: f64, input: &Input) -> bool {
        let delivers = input.sent.is_some_and(|sent| acknowledged >= DELIVERS * sent);
        if delivers && !input.queued {
            self.ease(now, acknowledged);
            return false;
        }
        let mut decreased = BACK_OFF * acknowledged;
        if decreased > 5_000.0 {
            decreased -= 5_000.0;
        }
        if decreased > self.bps
            && let Some(capacity) = self.capacity.bps()
        {
            decreased = BACK_OFF * capacity;
        }
        if decreased < self.bps {
            self.bps = decreased.max(self.min_bps);
        }
        if self.capacity.is_above(acknowledged) {
            self.capacity.forget();
        }
        self.capacity.note(acknowledged);
        self.state = State::Hold;
        self.changed = Some(now);
        true
    }

    fn ease(&mut self, now: Micros, acknowledged: f64) {
        if self.eased.is_some_and(|eased| now - eased < EASE_US) {
            return;
        }
        self.eased = Some(now);
        let eased = (BACK_OFF * self.bps).max(EASE_OVER * acknowledged);
        self.bps = self.bps.min(eased).max(self.min_bps);
        self.state = State::Hold;
        self.changed = Some(now);
    }

    fn increase(&mut self, now: Micros, input: &Input) {
        let elapsed = self.changed.replace(now).map_or(0, |changed| now - changed);
        let elapsed_s = elapsed.clamp(0, 1_000_000) as f64 / 1e6;
        let Some(acknowledged) = input.acknowledged else { return };
        if self.capacity.is_below(acknowledged) {
            self.capacity.forget();
        }
        // What the path carried when it was full it is trusted to carry again.
        let limit = (MAX_OVER_THROUGHPUT * acknowledged + THROUGHPUT_SLACK_BPS)
            .max(self.capacity.bps().unwrap_or(0.0));
        if self.bps >= limit {
            return;
        }
        let step = if self.capacity.bps().is_some() {
            self.additive_bps_per_second() * elapsed_s
        } else {
            (self.bps * (GROWTH.powf(elapsed_s) - 1.0)).max(1_000.0 * elapsed_s)
        };
        self.bps = (self.bps + step).min(limit).clamp(self.min_bps, self.max_bps);
    }

    /// Half a packet more for every response time.
    fn additive_bps_per_second(&self) -> f64 {
        const PACKET_BYTES: f64 = 1200.0;
        let frame_bytes = self.bps / 8.0 / 30.0;
        let packets = (frame_bytes / PACKET_BYTES).ceil().max(1.0);
        let response_s = 2.0 * (self.rtt_us as f64 / 1e6 + DETECTION_S);
        (frame_bytes / packets * 8.0 / response_s).max(MIN_INCREASE_BPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: Input =
        Input { usage: Usage::Normal, acknowledged: Some(1e6), sent: Some(1e6), queued: false };
    const OVER: Input = Input { usage: Usage::Over, acknowledged: Some(8e5), ..NORMAL };

    fn aimd() -> Aimd {
        Aimd::new(1e6, 3e4, 1e7)
    }

    #[test]
    fn eight_percent_a_second_up_to_a_quarter_over_what_arrives() {
        let mut aimd = aimd();
        for tick in 0..=20 {
            aimd.update(tick * 50_000, &NORMAL);
        }
        assert!((aimd.bps() - 1.08e6).abs() < 2e3, "{}", aimd.bps());
        for tick in 21..1000 {
            aimd.update(tick * 50_000, &NORMAL);
        }
        assert!((aimd.bps() - 1.26e6).abs() < 1.0, "{}", aimd.bps());
    }

    #[test]
    fn overuse_goes_below_what_arrives_and_then_only_creeps() {
        let mut aimd = aimd();
        aimd.update(1_000_000, &NORMAL);
        aimd.update(1_500_000, &OVER);
        assert!((aimd.bps() - 675e3).abs() < 1.0, "{}", aimd.bps());
        for tick in 0..=20 {
            aimd.update(2_000_000 + tick * 50_000, &Input { acknowledged: Some(8e5), ..NORMAL });
        }
        let crept = aimd.bps() - 675e3;
        assert!(crept > 4_000.0 && crept < 50_000.0, "{crept}");
    }

    #[test]
    fn one_decrease_per_round_trip_unless_half_is_lost() {
        let mut aimd = aimd();
        aimd.set_rtt(100_000);
        aimd.update(1_000_000, &OVER);
        let once = aimd.bps();
        aimd.update(1_050_000, &OVER);
        assert_eq!(aimd.bps(), once);
        aimd.update(1_060_000, &Input { acknowledged: Some(1e5), ..OVER });
        assert!(aimd.bps() < 1e5, "{}", aimd.bps());
    }

    #[test]
    fn overuse_not_of_our_making_costs_one_step_and_nothing_that_gets_through() {
        let mut aimd = aimd();
        let small = Input { acknowledged: Some(1.5e5), sent: Some(1.5e5), ..OVER };
        assert!(!aimd.update(1_000_000, &small));
        assert_eq!(aimd.bps(), 850e3);
        // Again at once: the same cause.
        aimd.update(1_400_000, &small);
        assert_eq!(aimd.bps(), 850e3);
        let large = Input { acknowledged: Some(8e5), sent: Some(8e5), ..OVER };
        aimd.update(3_000_000, &large);
        assert_eq!(aimd.bps(), 850e3);
        // The same while the path delivers less than is sent: it is full.
        assert!(aimd.update(4_000_000, &Input { sent: Some(3e5), ..small }));
        assert!(aimd.bps() < 1.3e5, "{}", aimd.bps());
    }

    #[test]
    fn what_the_full_path_carried_is_reached_again_without_a_probe() {
        let mut aimd = aimd();
        aimd.update(1_000_000, &OVER);
        let small = Input { acknowledged: Some(2e5), sent: Some(2e5), ..NORMAL };
        for tick in 0..400 {
            aimd.update(2_000_000 + tick * 50_000, &small);
        }
        assert!((aimd.bps() - 8e5).abs() < 1.0, "{}", aimd.bps());
    }

    #[test]
    fn a_queue_makes_an_overuse_ours() {
        let mut aimd = aimd();
        let queued = Input { acknowledged: Some(5e5), sent: Some(5e5), queued: true, ..OVER };
        assert!(aimd.update(1_000_000, &queued));
        assert!((aimd.bps() - 420e3).abs() < 1.0, "{}", aimd.bps());
    }

    #[test]
    fn without_throughput_overuse_halves_and_nothing_grows() {
        let mut aimd = aimd();
        aimd.update(1_000_000, &Input { acknowledged: None, ..OVER });
        assert_eq!(aimd.bps(), 5e5);
        for tick in 0..100 {
            aimd.update(2_000_000 + tick * 50_000, &Input { acknowledged: None, ..NORMAL });
        }
        assert_eq!(aimd.bps(), 5e5);
    }
}
