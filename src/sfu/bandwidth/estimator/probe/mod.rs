//! When to send more than the media needs, to learn what the path carries.
//!
//! Follows libwebrtc `modules/congestion_controller/goog_cc/probe_controller.cc`. Added: the source
//! is layered, so it jumps from one rate to the next and cannot feel its way up in between. While
//! more is wanted than the estimate allows, it is probed for at the interval that libwebrtc keeps for
//! application limited regions; when enough is known, not at all.

mod pacer;
mod result;

use std::time::Duration;

pub use self::pacer::ProbePacer;
pub(super) use self::result::{ProbeResults, Results};

use super::super::sent::ProbeId;
use super::Micros;
use super::loss::LossState;
use super::overuse::Usage;

/// The first two probes, over the rate at the start.
const FIRST_SCALES: [f64; 2] = [3.0, 6.0];
/// A probe that measured at least this share of its rate is followed by one of this scale.
const FURTHER_SHARE: f64 = 0.7;
const FURTHER_SCALE: f64 = 2.0;
/// The result of a probe is waited for as long as this.
const RESULT_US: Micros = 1_000_000;
/// Periodic probes: how often, and over the estimate. libwebrtc has 5 s; a viewer whose network
/// recovered is to be back at the top layer within 8 s.
const PERIOD_US: Micros = 3_000_000;
const PERIODIC_SCALE: f64 = 2.0;
/// In the first moments they come as often as this: the first ones may have been lost, or have met a
/// jitter that they were too short for.
const EARLY_US: Micros = 5_000_000;
const EARLY_PERIOD_US: Micros = 1_000_000;
/// A probe that raised the estimate by more than this was wrong if the path is full within this time:
/// a probe takes its share from the other flows of a path for a moment, and they take it back. For a
/// while no probe goes beyond what the path carried then, twice as long each time. Trade: who shares a path sees the picture change less
/// often, and gets what becomes free later.
const RISE: f64 = 1.1;
const PROVEN_US: Micros = 10_000_000;
/// An overuse takes several steps down within this time.
const EPISODE_US: Micros = 2_000_000;
const MAX_QUIET_US: Micros = 12_000_000;
/// A drop below this share is probed for soon after, once at most in the interval.
const DROP_SHARE: f64 = 0.66;
const DROP_TIMEOUT_US: Micros = 5_000_000;
const DROP_INTERVAL_US: Micros = 5_000_000;
const AFTER_DROP_SCALE: f64 = 0.85;
const UNCERTAINTY: f64 = 0.05;
/// An application limited region that ended this recently still explains a drop.
const LIMITED_RECENTLY_US: Micros = 3_000_000;
/// While losses limit the estimate and it grows, probes go this far over it.
const LOSS_LIMITED_SCALE: f64 = 1.5;
/// Probes go this far over what is wanted: enough to allow for bursts, and no bandwidth spent on
/// what nobody would use.
const OVER_WANTED: f64 = 1.2;
/// An estimate this far over what is wanted needs no probe.
const ENOUGH: f64 = 1.1;
/// A doubtful result is believed if a probe for no more than it measures this share of it, or after so
/// many rounds.
const CONFIRMED: f64 = 0.9;
const MAX_ROUNDS: u8 = 3;
/// A probe that is not fetched within this time is off.
const STALE_US: Micros = 1_000_000;

/// Length of a probe. Trade: a longer one measures better where there is jitter, and makes a longer
/// queue where there is less capacity than it asks for.
const SHORT_US: Micros = 15_000;
const LONG_US: Micros = 30_000;
/// So that jitter does not decide what is measured, a probe lasts this many times as long, up to a
/// limit.
const OVER_JITTER: Micros = 8;
const MAX_US: Micros = 100_000;
/// Fewest packets of a probe.
const MIN_PACKETS: u16 = 5;
/// Time between its bursts: a probe of one burst has no send rate.
const BURST_INTERVAL: Duration = Duration::from_millis(5);

/// Packets to send: padding, or retransmissions of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// To be noted with every packet that leaves from the first of the probe to its last, media
    /// included.
    pub id: ProbeId,
    /// Rate, bit/s.
    pub target_bps: u64,
    /// Bytes in all, at least.
    pub bytes: u32,
    /// Packets in all, at least.
    pub min_packets: u16,
    /// Time between two bursts.
    pub interval: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Planned {
    bps: f64,
    length_us: Micros,
    at: Micros,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// The result decides whether another one follows.
    Waiting,
    Done,
}

/// What may keep a probe from being sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The detector's word.
    pub usage: Usage,
    /// Whether losses limit the estimate.
    pub loss: LossState,
    /// Since when the source sends less than it may.
    pub application_limited: Option<Micros>,
}

impl Limits {
    /// Nothing limits.
    pub const NONE: Self =
        Self { usage: Usage::Normal, loss: LossState::NotLimiting, application_limited: None };
}

/// The controller of one path.
#[derive(Debug)]
pub(super) struct ProbeControl {
    state: State,
    planned: [Option<Planned>; 2],
    last_id: Option<ProbeId>,
    estimate_bps: f64,
    max_bps: f64,
    wanted_bps: Option<f64>,
    /// A result above this is followed by a further probe.
    further_bps: f64,
    early_since: Option<Micros>,
    initiated: Option<Micros>,
    /// The doubtful result that a probe is to confirm, and how many before it.
    confirming: Option<(f64, u8)>,
    /// A probe raised the estimate, and it is not proven yet.
    rose: Option<Micros>,
    /// No probe above the ceiling before this, and how long the next time.
    ceiling_bps: f64,
    filled: Option<Micros>,
    quiet_until: Micros,
    quiet_us: Micros,
    limits: Limits,
    limited_until: Option<Micros>,
    before_drop_bps: f64,
    dropped: Option<Micros>,
    drop_probed: Option<Micros>,
}

impl ProbeControl {
    pub fn new(start_bps: f64, max_bps: f64) -> Self {
        Self {
            state: State::Start,
            planned: [None; 2],
            last_id: None,
            estimate_bps: start_bps,
            max_bps,
            wanted_bps: None,
            further_bps: f64::INFINITY,
            early_since: None,
            initiated: None,
            confirming: None,
            rose: None,
            ceiling_bps: f64::INFINITY,
            filled: None,
            quiet_until: 0,
            quiet_us: PERIOD_US,
            limits: Limits::NONE,
            limited_until: None,
            before_drop_bps: 0.0,
            dropped: None,
            drop_probed: None,
        }
    }

    /// The best layers of everything the viewer watches take this much.
    pub fn set_wanted(&mut self, now: Micros, bps: f64) {
        let more = self.wanted_bps.is_none_or(|wanted| bps > wanted);
        self.wanted_bps = Some(bps);
        if more && self.state == State::Done && self.estimate_bps < bps {
            let scaled = self.estimate_bps * PERIODIC_SCALE;
            self.plan(now, &[bps.min(scaled)], SHORT_US, bps > scaled);
        }
    }

    /// A new estimate, and what limits it.
    pub fn on_estimate(&mut self, now: Micros, bps: f64, limits: Limits) {
        if self.limits.application_limited.is_some() && limits.application_limited.is_none() {
            self.limited_until = Some(now);
        }
        if limits.loss == LossState::Decreasing && self.limits.loss != LossState::Decreasing {
            self.on_full(now, bps);
        }
        self.limits = limits;
        if bps < DROP_SHARE * self.estimate_bps {
            self.dropped = Some(now);
            self.before_drop_bps = self.estimate_bps;
        }
        self.estimate_bps = bps;
        if self.state == State::Waiting && bps > self.further_bps {
            self.plan(now, &[bps * FURTHER_SCALE], SHORT_US, true);
        }
    }

    /// A probe set the estimate, which was `before_bps`.
    pub fn on_result(&mut self, now: Micros, before_bps: f64, bps: f64) {
        if bps > RISE * before_bps {
            self.rose = Some(now);
        }
    }

    /// A doubtful result: is it still there when a probe asks for no more than that? Those that share a
    /// path with others come down to their part in a few rounds. Returns what can be believed.
    pub fn confirm(&mut self, now: Micros, bps: f64) -> Option<f64> {
        let (before, rounds) = self.confirming.take().unwrap_or((f64::INFINITY, 0));
        let small = bps <= RISE * self.estimate_bps;
        if !small && bps < CONFIRMED * before && rounds < MAX_ROUNDS {
            self.plan(now, &[bps], SHORT_US, false);
            if self.planned[0].is_some() {
                self.confirming = Some((bps, rounds + 1));
                return None;
            }
        }
        Some(bps.min(before))
    }

    /// The path is full and the estimate went down to `bps`.
    pub fn on_full(&mut self, now: Micros, bps: f64) {
        if self.rose.take().is_some_and(|rose| now - rose < PROVEN_US) {
            self.ceiling_bps = bps;
            self.filled = Some(now);
            self.quiet_until = now + self.quiet_us;
            self.quiet_us = (self.quiet_us * 2).min(MAX_QUIET_US);
            self.planned = [None; 2];
            self.state = State::Done;
        } else if self.filled.is_some_and(|filled| now - filled < EPISODE_US) {
            self.ceiling_bps = self.ceiling_bps.min(bps);
        }
    }

    /// The queue that an overuse made is empty again: was the drop that it caused too deep?
    pub fn on_recovered(&mut self, now: Micros) {
        let recently = |at: Option<Micros>, within| at.is_some_and(|at| now - at < within);
        let limited = self.limits.application_limited.is_some()
            || recently(self.limited_until, LIMITED_RECENTLY_US);
        let suggested = AFTER_DROP_SCALE * self.before_drop_bps;
        if limited
            && self.state == State::Done
            && (1.0 - UNCERTAINTY) * suggested > self.estimate_bps
            && recently(self.dropped, DROP_TIMEOUT_US)
            && !recently(self.drop_probed, DROP_INTERVAL_US)
        {
            self.drop_probed = Some(now);
            self.plan(now, &[suggested], SHORT_US, false);
        }
    }

    /// The next probe to send, now.
    pub fn poll(&mut self, now: Micros, jitter_us: Micros) -> Option<Probe> {
        if self.state == State::Waiting
            && self.initiated.is_some_and(|initiated| now - initiated > RESULT_US)
        {
            self.state = State::Done;
        }
        if self.rose.is_some_and(|rose| now - rose >= PROVEN_US) {
            self.rose = None;
            self.quiet_us = PERIOD_US;
        }
        if self.state == State::Start {
            self.early_since = Some(now);
            let scaled = FIRST_SCALES.map(|scale| scale * self.estimate_bps);
            self.plan(now, &scaled, SHORT_US, true);
        } else if self.state == State::Done && self.is_period(now) {
            self.plan(now, &[self.estimate_bps * PERIODIC_SCALE], LONG_US, true);
        }
        let planned = self.planned[0].take().or_else(|| self.planned[1].take())?;
        if now - planned.at > STALE_US {
            return None;
        }
        let id = ProbeId::next(self.last_id);
        self.last_id = Some(id);
        let length_us = planned.length_us.max((OVER_JITTER * jitter_us).min(MAX_US));
        Some(Probe {
            id,
            target_bps: planned.bps as u64,
            bytes: (planned.bps * length_us as f64 / 8e6) as u32,
            min_packets: MIN_PACKETS,
            interval: BURST_INTERVAL,
        })
    }

    fn is_period(&self, now: Micros) -> bool {
        let since = match (self.limits.application_limited, self.wanted_bps) {
            (_, Some(wanted)) if self.estimate_bps < ENOUGH * wanted => self.initiated,
            (Some(started), None) => self.initiated.max(Some(started)),
            _ => return false,
        };
        let early = self.early_since.is_some_and(|since| now - since < EARLY_US);
        let period = if early { EARLY_PERIOD_US } else { PERIOD_US };
        since.is_none_or(|since| now - since >= period)
    }

    fn plan(&mut self, now: Micros, rates: &[f64], length_us: Micros, mut further: bool) {
        let mut limit = self.max_bps;
        if let Some(wanted) = self.wanted_bps {
            limit = limit.min(wanted * OVER_WANTED);
        }
        if now < self.quiet_until {
            limit = limit.min(self.ceiling_bps);
        }
        match (self.limits.usage, self.limits.loss) {
            (Usage::Over | Usage::Under, _) | (_, LossState::Decreasing) => return,
            (_, LossState::Increasing) => limit = limit.min(self.estimate_bps * LOSS_LIMITED_SCALE),
            (_, LossState::NotLimiting) => {}
        }
        self.planned = [None; 2];
        self.confirming = None;
        self.initiated = Some(now);
        let mut highest = 0.0;
        for (place, rate) in self.planned.iter_mut().zip(rates) {
            further &= *rate < limit;
            let bps = rate.min(limit);
            // A second one at the limit, or one that can only confirm the estimate, is no news.
            if bps > highest && bps > self.estimate_bps * (1.0 + UNCERTAINTY) {
                *place = Some(Planned { bps, length_us, at: now });
                highest = bps;
            }
        }
        self.state = if further && highest > 0.0 { State::Waiting } else { State::Done };
        self.further_bps = FURTHER_SHARE * highest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Micros = 1_000_000;

    fn started(wanted: Option<f64>) -> ProbeControl {
        let mut control = ProbeControl::new(500e3, 10e6);
        if let Some(wanted) = wanted {
            control.set_wanted(0, wanted);
        }
        // The early probes tell nothing.
        for second in 0..8 {
            while control.poll(second * S - 8 * S, 0).is_some() {}
        }
        control.state = State::Done;
        control
    }

    fn rates(control: &mut ProbeControl, now: Micros) -> Vec<u64> {
        std::iter::from_fn(|| control.poll(now, 0)).map(|probe| probe.target_bps).collect()
    }

    #[test]
    fn three_and_six_times_the_start_and_then_twice_each_success() {
        let mut control = ProbeControl::new(500e3, 10e6);
        assert_eq!(rates(&mut control, 0), [1_500_000, 3_000_000]);
        control.on_estimate(200_000, 2.9e6, Limits::NONE);
        assert_eq!(rates(&mut control, 200_000), [5_800_000]);
        control.on_estimate(400_000, 3.0e6, Limits::NONE);
        assert!(rates(&mut control, 400_000).is_empty(), "it measured half of what was sent");
    }

    #[test]
    fn no_further_than_what_is_wanted_or_allowed() {
        let mut control = ProbeControl::new(500e3, 2.5e6);
        assert_eq!(rates(&mut control, 0), [1_500_000, 2_500_000]);
        let mut control = ProbeControl::new(500e3, 10e6);
        control.set_wanted(0, 1e6);
        assert_eq!(rates(&mut control, 0), [1_200_000]);
    }

    #[test]
    fn periodic_probes_while_more_is_wanted() {
        let mut control = started(Some(4e6));
        control.on_estimate(3 * S, 1.5e6, Limits::NONE);
        assert_eq!(rates(&mut control, 3 * S), [3_000_000]);
        assert!(rates(&mut control, 5 * S).is_empty());
        control.on_estimate(6 * S, 4.5e6, Limits::NONE);
        assert!(rates(&mut control, 60 * S).is_empty(), "enough is known");
    }

    #[test]
    fn periodic_probes_while_application_limited_if_nobody_said_what_is_wanted() {
        let mut control = started(None);
        control.on_estimate(3 * S, 1.5e6, Limits::NONE);
        assert!(rates(&mut control, 30 * S).is_empty());
        let limited = Limits { application_limited: Some(30 * S), ..Limits::NONE };
        control.on_estimate(30 * S, 1.5e6, limited);
        assert!(rates(&mut control, 32 * S).is_empty());
        assert_eq!(rates(&mut control, 33 * S), [3_000_000]);
    }

    #[test]
    fn none_while_the_path_is_full_or_loses() {
        for limits in [
            Limits { usage: Usage::Over, ..Limits::NONE },
            Limits { usage: Usage::Under, ..Limits::NONE },
            Limits { loss: LossState::Decreasing, ..Limits::NONE },
        ] {
            let mut control = started(Some(4e6));
            control.on_estimate(3 * S, 1e6, limits);
            assert!(rates(&mut control, 60 * S).is_empty());
        }
        let mut control = started(Some(4e6));
        let limits = Limits { loss: LossState::Increasing, ..Limits::NONE };
        control.on_estimate(3 * S, 1e6, limits);
        assert_eq!(rates(&mut control, 60 * S), [1_500_000]);
    }

    #[test]
    fn a_deep_drop_while_application_limited_is_probed_for_once() {
        let mut control = started(Some(2e6));
        let limited = Limits { application_limited: Some(0), ..Limits::NONE };
        control.on_estimate(3 * S, 2.5e6, limited);
        control.on_estimate(4 * S, 5e5, limited);
        control.on_recovered(4 * S);
        assert_eq!(rates(&mut control, 4 * S), [2_125_000]);
        control.on_recovered(5 * S);
        assert!(rates(&mut control, 5 * S).is_empty());
    }

    #[test]
    fn more_wanted_is_probed_for_at_once() {
        let mut control = started(Some(5e5));
        control.on_estimate(3 * S, 6e5, Limits::NONE);
        assert!(rates(&mut control, 3 * S).is_empty());
        control.set_wanted(4 * S, 4e6);
        assert_eq!(rates(&mut control, 4 * S), [1_200_000]);
    }

    #[test]
    fn a_doubtful_result_is_confirmed_by_a_probe_for_no_more() {
        let mut control = started(Some(4e6));
        control.on_estimate(3 * S, 1e6, Limits::NONE);
        assert_eq!(rates(&mut control, 3 * S), [2_000_000]);
        assert_eq!(control.confirm(3 * S, 1.6e6), None);
        assert_eq!(rates(&mut control, 3 * S), [1_600_000]);
        assert_eq!(control.confirm(3 * S, 1.3e6), None, "it came down: others take their part");
        assert_eq!(rates(&mut control, 3 * S), [1_300_000]);
        assert_eq!(control.confirm(3 * S, 1.25e6), Some(1.25e6));
        assert_eq!(control.confirm(3 * S, 1.05e6), Some(1.05e6), "next to the estimate");
    }

    #[test]
    fn confirming_ends_after_some_rounds() {
        let mut control = started(Some(4e6));
        control.on_estimate(3 * S, 1e5, Limits::NONE);
        let mut bps = 4e6;
        for _ in 0..MAX_ROUNDS {
            assert_eq!(control.confirm(3 * S, bps), None);
            bps *= 0.5;
        }
        assert_eq!(control.confirm(3 * S, bps), Some(bps));
    }

    #[test]
    fn a_probe_that_proved_wrong_is_not_repeated_soon_and_each_time_later() {
        let mut control = started(Some(4e6));
        let mut now = 10 * S;
        for quiet in [3, 6, 12, 12] {
            control.on_estimate(now, 1e6, Limits::NONE);
            control.on_result(now, 1e6, 2e6);
            control.on_estimate(now, 2e6, Limits::NONE);
            control.on_full(now + S, 1.2e6);
            control.on_full(now + S, 1e6);
            control.on_estimate(now + S, 1e6, Limits::NONE);
            assert!(rates(&mut control, now + quiet * S).is_empty(), "{quiet}");
            now += quiet * S + PERIOD_US;
            assert_eq!(rates(&mut control, now), [2_000_000], "{quiet}");
        }
        // What holds for ten seconds was right.
        control.on_result(now, 1e6, 2e6);
        control.poll(now + 10 * S, 0);
        control.on_result(now + 11 * S, 2e6, 3e6);
        control.on_full(now + 12 * S, 1e6);
        control.on_estimate(now + 12 * S, 1e6, Limits::NONE);
        assert_eq!(rates(&mut control, now + 18 * S), [2_000_000]);
    }

    #[test]
    fn what_others_caused_may_be_probed_for_below_the_ceiling() {
        let mut control = started(Some(4e6));
        control.on_result(10 * S, 1e6, 2e6);
        control.on_full(11 * S, 1.5e6);
        control.on_estimate(13 * S + S / 2, 5e5, Limits::NONE);
        assert_eq!(rates(&mut control, 13 * S + S / 2), [1_000_000]);
    }

    #[test]
    fn jitter_makes_probes_longer_up_to_a_limit() {
        let mut control = started(Some(40e6));
        for (jitter, length) in [(0, 30_000), (8_000, 64_000), (80_000, 100_000)] {
            let now = 10 * S + jitter * 1000;
            control.on_estimate(now, 4e6, Limits::NONE);
            let probe = control.poll(now, jitter).expect("a period later");
            assert_eq!(u64::from(probe.bytes) * 8_000_000 / probe.target_bps, length);
        }
    }
}
